package docs_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pratique-dev/pratique/internal/trust"
	"github.com/pratique-dev/pratique/pkg/policy"
	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/pkg/verify/verifytest"
	"github.com/pratique-dev/pratique/test/evilregistry"
	"github.com/pratique-dev/pratique/test/evilregistry/papers"
)

// world is what a desk signs with beside keys: three instances of Sigstore in memory, in place of those that the examples mean, a PKI,
// and keys whose signatures can be logged.
type world struct {
	public, mirror, text *verifytest.Sigstore // sigstore-public; what a TUF mirror has; what stands in a text
	pki                  *verifytest.PKI
	keys                 []verifytest.Signer // in order of appearance
}

func newWorld(t testing.TB) *world {
	t.Helper()
	return &world{
		public: verifytest.NewSigstore(t), mirror: verifytest.NewSigstore(t), text: verifytest.NewSigstore(t),
		pki: verifytest.NewPKI(t, verifytest.Always()),
	}
}

var (
	rootBlock = regexp.MustCompile(`(?m)^( *)-----BEGIN CERTIFICATE-----\n(?:.*\n)*? *-----END CERTIFICATE-----$`)
	rootText  = regexp.MustCompile(`\{"mediaType":"application/vnd\.dev\.sigstore\.trustedroot\+json.*\}`)
)

// local rewrites an example for this world and a registry: keys, certificates and trusted roots are those of which the private halves
// are known.
func (w *world) local(t testing.TB, text, host string) string {
	t.Helper()
	seen := map[string]int{}
	text = pemBlock.ReplaceAllStringFunc(text, func(block string) string {
		pad := block[:strings.Index(block, "-")]
		is := strings.ReplaceAll(block, "\n"+pad, "\n")
		n, ok := seen[is]
		if !ok {
			n = len(w.keys)
			seen[is] = n
			w.keys = append(w.keys, verifytest.NewSigner(t, byte(n+1)))
		}
		return indented(pad, w.keys[n].Key().PEM())
	})
	text = rootBlock.ReplaceAllStringFunc(text, func(block string) string {
		return indented(block[:strings.Index(block, "-")], w.pki.RootsPEM())
	})
	text = rootText.ReplaceAllLiteralString(text, compact(t, w.text.TrustedRoot(t)))
	for _, written := range exampleHosts() {
		text = strings.ReplaceAll(text, written, host)
	}
	return text
}

// indented is a text of several lines, each of which begins with pad.
func indented(pad string, text []byte) string {
	return pad + strings.ReplaceAll(strings.TrimSpace(string(text)), "\n", "\n"+pad)
}

