package registry

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/pratique-dev/pratique/internal/registry/cloud"
	"github.com/pratique-dev/pratique/test/evilregistry"
)

func TestRegistriesThatAreWrongAreRefusedWithEntryFieldAndCure(t *testing.T) {
	t.Parallel()
	one, two := evilregistry.New(t, evilregistry.WithTLS()).CAPEM(), evilregistry.New(t, evilregistry.WithTLS()).CAPEM()
	key := "-----BEGIN PRIVATE KEY-----\naHVudGVyMmNhbmFyeQ==\n-----END PRIVATE KEY-----\n"
	many := make([]string, maxRegistryEntries+1)
	for i := range many {
		many[i] = fmt.Sprintf("{prefix: r%d.example.com}", i)
	}
	for _, tc := range []struct {
		name    string
		file    string   // the whole file, or
		entries []string // its entries
		want    []string
	}{
		{name: "nothing", file: "", want: []string{"empty", "registries"}},
		{name: "a comment alone", file: "# nothing\n", want: []string{"empty"}},
		{name: "null", file: "null\n", want: []string{"want a map"}},
		{name: "no YAML", file: "registries: [\n", want: []string{"not YAML", "line"}},
		{name: "a list without its name", file: "- prefix: ghcr.io\n", want: []string{"want a map"}},
		{name: "another field beside it", file: "registries: []\nregistry: []\n", want: []string{`"registry"`, "no such field", "registries"}},
		{name: "the field is missing", file: "{}\n", want: []string{"want the field registries"}},
		{name: "the list is there twice", file: "registries: []\nregistries: []\n", want: []string{"there twice"}},
		{name: "two documents", file: "registries: []\n---\nregistries: []\n", want: []string{"more than one YAML document"}},
		{name: "no list", file: "registries: {}\n", want: []string{"want a list"}},
		{name: "null in the place of the list", file: "registries:\n", want: []string{"want a list"}},
		{name: "more entries than the bound", entries: many, want: []string{"257 entries", "256"}},
		{name: "a larger file than the bound", file: "registries: []\n#" + strings.Repeat("x", MaxRegistries), want: []string{"bound of 1048576"}},
		{name: "an alias", file: "registries: [{prefix: &a ghcr.io}, {prefix: *a}]\n", want: []string{"registries[1]", "prefix", "want text"}},
		{name: "a merged map", file: "registries: [&a {prefix: ghcr.io}, {<<: *a}]\n", want: []string{"registries[1]", `"<<"`, "no such field"}},
		{name: "an entry that is no map", entries: []string{"ghcr.io"}, want: []string{"registries[0]", "want a map"}},
		{name: "an unknown field", entries: []string{"{prefix: a.example}", "{prefix: ghcr.io, plainHttp: true}"},
			want: []string{"registries[1] (ghcr.io)", `"plainHttp"`, "no such field", "plainHTTP"}},
		{name: "a field that is there twice", entries: []string{"{prefix: ghcr.io, mirror: a.example, mirror: b.example}"}, want: []string{"(ghcr.io)", "mirror", "twice"}},
		{name: "no prefix", entries: []string{"{mirror: a.example}"}, want: []string{"registries[0]", "prefix: missing", "HOST[:PORT][/PATH]"}},
		{name: "an empty prefix", entries: []string{`{prefix: ""}`}, want: []string{"prefix", "isn't empty"}},
		{name: "a prefix that is a number", entries: []string{"{prefix: 5000}"}, want: []string{"prefix", "want text"}},
		{name: "a prefix with a scheme", entries: []string{"{prefix: https://ghcr.io}"}, want: []string{"prefix", "has a scheme"}},
		{name: "a prefix without a host", entries: []string{"{prefix: library/nginx}"}, want: []string{"prefix", "begins with no host", "docker.io/library"}},
		{name: "a prefix in capital letters", entries: []string{"{prefix: GHCR.io}"}, want: []string{"prefix", "lower-case"}},
		{name: "a prefix with a glob in the host", entries: []string{`{prefix: "*.example.com"}`}, want: []string{"prefix", "lower-case ASCII"}},
		{name: "a prefix with a glob in the path", entries: []string{`{prefix: "ghcr.io/org/**"}`}, want: []string{"prefix", "without globs"}},
		{name: "a prefix with a slash at the end", entries: []string{"{prefix: ghcr.io/}"}, want: []string{"prefix", "slash at the end"}},
		{name: "a prefix with a tag", entries: []string{"{prefix: ghcr.io/org/app:v1}"}, want: []string{"prefix", "without globs, tags"}},
		{name: "a prefix with dots for a segment", entries: []string{"{prefix: ghcr.io/../org}"}, want: []string{"prefix", `".."`}},
		{name: "a prefix with a zero before its port", entries: []string{"{prefix: ghcr.io:0443}"}, want: []string{"prefix", "port"}},
		{name: "a prefix with a user", entries: []string{`{prefix: "u@ghcr.io"}`}, want: []string{"prefix", "lower-case ASCII"}},
		{name: "a prefix that is too long", entries: []string{"{prefix: ghcr.io/" + strings.Repeat("x", maxRepository+1) + "}"}, want: []string{"prefix", "bound of 255"}},
		{name: "a prefix that is there twice", entries: []string{"{prefix: ghcr.io/org}", "{prefix: ghcr.io/org}"}, want: []string{"registries[1]", "prefix", "registries[0]", "one entry"}},
		{name: "both of Docker Hub's names", entries: []string{"{prefix: docker.io}", "{prefix: index.docker.io}"}, want: []string{"registries[1]", "registries[0]", "prefix"}},
		{name: "two ways to get a credential", entries: []string{"{prefix: gcr.io, auth: {gar: {}, secretRef: {name: a}}}"},
			want: []string{"(gcr.io)", "auth", "2 ways", "gar, secretRef", "exactly one"}},
		{name: "no way to get a credential", entries: []string{"{prefix: gcr.io, auth: {}}"}, want: []string{"auth", "exactly one of secretRef, ecr, gar, acr"}},
		{name: "a way without its map", entries: []string{"{prefix: gcr.io, auth: {gar: }}"}, want: []string{"auth: gar", "want a map of fields, such as {}"}},
		{name: "a way with more than it takes", entries: []string{"{prefix: gcr.io, auth: {gar: {key: a}}}"}, want: []string{"auth: gar", `"key"`, "want {}"}},
		{name: "an unknown way", entries: []string{"{prefix: gcr.io, auth: {gcr: {}}}"}, want: []string{"auth", `"gcr"`, "acr, ecr, gar, secretRef"}},
		{name: "a Secret without a name", entries: []string{"{prefix: gcr.io, auth: {secretRef: {}}}"}, want: []string{"auth: secretRef", "name: missing"}},
		{name: "a Secret of another namespace", entries: []string{"{prefix: gcr.io, auth: {secretRef: {name: a, namespace: b}}}"}, want: []string{"auth: secretRef", `"namespace"`}},
		{name: "a text for true", entries: []string{`{prefix: ghcr.io, plainHTTP: "true"}`}, want: []string{"plainHTTP", "true or false"}},
		{name: "yes for true", entries: []string{`{prefix: ghcr.io, dialPrivate: yes}`}, want: []string{"dialPrivate", "true or false"}},
		{name: "a mirror that is the prefix", entries: []string{"{prefix: ghcr.io/org, mirror: ghcr.io/org}"}, want: []string{"mirror", "it is the prefix itself"}},
		{name: "a mirror within the prefix", entries: []string{"{prefix: ghcr.io, mirror: ghcr.io/cache}"}, want: []string{"mirror", "within it"}},
		{name: "a mirror around the prefix", entries: []string{"{prefix: ghcr.io/org, mirror: ghcr.io}"}, want: []string{"mirror", "around it"}},
		{name: "a mirror of a mirror", entries: []string{"{prefix: a.example, mirror: b.example/cache}", "{prefix: b.example, mirror: c.example}"},
			want: []string{"registries[0] (a.example)", "mirror", "registries[1]", "b.example"}},
		{name: "a mirror of a mirror, from below", entries: []string{"{prefix: b.example/cache/deep, mirror: c.example}", "{prefix: a.example, mirror: b.example/cache}"},
			want: []string{"registries[1] (a.example)", "mirror", "registries[0]"}},
		{name: "a mirror with a scheme", entries: []string{"{prefix: a.example, mirror: https://b.example}"}, want: []string{"mirror", "scheme"}},
		{name: "two ways to speak to a host", entries: []string{"{prefix: a.example/x, plainHTTP: true}", "{prefix: a.example/y, plainHTTP: false}"},
			want: []string{"registries[1] (a.example/y)", "plainHTTP", "registries[0]", "otherwise of a.example"}},
		{name: "two words about its address", entries: []string{"{prefix: a.example/x, dialPrivate: true}", "{prefix: a.example/y, dialPrivate: false}"},
			want: []string{"registries[1]", "dialPrivate", "registries[0]"}},
		{name: "two words about its address, with a port and without", entries: []string{"{prefix: a.example, dialPrivate: true}", "{prefix: a.example:443, dialPrivate: false}"},
			want: []string{"registries[1]", "dialPrivate", "registries[0]"}},
		{name: "two bundles", entries: []string{"{prefix: a.example/x, caBundle: " + indented(one) + "}", "{prefix: a.example/y, caBundle: " + indented(two) + "}"},
			want: []string{"registries[1]", "caBundle", "registries[0]", "both into one"}},
		{name: "a bundle for plain http", entries: []string{"{prefix: a.example, plainHTTP: true, caBundle: " + indented(one) + "}"}, want: []string{"caBundle", "plainHTTP", "take one"}},
		{name: "a bundle for plain http elsewhere", entries: []string{"{prefix: a.example/x, plainHTTP: true}", "{prefix: a.example/y, caBundle: " + indented(one) + "}"},
			want: []string{"registries[1]", "caBundle", "registries[0]", "take one"}},
		{name: "a bundle before plain http elsewhere", entries: []string{"{prefix: a.example/y, caBundle: " + indented(one) + "}", "{prefix: a.example/x, plainHTTP: true}"},
			want: []string{"registries[1]", "plainHTTP", "registries[0]", "take one"}},
		{name: "a bundle without certificates", entries: []string{"{prefix: a.example, caBundle: none}"}, want: []string{"caBundle", "no certificate"}},
		{name: "a bundle with a key", entries: []string{"{prefix: a.example, caBundle: " + indented(append(slices.Clone(one), key...)) + "}"},
			want: []string{"caBundle", "PRIVATE KEY", "certificates alone"}},
		{name: "a bundle that is cut off", entries: []string{"{prefix: a.example, caBundle: " + indented(append(slices.Clone(one), two[:len(two)/2]...)) + "}"},
			want: []string{"caBundle", "block 2", "cut off"}},
		{name: "a certificate that is none", entries: []string{`{prefix: a.example, caBundle: "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n"}`},
			want: []string{"caBundle", "certificate 1 can't be read"}},
		{name: "a bundle of too many", entries: []string{"{prefix: a.example, caBundle: " + indented(bytes.Repeat(one, maxBundleCertificates+1)) + "}"}, want: []string{"caBundle", "bound of 10"}},
		{name: "a bundle that is too large", entries: []string{"{prefix: a.example, caBundle: " + strings.Repeat("x", maxBundle+1) + "}"}, want: []string{"caBundle", "bound of 65536"}},
		{name: "a token service with a path", entries: []string{"{prefix: a.example, tokenHosts: [b.example/token]}"}, want: []string{"tokenHosts: [0]", "lower-case ASCII"}},
		{name: "token services that are no list", entries: []string{"{prefix: a.example, tokenHosts: b.example}"}, want: []string{"tokenHosts", "want a list"}},
		{name: "more token services than the bound", entries: []string{"{prefix: a.example, tokenHosts: [" + strings.Repeat("b.example, ", maxTokenHosts+1) + "]}"},
			want: []string{"tokenHosts", "9 hosts", "bound of 8"}},
		{name: "a cloud's registry by plain http", entries: []string{"{prefix: gcr.io, auth: {gar: {}}, plainHTTP: true}"}, want: []string{"plainHTTP", "auth.gar"}},
		{name: "a cloud's registry by plain http elsewhere", entries: []string{"{prefix: gcr.io/x, auth: {gar: {}}}", "{prefix: gcr.io/y, plainHTTP: true}"},
			want: []string{"registries[1]", "plainHTTP", "registries[0]"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			file := []byte(tc.file)
			if tc.entries != nil {
				file = registriesFile(tc.entries...)
			}
			_, err := ParseRegistries(file)
			if err == nil {
				t.Fatal("taken")
			}
			for _, want := range tc.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%v: doesn't say %q", err, want)
				}
			}
			if strings.Contains(err.Error(), "aHVudGVyMmNhbmFyeQ") || len(err.Error()) > 2*maxQuoted+256 {
				t.Errorf("it repeats too much: %v", err)
			}
		})
	}
}

