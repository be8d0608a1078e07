package main

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/pratique-dev/pratique/test/evilregistry"
	"github.com/pratique-dev/pratique/test/evilregistry/papers"
)

// world is what one script has made.
type world struct {
	registry *evilregistry.Registry
	keys     map[string]papers.Key
	images   int
	sigstores
}

// worldKey is where a script keeps its world.
type worldKey struct{}

func begin(env *testscript.Env) error {
	env.Values[worldKey{}] = &world{keys: map[string]papers.Key{}, sigstores: newSigstores()}
	return nil
}

// commands are what the scripts can say:
//
//	keys NAME...            makes keys: $PEM_NAME is the public half as a string of JSON, and so of YAML; $B64_NAME its base64
//	registry [USER:PASS]    starts a registry, $REG; with a user, all of it below private/ is theirs
//	push VAR REF [PAPER...] pushes a new image to REF of the registry. $VAR is its reference by digest, $VAR_DIGEST its digest.
//	                        A PAPER is signed:KEY (legacy), bundle:KEY, sbom:KEY (an attestation in a bundle), or one of those of
//	                        attachSigstore. REPO=PAPER keeps it in another repository
//	attach VAR PAPER...     adds papers to an image that was pushed
//	down                    stops the registry
//	expand FILE...          replaces $NAME in files by what it stands for
//	exits CODE COMMAND...   runs a command, which must end with this code
//	hide FILE               writes what was printed to FILE, with what differs at each run replaced by what it is: REG, DIGEST, KEY and so on.
//	                        UPDATE_GOLDEN=1 writes what is compared with it
//	json FILE               what was printed is one JSON document, of the fields and values in FILE: a string "*" there is any string
func commands(t *testing.T) map[string]func(*testscript.TestScript, bool, []string) {
	all := sigstoreCommands(t)
	maps.Copy(all, signCommands(t))
	maps.Copy(all, map[string]func(*testscript.TestScript, bool, []string){
		"keys": cmdKeys, "registry": cmdRegistry, "down": cmdDown, "expand": cmdExpand, "exits": cmdExits, "json": cmdJSON,
		"push":   func(ts *testscript.TestScript, neg bool, args []string) { cmdPush(failer{t, ts}, ts, neg, args) },
		"attach": func(ts *testscript.TestScript, neg bool, args []string) { cmdAttach(failer{t, ts}, ts, neg, args) },
		"hide":   cmdHide,
	})
	return all
}

// failer ends the script, and not the test around all scripts, where something can't be made.
type failer struct {
	testing.TB
	script *testscript.TestScript
}

func (f failer) Helper()                           {}
func (f failer) Fatal(args ...any)                 { f.script.Fatalf("%s", fmt.Sprint(args...)) }
func (f failer) Fatalf(format string, args ...any) { f.script.Fatalf(format, args...) }

// worldOf returns the script's world, after it has checked how a command is used.
func worldOf(ts *testscript.TestScript, neg, well bool, usage string) *world {
	if neg || !well {
		ts.Fatalf("usage: %s", usage)
	}
	w, ok := ts.Value(worldKey{}).(*world)
	if !ok {
		ts.Fatalf("a script without a world")
	}
	return w
}

func cmdKeys(ts *testscript.TestScript, neg bool, args []string) {
	w := worldOf(ts, neg, len(args) > 0, "keys NAME...")
	for _, n := range args {
		k, err := papers.GenerateKey(papers.P256)
		ts.Check(err)
		w.keys[n] = k
		text, err := json.Marshal(string(k.PublicPEM))
		ts.Check(err)
		ts.Setenv("PEM_"+n, string(text))
		ts.Setenv("B64_"+n, base64.StdEncoding.EncodeToString(k.PublicPEM))
	}
}

func cmdRegistry(ts *testscript.TestScript, neg bool, args []string) {
	w := worldOf(ts, neg, len(args) < 2, "registry [USER:PASSWORD]")
	var options []evilregistry.Option
	if len(args) == 1 {
		user, password, _ := strings.Cut(args[0], ":")
		options = append(options, evilregistry.WithTokenAuth(map[string]string{user: password}, "private/**"))
	}
	r, err := evilregistry.Start(options...)
	ts.Check(err)
	ts.Defer(r.Close)
	w.registry = r
	ts.Setenv("REG", r.Host())
}

func cmdDown(ts *testscript.TestScript, neg bool, args []string) {
	w := worldOf(ts, neg, len(args) == 0, "down")
	w.registry.Close()
}

func cmdPush(t failer, ts *testscript.TestScript, neg bool, args []string) {
	w := worldOf(ts, neg, len(args) >= 2, "push VAR REF [signed:KEY|bundle:KEY|sbom:KEY]...")
	w.images++
	image := w.registry.Push(t, args[1], evilregistry.RandomImage(uint64(w.images)))
	ts.Setenv(args[0], image.String())
	ts.Setenv(args[0]+"_DIGEST", image.DigestStr())
	for _, paper := range args[2:] {
		attach(t, w, image, paper)
	}
}