// compact is JSON in one line.
func compact(t testing.TB, text []byte) string {
	t.Helper()
	var b bytes.Buffer
	if err := json.Compact(&b, text); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// trustRoot is the document that makes an instance a TrustRoot.
func trustRoot(t testing.TB, called string, s *verifytest.Sigstore) string {
	t.Helper()
	quoted, err := json.Marshal(compact(t, s.TrustedRoot(t)))
	if err != nil {
		t.Fatal(err)
	}
	return "---\napiVersion: pratique.dev/v1alpha1\nkind: TrustRoot\nmetadata: {name: " + called + "}\nspec:\n  sources:\n  - data: " + string(quoted) + "\n"
}

// fetch is what a TUF mirror would have: no example's is asked.
func (w *world) fetch(t testing.TB) func(context.Context, trust.MirrorConfig) trust.State {
	text := w.mirror.TrustedRoot(t)
	return func(_ context.Context, c trust.MirrorConfig) trust.State {
		if err := c.Check(trust.Options{}); err != nil {
			return trust.State{Err: err}
		}
		return trust.State{TrustedRoot: text, Digest: trust.Digest(text), FetchedAt: time.Now(), CheckedAt: time.Now(), Expires: time.Now().Add(time.Hour)}
	}
}

// signing makes one signature of an example's image.
type signing func(t testing.TB, w *world) (*verifytest.Sigstore, verifytest.Signing)

// keyless is a signature of somebody whom the public good instance confirmed. extensions are Fulcio's, by the last number of their OID.
func keyless(subject, issuer string, extensions map[int]string) signing {
	return by(func(w *world) *verifytest.Sigstore { return w.public }, verifytest.Person{Subject: subject, Issuer: issuer, Extensions: extensions})
}

// by is a keyless signature by an instance, logged.
func by(which func(*world) *verifytest.Sigstore, who verifytest.Person) signing {
	return func(_ testing.TB, w *world) (*verifytest.Sigstore, verifytest.Signing) {
		return which(w), verifytest.Signing{Person: &who, Logs: []verifytest.Log{verifytest.RekorV1}}
	}
}

// withKey is a signature by one of the example's keys.
func withKey(n int, logs ...verifytest.Log) signing {
	return func(_ testing.TB, w *world) (*verifytest.Sigstore, verifytest.Signing) {
		return w.public, verifytest.Signing{Key: &w.keys[n], Logs: logs}
	}
}

// withCertificate is a signature by the holder of a certificate, two below the root of a PKI.
func withCertificate(ours bool, leaf verifytest.Leaf) signing {
	return func(t testing.TB, w *world) (*verifytest.Sigstore, verifytest.Signing) {
		pki := w.pki
		if !ours {
			pki = verifytest.NewPKI(t, verifytest.Always())
		}
		holder := pki.Intermediate(t, verifytest.Always()).Issue(t, leaf)
		return w.public, verifytest.Signing{Holder: &holder, Chain: true, Version: "0.2"}
	}
}

// subject is the subject of a certificate.
func subject(common, unit, organisation string) pkix.Name {
	out := pkix.Name{CommonName: common, Organization: []string{organisation}}
	if unit != "" {
		out.OrganizationalUnit = []string{unit}
	}
	return out
}

// serverUse is what certificates of web servers are for.
func serverUse() []x509.ExtKeyUsage { return []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }

// sigstoreCase is a case of an example whose signers are more than keys.
type sigstoreCase struct {
	name             string
	namespace, image string
	papers           string // the repository that has the signatures; empty: the image's
	signed           []signing
	allowed          bool
	reason           policy.Reason
}

const (
	actions = "https://token.actions.githubusercontent.com"
	google  = "https://accounts.google.com"
)

// sigstoreCases are what the examples promise whose signers are more than keys.
func sigstoreCases() map[string][]sigstoreCase {
	hosted := map[int]string{11: "github-hosted"}
	from := func(repository string) map[int]string {
		return map[int]string{12: "https://github.com/acme/" + repository, 14: "refs/heads/main"}
	}
	const (
		release = "https://github.com/acme/web/.github/workflows/release.yaml@refs/"
		shared  = "https://github.com/acme/platform/.github/workflows/build.yaml@refs/heads/main"
		gitlab  = "https://gitlab.com/acme/billing//.gitlab-ci.yml@refs/heads/"
		inside  = "https://git.acme.example/team/app//release.yaml@refs/heads/main"
	)
	var (
		billing  = map[int]string{12: "https://gitlab.com/acme/billing"}
		pipeline = keyless("https://github.com/acme/treasury/.github/workflows/release.yaml@refs/heads/main", actions, nil)
		ada      = keyless("ada@acme.example", google, nil)
		ours     = func(w *world) *verifytest.Sigstore { return w.mirror }
		before   = func(w *world) *verifytest.Sigstore { return w.text }
		public   = func(w *world) *verifytest.Sigstore { return w.public }
		ci       = verifytest.Person{Subject: inside, Issuer: "https://ci.acme.example"}
	)
	return map[string][]sigstoreCase{
		"keyless-github.yaml": {
			{"by the release workflow, at a tag", "web", "web/app", "", []signing{keyless(release+"tags/v1.4.2", actions, hosted)}, true, policy.Verified},
			{"by it at a branch", "web", "web/app", "", []signing{keyless(release+"heads/main", actions, hosted)}, false, policy.NoTrustedSignature},
			{"by it on a runner of somebody's own", "web", "web/app", "", []signing{keyless(release+"tags/v1.4.2", actions, map[int]string{11: "self-hosted"})}, false, policy.NoTrustedSignature},
			{"by another issuer's word", "web", "web/app", "", []signing{keyless(release+"tags/v1.4.2", actions+".evil.example", hosted)}, false, policy.NoTrustedSignature},
			{"by the reusable workflow, called from web", "web", "web/app", "", []signing{keyless(shared, actions, from("web"))}, true, policy.Verified},
			{"by it, called from elsewhere", "web", "web/app", "", []signing{keyless(shared, actions, from("else"))}, false, policy.NoTrustedSignature},
			{"not signed", "web", "web/app", "", nil, false, policy.NoTrustedSignature},
		},
		"keyless-gitlab.yaml": {
			{"by the pipeline, at main", "billing", "billing/api", "", []signing{keyless(gitlab+"main", "https://gitlab.com", billing)}, true, policy.Verified},
			{"by it at another branch", "billing", "billing/api", "", []signing{keyless(gitlab+"try", "https://gitlab.com", billing)}, false, policy.NoTrustedSignature},
		},
		"n-of-m.yaml": {
			{"by the pipeline and a person", "treasury", "treasury/api", "", []signing{pipeline, ada}, true, policy.Verified},
			{"by the pipeline and the key", "treasury", "treasury/api", "", []signing{pipeline, withKey(0)}, true, policy.Verified},
			{"by two persons", "treasury", "treasury/api", "", []signing{ada, keyless("grace@acme.example", google, nil)}, true, policy.Verified},
			{"by one person twice", "treasury", "treasury/api", "", []signing{ada, ada}, false, policy.TooFewSigners},
			{"by a stranger", "treasury", "treasury/api", "", []signing{keyless("mallory@acme.example", google, nil)}, false, policy.NoTrustedSignature},
		},
		"key-with-log.yaml": {
			{"logged in Rekor v1", "orders", "orders/api", "", []signing{withKey(0, verifytest.RekorV1)}, true, policy.Verified},
			{"logged in Rekor v2", "orders", "orders/api", "", []signing{withKey(0, verifytest.RekorV2)}, true, policy.Verified},
			{"not logged", "orders", "orders/api", "", []signing{withKey(0)}, false, policy.NoTrustedSignature},
		},
		"own-pki.yaml": {
			{"an email address", "plant", "plant/api", "", []signing{withCertificate(true, verifytest.Leaf{Emails: []string{"release@acme.example"}})}, true, policy.Verified},
			{"a DNS name", "plant", "plant/api", "", []signing{withCertificate(true, verifytest.Leaf{DNS: []string{"build.acme.example"}})}, true, policy.Verified},
			{"a whole subject", "plant", "plant/api", "", []signing{withCertificate(true, verifytest.Leaf{Subject: subject("release", "Plant", "Acme")})}, true, policy.Verified},
			{"a part of a subject", "plant", "plant/api", "", []signing{withCertificate(true, verifytest.Leaf{Subject: subject("release", "", "Acme")})}, false, policy.NoTrustedSignature},
			{"of another PKI", "plant", "plant/api", "", []signing{withCertificate(false, verifytest.Leaf{Emails: []string{"release@acme.example"}})}, false, policy.NoTrustedSignature},
			{"not for signing code", "plant", "plant/api", "", []signing{withCertificate(true, verifytest.Leaf{Emails: []string{"release@acme.example"}, Usages: serverUse()})}, false, policy.NoTrustedSignature},
			{"of last year", "plant", "plant/api", "", []signing{withCertificate(true, verifytest.Leaf{Emails: []string{"release@acme.example"}, Valid: verifytest.Before()})}, false, policy.NoTrustedSignature},
		},
		"papers-elsewhere.yaml": {
			{"signed where the papers are", "data", "vendor/db", "papers", []signing{withKey(0)}, true, policy.Verified},
			{"signed beside the image", "data", "vendor/db", "", []signing{withKey(0)}, false, policy.NoTrustedSignature},
		},
		"private-sigstore.yaml": {
			{"by the new instance", "live", "team/api", "", []signing{by(ours, ci)}, true, policy.Verified},
			{"by the one before", "live", "team/api", "", []signing{by(before, ci)}, true, policy.Verified},
			{"by the public one", "live", "team/api", "", []signing{by(public, ci)}, false, policy.NoTrustedSignature},
			{"not signed, in a namespace that isn't selected", "lab", "team/api", "", nil, true, policy.NoPolicyInForce},
		},
		"public-mirror.yaml": {
			{"with the GitHub example: by what the mirror has", "web", "web/app", "", []signing{by(ours, verifytest.Person{Subject: release + "tags/v1.4.2", Issuer: actions, Extensions: hosted})}, true, policy.Verified},
			{"with the GitHub example: by another instance", "web", "web/app", "", []signing{keyless(release+"tags/v1.4.2", actions, hosted)}, false, policy.NoTrustedSignature},
		},
	}
}

// run pushes the image, has it signed, and judges it by the example. TrustRoots that it doesn't have are the world's.
func (c sigstoreCase) run(t *testing.T, file string) {
	d, w := newDesk(t), newWorld(t)
	d.fetch = w.fetch(t)
	documents := w.local(t, readFile(t, "examples/"+file), d.reg.Host())
	if file == "public-mirror.yaml" {
		documents += "---\n" + w.local(t, readFile(t, "examples/keyless-github.yaml"), d.reg.Host())
	} else {
		documents += trustRoot(t, "sigstore-public", w.public)
	}
	image := d.reg.Push(t, c.image+":some", evilregistry.RandomImage(1))
	var at []papers.Option
	if c.papers != "" {
		at = append(at, papers.In(d.reg.Repo(c.papers)))
	}
	for _, sign := range c.signed {
		s, how := sign(t, w)
		pushSigned(t, s, how, image, at...)
	}
	d.check(t, documents+namespaces, c.namespace, image.String(), c.allowed, c.reason)
}

// pushSigned puts a signature on an image beside it, or where the options say.
func pushSigned(t testing.TB, s *verifytest.Sigstore, how verifytest.Signing, image name.Digest, at ...papers.Option) {
	t.Helper()
	hash, err := v1.NewHash(image.DigestStr())
	if err != nil {
		t.Fatal(err)
	}
	bundle, err := json.Marshal(s.Envelope(t, how, verifytest.Statement(hash, verify.CosignSign)))
	if err != nil {
		t.Fatal(err)
	}
	papers.PushBundle(t, image, verify.CosignSign, bundle, at...)
}

func TestEveryExampleOfSigstoreDoesWhatItSays(t *testing.T) {
	t.Parallel()
	for file, cases := range sigstoreCases() {
		for _, c := range cases {
			t.Run(strings.TrimSuffix(file, ".yaml")+": "+c.name, func(t *testing.T) {
				t.Parallel()
				c.run(t, file)
			})
		}
	}
}

// TestTheExamplesAreAboutKeysOrSigstore: one of the two tests has every example.
func TestTheExamplesAreAboutKeysOrSigstore(t *testing.T) {
	t.Parallel()
	more := sigstoreCases()
	for file := range exampleCases() {
		if len(more[file]) > 0 {
			t.Errorf("examples/%s is in both lists of cases", file)
		}
	}
	for file, cases := range more {
		allowed := slices.ContainsFunc(cases, func(c sigstoreCase) bool { return c.allowed })
		refused := slices.ContainsFunc(cases, func(c sigstoreCase) bool { return !c.allowed })
		if !allowed || !refused {
			t.Errorf("examples/%s: allowed %t, refused %t: want cases of both", file, allowed, refused)
		}
	}
}

// TestTheCommandThatSignsWithAnOwnPKIIsTheSameEverywhere: of the guide, the example and what --explain says. SIGNERS.md has the runs of it.
func TestTheCommandThatSignsWithAnOwnPKIIsTheSameEverywhere(t *testing.T) {
	t.Parallel()
	space := regexp.MustCompile(`[\s\\#]+`)
	for _, path := range []string{"docs/policy.md", "examples/own-pki.yaml"} {
		text := space.ReplaceAllString(readFile(t, path), " ")
		for _, want := range []string{
			"cosign import-key-pair --key leaf.key ",
			"cosign sign --key import-cosign.key --certificate leaf.pem --certificate-chain chain.pem --use-signing-config=false --tlog-upload=false ",
		} {
			if !strings.Contains(text, want) {
				t.Errorf("%s: without %q", path, want)
			}
		}
	}
	if text := readFile(t, "cmd/pratique/testdata/explain.txt"); !strings.Contains(text, "cosign sign --key import-cosign.key --certificate leaf.pem --certificate-chain chain.pem --use-signing-config=false --tlog-upload=false REG/") {
		t.Error("--explain says another")
	}
}