func TestRow57_ACloudsCredentialIsForItsOwnRegistriesAlone(t *testing.T) {
	t.Parallel()
	for host, ways := range map[string]string{
		"123456789012.dkr.ecr.eu-west-1.amazonaws.com":              "ecr",
		"123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com":     "ecr",
		"123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn":          "ecr",
		"europe-west1-docker.pkg.dev":                               "gar",
		"gcr.io":                                                    "gar",
		"eu.gcr.io":                                                 "gar",
		"contoso.azurecr.io":                                        "acr",
		"contoso.azurecr.cn":                                        "acr",
		"123456789012.dkr.ecr.eu-west-1.amazonaws.com.evil.example": "",
		"123456789012.dkr.ecr.eu-west-1.amazonaws.com:443":          "",
		"123456789012.dkr.ecr.eu-west-1.amazonaws.com.evil":         "",
		"x123456789012.dkr.ecr.eu-west-1.amazonaws.com":             "",
		"1.dkr.ecr.eu-west-1.amazonaws.com":                         "",
		"dkr.ecr.eu-west-1.amazonaws.com":                           "",
		"evil.123456789012.dkr.ecr.eu-west-1.amazonaws.com":         "",
		"contoso.azurecr.io.evil.example":                           "",
		"contoso.azurecr.io:8443":                                   "",
		"evil-azurecr.io":                                           "",
		"contoso.evil.azurecr.io":                                   "",
		"azurecr.io":                                                "",
		"contoso.azurecr.dev":                                       "",
		"evil.pkg.dev":                                              "",
		"docker.pkg.dev":                                            "",
		"evil-docker.pkg.dev.example.com":                           "",
		"a.b.gcr.io":                                                "",
		"evilgcr.io":                                                "",
		"gcr.io.evil.example":                                       "",
		"x.gcr.io":                                                  "",
		"123456789012.dkr.ecr.cn-north-1.amazonaws.com":             "",
		"123456789012.dkr.ecr.eu-west-1.amazonaws.com.cn":           "",
		"contoso-a1b2c3.azurecr.io":                                 "acr",
		"asia-docker.pkg.dev":                                       "gar",
		"ghcr.io":                                                   "",
		"docker.io":                                                 "",
	} {
		for _, way := range []string{"ecr", "gar", "acr"} {
			_, err := ParseRegistries(registriesFile("{prefix: " + host + "/team, auth: {" + way + ": {}}}"))
			if (err == nil) != (ways == way) {
				t.Errorf("%s with auth.%s: %v", host, way, err)
			}
			// Package cloud asks for it, and looks at the host once more.
			check := map[string]func(string) error{"ecr": cloud.CheckECR, "gar": cloud.CheckGAR, "acr": cloud.CheckACR}[way]
			if (check(host) == nil) != (err == nil) {
				t.Errorf("%s with auth.%s: %v here, and %v by package cloud", host, way, err, check(host))
			}
			if err != nil && (!strings.Contains(err.Error(), "auth: "+way) || !strings.Contains(err.Error(), "secretRef")) {
				t.Errorf("%s: names neither field nor cure: %v", host, err)
			}
		}
	}
}