func cmdAttach(t failer, ts *testscript.TestScript, neg bool, args []string) {
	w := worldOf(ts, neg, len(args) >= 2, "attach VAR PAPER...")
	image, err := name.NewDigest(ts.Getenv(args[0]), name.Insecure)
	ts.Check(err)
	for _, paper := range args[1:] {
		attach(t, w, image, paper)
	}
}

func cmdHide(ts *testscript.TestScript, neg bool, args []string) {
	worldOf(ts, neg, len(args) == 1, "hide FILE")
	text := strings.ReplaceAll(ts.ReadFile("stdout"), ts.Getenv("REG"), "REG")
	for _, h := range []struct{ pattern, is string }{
		{`sha256([:-])[0-9a-f]{64}`, "sha256${1}DIGEST"}, {`sha256:[0-9a-f]{12}\.\.\.`, "sha256:SHORT..."},
		{`SHA256:[0-9a-f]{64}`, "SHA256:KEY"}, {`SHA256:[0-9a-f]{12}\.\.\.`, "SHA256:KEY..."}, {`CN=CA [0-9]+`, "CN=CA SERIAL"},
	} {
		text = regexp.MustCompile(h.pattern).ReplaceAllString(text, h.is)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o600))
}

// hashOf is an image's digest.
func hashOf(t failer, image name.Digest) v1.Hash {
	h, err := v1.NewHash(image.DigestStr())
	t.script.Check(err)
	return h
}

// attach makes a paper and stores it beside the image.
func attach(t failer, w *world, image name.Digest, paper string) {
	with := []papers.Option{papers.Via(w.registry.Options()...)}
	if repository, rest, elsewhere := strings.Cut(paper, "="); elsewhere {
		paper = rest
		with = append(with, papers.In(w.registry.Repo(repository)))
	}
	kind, by, _ := strings.Cut(paper, ":")
	if kind == "keyless" || kind == "logged" || kind == "own" {
		attachSigstore(t, w, image, kind, strings.Split(by, ":"), with)
		return
	}
	k, ok := w.keys[by]
	if !ok {
		t.Fatalf("%s: no key %q was made", paper, by)
	}
	switch kind {
	case "signed":
		papers.SignLegacy(t, image, k, with...)
	case "bundle":
		papers.SignBundle(t, image, k, with...)
	case "sbom":
		papers.AttestBundle(t, image, k, "https://spdx.dev/Document", map[string]string{"spdxVersion": "SPDX-2.3"}, with...)
	default:
		t.Fatalf("%s: no such paper", paper)
	}
}

func cmdExpand(ts *testscript.TestScript, neg bool, args []string) {
	worldOf(ts, neg, len(args) > 0, "expand FILE...")
	for _, file := range args {
		text := os.Expand(ts.ReadFile(file), func(name string) string {
			value := ts.Getenv(name)
			if value == "" {
				ts.Fatalf("%s: $%s stands for nothing", file, name)
			}
			return value
		})
		ts.Check(os.WriteFile(ts.MkAbs(file), []byte(text), 0o600))
	}
}

func cmdExits(ts *testscript.TestScript, neg bool, args []string) {
	worldOf(ts, neg, len(args) >= 2, "exits CODE COMMAND...")
	code := "0"
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%s: %v", args[1], err)
		}
		code = fmt.Sprint(exit.ExitCode())
	}
	if code != args[0] {
		ts.Fatalf("exit code %s, want %s", code, args[0])
	}
}

func cmdJSON(ts *testscript.TestScript, neg bool, args []string) {
	worldOf(ts, neg, len(args) == 1, "json FILE")
	var got, want any
	if err := json.Unmarshal([]byte(ts.ReadFile("stdout")), &got); err != nil {
		ts.Fatalf("stdout is no JSON document: %v", err)
	}
	if err := json.Unmarshal([]byte(ts.ReadFile(args[0])), &want); err != nil {
		ts.Fatalf("%s: %v", args[0], err)
	}
	if why := differs("", got, want); why != "" {
		ts.Fatalf("%s", why)
	}
}

// differs says where two JSON values differ, and nothing where they don't.
func differs(at string, got, want any) string {
	switch w := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok {
			return fmt.Sprintf("%s is %v, want an object", at, got)
		}
		for key := range g {
			if _, ok := w[key]; !ok {
				return fmt.Sprintf("%s.%s is %v, want no such field", at, key, g[key])
			}
		}
		for key := range w {
			value, ok := g[key]
			if !ok {
				return fmt.Sprintf("%s.%s is missing", at, key)
			}
			if why := differs(at+"."+key, value, w[key]); why != "" {
				return why
			}
		}
		return ""
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(w) {
			return fmt.Sprintf("%s is %v, want %d elements", at, got, len(w))
		}
		for i := range w {
			if why := differs(fmt.Sprintf("%s[%d]", at, i), g[i], w[i]); why != "" {
				return why
			}
		}
		return ""
	}
	if _, ok := got.(string); want == "*" && ok || got == want {
		return ""
	}
	return fmt.Sprintf("%s is %v, want %v", at, got, want)
}
