package docs_test

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/pkg/verify/verifytest"
	"github.com/pratique-dev/pratique/test/evilregistry"
	"github.com/pratique-dev/pratique/test/evilregistry/papers"
)

// command is one line of a console block, and what the page shows of its answer.
type command struct {
	where  string
	line   string
	answer []string
}

// commands returns the commands of a page's console blocks.
func (p page) commands(t testing.TB) []command {
	t.Helper()
	var out []command
	for _, b := range p.blocks(t) {
		if !b.is("console") {
			continue
		}
		continued := false
		for _, line := range b.lines {
			text, prompt := strings.CutPrefix(line, "$ ")
			switch {
			case continued:
				last := &out[len(out)-1]
				last.line = strings.TrimSuffix(last.line, `\`) + strings.TrimSpace(line)
				continued = strings.HasSuffix(line, `\`)
			case prompt:
				out = append(out, command{where: b.where, line: text})
				continued = strings.HasSuffix(text, `\`)
			case len(out) == 0 || out[len(out)-1].where != b.where:
				t.Fatalf("%s: an answer without a command: %q", b.where, line)
			default:
				last := &out[len(out)-1]
				last.answer = append(last.answer, line)
			}
		}
	}
	return out
}

func TestEveryAnswerOfPratiqueIsTheOneThatThePageShows(t *testing.T) {
	t.Parallel()
	shown := 0
	for _, p := range pages(t) {
		if p.path == "docs/commands.md" { // whose commands go on from one another: see commands_test.go
			continue
		}
		all := p.commands(t)
		for i, c := range all {
			if !strings.HasPrefix(c.line, "pratique verify ") || len(c.answer) == 0 {
				continue
			}
			shown++
			t.Run(c.where+": "+c.line, func(t *testing.T) {
				t.Parallel()
				got, code := c.run(t)
				if diff := cmp.Diff(short(strings.Join(c.answer, "\n")+"\n"), short(got)); diff != "" {
					t.Errorf("%s: (-page, +program):\n%s", c.where, diff)
				}
				if i+1 < len(all) && all[i+1].line == "echo $?" && all[i+1].answer[0] != code {
					t.Errorf("%s: exit %s, the page says %s", c.where, code, all[i+1].answer[0])
				}
			})
		}
	}
	if shown < 3 {
		t.Errorf("only %d answers were compared", shown)
	}
}

// run runs a command as the page has it, but with a registry on loopback for registry.example.com, and keys of ours.
func (c command) run(t testing.TB) (answer, code string) {
	t.Helper()
	d, w := newDesk(t), newWorld(t)
	_, keys := d.local(t, readFile(t, "examples/first-policy.yaml"))
	d.wares(t, keys[0])
	w.wares(t, d)
	dir := t.TempDir()
	args := strings.Fields(strings.TrimPrefix(c.line, "pratique "))
	for i, arg := range args {
		if strings.HasSuffix(arg, ".yaml") {
			text, _ := d.local(t, readFile(t, arg))
			args[i] = filepath.Join(dir, filepath.Base(arg))
			if err := os.WriteFile(args[i], []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		args[i] = strings.ReplaceAll(args[i], exampleHost, d.reg.Host())
	}
	got := runProgram(t, "pratique", append(args, "--plain-http", d.reg.Host())...)
	return d.asOnThePage(t, got.stdout+got.stderr), string(rune('0' + got.code))
}

// wares pushes the images that the pages write about: one signed by release, one by a stranger, one by nobody.
func (d *desk) wares(t testing.TB, release papers.Key) {
	t.Helper()
	papers.SignBundle(t, d.reg.Push(t, "shop/api:v1", evilregistry.RandomImage(1)), release)
	papers.SignBundle(t, d.reg.Push(t, "shop/copy:v1", evilregistry.RandomImage(3)), papers.NewKey(t, papers.P256))
	d.reg.Push(t, "shop/tool:v1", evilregistry.RandomImage(2))
}

// wares pushes what the pages write about Sigstore: an image that was signed at a branch, and not at a tag.
func (w *world) wares(t testing.TB, d *desk) {
	t.Helper()
	person := verifytest.Person{
		Subject: "https://github.com/acme/web/.github/workflows/release.yaml@refs/heads/main", Issuer: actions, Extensions: map[int]string{11: "github-hosted"},
	}
	image := d.reg.Push(t, "web/app:v1", evilregistry.RandomImage(4))
	pushSigned(t, w.public, verifytest.Signing{Person: &person, Logs: []verifytest.Log{verifytest.RekorV1}}, image)
}

// asOnThePage puts the page's registry and keys back.
func (d *desk) asOnThePage(t testing.TB, text string) string {
	t.Helper()
	text = strings.ReplaceAll(text, d.reg.Host(), exampleHost)
	for written, key := range d.keys {
		parsed, err := verify.ParseKeys([]byte(written))
		if err != nil {
			t.Fatal(err)
		}
		is := parsed[0].Fingerprint().String()
		text = strings.ReplaceAll(text, key.Fingerprint[:19], is[:19])
	}
	return text
}

var (
	longDigest = regexp.MustCompile(`(sha256[:-]|SHA256:)([0-9a-f]{12})[0-9a-f]{52}`)
	itsPaper   = regexp.MustCompile(`(bundle|signature|attestation) sha256:[0-9a-f]{12}\.\.\.`)
)

// short cuts digests as the pages may: to 12 digits. The digest of a paper, which is another each time, is left out.
func short(text string) string {
	return itsPaper.ReplaceAllString(longDigest.ReplaceAllString(text, "$1$2..."), "$1 sha256:(its digest)")
}

func TestEveryCommandOfAPageExists(t *testing.T) {
	t.Parallel()
	targets := regexp.MustCompile(`(?m)^([a-z]+):`).FindAllStringSubmatch(readFile(t, "Makefile"), -1)
	flags := map[string][]string{}
	for _, sub := range []string{"verify", "attest", "approve", "sbom", "scan-report"} {
		flags[sub] = slices.Collect(maps.Keys(flagsOf(t, "pratique", sub)))
	}
	webhookFlags := slices.Collect(maps.Keys(flagsOf(t, "webhook")))
	chart := values(t)
	long := regexp.MustCompile(` --([a-z][a-z-]+)`)
	flagsAre := func(c command, known []string) {
		for _, m := range long.FindAllStringSubmatch(c.line, -1) {
			if !slices.Contains(known, m[1]) {
				t.Errorf("%s: there is no flag --%s: %s", c.where, m[1], c.line)
			}
		}
	}
	for _, path := range append(policyPages, "examples/README.md") {
		for _, c := range readPage(t, path).commands(t) {
			word := strings.Fields(c.line)
			switch {
			case word[0] == "make":
				if !slices.ContainsFunc(targets, func(m []string) bool { return m[1] == word[1] }) {
					t.Errorf("%s: there is no make %s", c.where, word[1])
				}
			case word[0] == "pratique" && flags[word[1]] != nil:
				flagsAre(c, flags[word[1]])
			case strings.HasPrefix(c.line, "kubectl pratique ") && flags[word[2]] != nil:
				flagsAre(c, flags[word[2]])
			case word[0] == "bin/webhook":
				flagsAre(c, webhookFlags)
			case word[0] == "helm":
				for _, m := range regexp.MustCompile(`--set ([A-Za-z.]+)=`).FindAllStringSubmatch(c.line, -1) {
					if _, ok := chart[m[1]]; !ok {
						t.Errorf("%s: the chart has no value %s", c.where, m[1])
					}
				}
			case strings.HasPrefix(c.line, "go run ./"), slices.Contains([]string{"kubectl", "cosign", "skopeo", "docker", "syft", "trivy", "grype", "jq", "echo", "cp", "ln"}, word[0]):
			default:
				t.Errorf("%s: nothing here knows %q", c.where, word[0])
			}
			for _, w := range word {
				_, err := os.Stat(filepath.Join(root, filepath.FromSlash(w)))
				if (strings.HasPrefix(w, "examples/") || strings.HasPrefix(w, "deploy/") || strings.HasPrefix(w, "./hack/")) && err != nil {
					t.Errorf("%s: %v", c.where, err)
				}
			}
		}
	}
}

func TestEveryMakeTargetThatAPageNamesExists(t *testing.T) {
	t.Parallel()
	makefile := readFile(t, "Makefile")
	for _, p := range pages(t) {
		for i, line := range p.prose() {
			for _, code := range codes(line) {
				target, ok := strings.CutPrefix(code, "make ")
				if !ok {
					continue
				}
				for name := range strings.FieldsSeq(target) {
					if strings.Contains(name, "=") || strings.HasPrefix(p.path, "docs/design/") {
						continue
					}
					if !strings.Contains(makefile, "\n"+name+":") {
						t.Errorf("%s:%d: there is no make %s", p.path, i+1, name)
					}
				}
			}
		}
	}
}