func TestRow57_APrefixCoversWholeSegmentsOfItsOwnHost(t *testing.T) {
	t.Parallel()
	r := registries(t, "{prefix: ghcr.io/org}", "{prefix: ghcr.io/org/team/app}", "{prefix: reg.example.com:5000}", "{prefix: docker.io/library}", "{prefix: contoso.azurecr.io}")
	for repo, want := range map[string]string{
		"ghcr.io/org":                         "ghcr.io/org",
		"ghcr.io/org/app":                     "ghcr.io/org",
		"ghcr.io/org/team":                    "ghcr.io/org",
		"ghcr.io/org/team/app":                "ghcr.io/org/team/app",
		"ghcr.io/org/team/app/x":              "ghcr.io/org/team/app",
		"ghcr.io/org/team/app2":               "ghcr.io/org",
		"ghcr.io/orgevil":                     "",
		"ghcr.io/orgevil/app":                 "",
		"ghcr.io/org-evil/app":                "",
		"ghcr.io/x/org/app":                   "",
		"ghcr.io.evil.example/org/app":        "",
		"ghcr.io:443/org/app":                 "", // another name, which nobody gave a credential for
		"evilghcr.io/org/app":                 "",
		"reg.example.com:5000/app":            "reg.example.com:5000",
		"reg.example.com/app":                 "",
		"reg.example.com:50000/app":           "",
		"nginx":                               "docker.io/library",
		"docker.io/library/nginx":             "docker.io/library",
		"index.docker.io/library/nginx":       "docker.io/library",
		"docker.io/acme/nginx":                "",
		"contoso.azurecr.io/app":              "contoso.azurecr.io",
		"contoso.azurecr.io.evil.example/app": "",
		"x.contoso.azurecr.io/app":            "",
	} {
		got := ""
		if e := r.now().find(mustRepo(t, repo)); e != nil {
			got = e.prefix.String()
		}
		if got != want {
			t.Errorf("%s is covered by %q, want %q", repo, got, want)
		}
	}
	if new(Registries).now().find(mustRepo(t, "nginx")) != nil || (*Registries)(nil).now().find(mustRepo(t, "nginx")) != nil {
		t.Error("no registries have an entry")
	}
}

