package docs_test

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/secure-systems-lab/go-securesystemslib/encrypted"

	"github.com/pratique-dev/pratique/test/demo/documents"
	"github.com/pratique-dev/pratique/test/evilregistry"
	"github.com/pratique-dev/pratique/test/evilregistry/papers"
)

// TestTheCommandsOfThePageAnswerAsItShows runs the commands of docs/commands.md one after another: what one signs, another tells.
func TestTheCommandsOfThePageAnswerAsItShows(t *testing.T) {
	t.Parallel()
	d, dir := newDesk(t), t.TempDir()
	image := d.prepare(t, dir)
	all, shown := readPage(t, "docs/commands.md").commands(t), 0
	for i, c := range all {
		if !strings.HasPrefix(c.line, "pratique ") {
			continue
		}
		shown++
		var args []string
		for _, arg := range strings.Fields(strings.TrimPrefix(c.line, "pratique ")) {
			arg = strings.ReplaceAll(strings.Trim(arg, "'"), exampleHost, d.reg.Host())
			if before, ok := strings.CutSuffix(arg, "..."); ok {
				if arg, _, _ = strings.Cut(before, "@"); !strings.HasPrefix(image, before[len(arg)+1:]) {
					t.Fatalf("%s: %s isn't the image's digest, %s", c.where, before, image)
				}
				arg += "@" + image
			}
			args = append(args, arg)
		}
		got := runIn(t, dir, []string{"COSIGN_PASSWORD="}, "pratique", append(args, "--plain-http", d.reg.Host())...)
		if diff := cmp.Diff(asAlways(strings.Join(c.answer, "\n")+"\n"), asAlways(d.asOnThePage(t, got.stdout+got.stderr))); diff != "" {
			t.Errorf("%s: %s (-page, +program):\n%s", c.where, c.line, diff)
		}
		if i+1 < len(all) && all[i+1].line == "echo $?" && all[i+1].answer[0] != fmt.Sprint(got.code) {
			t.Errorf("%s: exit %d, the page says %s", c.where, got.code, all[i+1].answer[0])
		}
	}
	if shown < 8 {
		t.Errorf("only %d commands were run", shown)
	}
}

// prepare puts into a folder what the page's commands read, pushes the image that they are about, and returns its digest.
func (d *desk) prepare(t testing.TB, dir string) string {
	t.Helper()
	now := time.Now()
	files := map[string]string{
		"sbom.spdx.json": string(documents.SPDX("api", now, documents.Package{Name: "busybox", Version: "1.37.0", License: "GPL-2.0-only"},
			documents.Package{Name: "musl", Version: "1.2.5", License: "MIT"}, documents.Package{Name: "zlib", Version: "1.3.1", License: "Zlib"})),
		"scan.json": string(documents.Scan("api", now, documents.Finding{ID: "CVE-2026-1111", Severity: "CRITICAL", Package: "openssl", Version: "3.0.1", Fixed: "3.0.2"},
			documents.Finding{ID: "CVE-2023-12345", Severity: "HIGH", Package: "libexpat", Version: "2.5.0", Fixed: "2.6.0"},
			documents.Finding{ID: "CVE-2026-2222", Severity: "LOW", Package: "zlib", Version: "1.3.1"})),
	}
	for example, names := range map[string][]string{
		"sbom.yaml": {"scanner"}, "vulnerabilities.yaml": {"scanner"}, "approvals.yaml": {"ada", "grace"},
	} {
		text, keys := d.local(t, inTime(readFile(t, "examples/"+example)))
		files["examples/"+example] = text
		for i, name := range names {
			files[name+".key"] = cosignKey(t, keys[i])
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "examples"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, filepath.FromSlash(name)), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	digest := ""
	for _, repository := range []string{"catalog/api", "billing/api", "payments/api"} {
		digest = d.reg.Push(t, repository+":v1", evilregistry.RandomImage(1)).DigestStr()
	}
	return digest
}

// cosignKey is a private key as cosign keeps it, without a password.
func cosignKey(t testing.TB, key papers.Key) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key.Private)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := encrypted.EncryptWithCustomKDFParameters(der, nil, encrypted.Legacy)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED SIGSTORE PRIVATE KEY", Bytes: sealed}))
}

var (
	itsPlace = regexp.MustCompile(`(kept as [^ @]+@|, in )sha256:[0-9a-f]{12}\.\.\.`)
	itsTime  = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`)
	its      = regexp.MustCompile(`--plain-http \S+ `)
)

// asAlways is an answer without what is another each time: where a paper lies, and when it was made.
func asAlways(text string) string {
	return itsTime.ReplaceAllString(itsPlace.ReplaceAllString(short(its.ReplaceAllString(text, "")), "${1}(its digest)"), "(its time)")
}

// TestTheFlagsOfTheCommandsAreThoseOfThePage: each command's, in the table of its kind.
func TestTheFlagsOfTheCommandsAreThoseOfThePage(t *testing.T) {
	t.Parallel()
	p := readPage(t, "docs/commands.md")
	for heading, commands := range map[string][]string{"Flags that sign": {"attest", "approve"}, "Flags that read": {"sbom", "scan-report"}} {
		listed := map[string][]string{}
		for _, row := range p.section(t, heading).rows(t, "flag") {
			names := codes(row[0])
			flag := strings.TrimPrefix(names[len(names)-1], "--")
			of := codes(row[1])
			if row[1] == "both" {
				of = commands
			}
			for _, command := range of {
				listed[command] = append(listed[command], flag)
			}
		}
		for _, command := range commands {
			sameLists(t, "docs/commands.md, "+heading+", "+command, listed[command], slices.Collect(maps.Keys(flagsOf(t, "pratique", command))))
		}
	}
}