func FuzzParseRegistries(f *testing.F) {
	for _, seed := range []string{
		"registries: []", "registries: [{prefix: ghcr.io/org, auth: {secretRef: {name: a}}, mirror: b.example/c}]",
		"registries:\n- prefix: localhost:5000\n  plainHTTP: true\n", "registries: [{prefix: gcr.io, auth: {gar: {}}, tokenHosts: [a.example]}]",
		"registries: [{prefix: a.example, caBundle: |\n-----BEGIN CERTIFICATE-----\n}]", "&a [*a]", "registries: [{prefix: \"[::1]:5000\", dialPrivate: true}]",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := ParseRegistries(data)
		if err != nil {
			for _, c := range err.Error() {
				if c < ' ' || c > '~' {
					t.Fatalf("message %q holds %q", err, c)
				}
			}
			return
		}
		for at, e := range r.now().entries {
			if again, err := parseLocation(at.String()); err != nil || again != at {
				t.Errorf("%v is read back as %v, %v", at, again, err)
			}
			if r.now().find(mustRegistry(t, at.registry).Repo(at.path, "x")) != e && at.registry != hubAlias {
				t.Errorf("%s doesn't cover what is below it", at)
			}
		}
	})
}

func mustRegistry(t *testing.T, s string) name.Registry {
	t.Helper()
	r, err := name.NewRegistry(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
