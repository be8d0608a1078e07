package main

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/pratique-dev/pratique/internal/trust/trusttest"
	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/pkg/verify/verifytest"
	"github.com/pratique-dev/pratique/test/evilregistry/papers"
)

// sigstores are what a script has made to sign with, beside keys.
type sigstores struct {
	instances map[string]*verifytest.Sigstore
	people    map[string]verifytest.Person
	pkis      map[string]*verifytest.PKI
	signers   map[string]verifytest.Signer
	mirrors   map[string]*trusttest.Repository
}

func newSigstores() sigstores {
	return sigstores{
		map[string]*verifytest.Sigstore{}, map[string]verifytest.Person{}, map[string]*verifytest.PKI{}, map[string]verifytest.Signer{},
		map[string]*trusttest.Repository{},
	}
}

// sigstoreCommands are what the scripts can say about Sigstore:
//
//	sigstore NAME...             makes instances in memory: $ROOT_NAME is the trusted_root.json, as a string of JSON
//	person NAME SUBJECT ISSUER [NUMBER=EXTENSION]...
//	                             is somebody whom a Fulcio confirms, with its extensions by the last numbers of their OIDs
//	pki NAME...                  makes certificate authorities: $PKI_NAME is the root's PEM, as a string of JSON
//	signer NAME...               makes keys whose signatures an instance can log: $PEM_NAME is the public half, as a string of JSON
//	mirror NAME SIGSTORE         starts a TUF repository with an instance's root: $MIRROR_NAME is its URL, $HOST_NAME its host, and
//	                             $TUF_NAME its root.json, as a string of JSON
//	mirror-down NAME             stops it from answering
func sigstoreCommands(t *testing.T) map[string]func(*testscript.TestScript, bool, []string) {
	with := func(do func(failer, *world, []string), usage string, well func(args []string) bool) func(*testscript.TestScript, bool, []string) {
		return func(ts *testscript.TestScript, neg bool, args []string) {
			do(failer{t, ts}, worldOf(ts, neg, well(args), usage), args)
		}
	}
	some := func(args []string) bool { return len(args) > 0 }
	several := func(n int) func([]string) bool { return func(args []string) bool { return len(args) == n } }
	return map[string]func(*testscript.TestScript, bool, []string){
		"sigstore": with(cmdSigstore, "sigstore NAME...", some), "person": with(cmdPerson, "person NAME SUBJECT ISSUER [NUMBER=EXTENSION]...", func(args []string) bool { return len(args) >= 3 }),
		"pki": with(cmdPKI, "pki NAME...", some), "signer": with(cmdSigner, "signer NAME...", some),
		"mirror": with(cmdMirror, "mirror NAME SIGSTORE", several(2)), "mirror-down": with(cmdMirrorDown, "mirror-down NAME", several(1)),
	}
}

// set sets a variable to some text as a string of JSON.
func (f failer) set(name string, text []byte) {
	quoted, err := json.Marshal(string(text))
	f.script.Check(err)
	f.script.Setenv(name, string(quoted))
}

func cmdSigstore(t failer, w *world, args []string) {
	for _, n := range args {
		w.instances[n] = verifytest.NewSigstore(t)
		t.set("ROOT_"+n, w.instances[n].TrustedRoot(t))
	}
}

func cmdPerson(t failer, w *world, args []string) {
	p := verifytest.Person{Subject: args[1], Issuer: args[2], Extensions: map[int]string{}}
	for _, arg := range args[3:] {
		number, value, _ := strings.Cut(arg, "=")
		n, err := strconv.Atoi(number)
		t.script.Check(err)
		p.Extensions[n] = value
	}
	w.people[args[0]] = p
}

func cmdPKI(t failer, w *world, args []string) {
	for _, n := range args {
		w.pkis[n] = verifytest.NewPKI(t, verifytest.Always())
		t.set("PKI_"+n, w.pkis[n].RootsPEM())
	}
}

func cmdSigner(t failer, w *world, args []string) {
	for _, n := range args {
		s := verifytest.NewSigner(t, byte(len(w.signers)+1))
		w.signers[n] = s
		t.set("PEM_"+n, s.Key().PEM())
	}
}

func cmdMirror(t failer, w *world, args []string) {
	m := trusttest.New(t, w.instance(t, args[1]).TrustedRoot(t))
	w.mirrors[args[0]] = m
	t.script.Setenv("MIRROR_"+args[0], m.URL())
	t.script.Setenv("HOST_"+args[0], m.Host())
	t.set("TUF_"+args[0], m.Root())
}

func cmdMirrorDown(t failer, w *world, args []string) {
	m, ok := w.mirrors[args[0]]
	if !ok {
		t.Fatalf("no mirror %q was made", args[0])
	}
	m.Down(true)
}

func (s sigstores) instance(t failer, name string) *verifytest.Sigstore {
	one, ok := s.instances[name]
	if !ok {
		t.Fatalf("no sigstore %q was made", name)
	}
	return one
}

// attachSigstore makes a bundle by way of an instance of Sigstore. A paper is keyless:SIGSTORE:PERSON, logged:SIGSTORE:SIGNER or
// own:SIGSTORE:PKI:NAME, where NAME is a certificate's DNS name; each followed by :OPTION...:
//
//	rekor2    logged in Rekor v2 and stamped, in place of Rekor v1
//	unlogged  not logged
//	stamped   stamped by a timestamp authority
//	expired   with a certificate that had expired before
//	moved     signed for another image, and then made to name this one
func attachSigstore(t failer, w *world, image name.Digest, kind string, words []string, with []papers.Option) {
	need := 2
	if kind == "own" {
		need = 3
	}
	if len(words) < need {
		t.Fatalf("%s:%s: too few words", kind, strings.Join(words, ":"))
	}
	s := w.instance(t, words[0])
	by := verifytest.Signing{Logs: []verifytest.Log{verifytest.RekorV1}}
	person, leaf, moved := w.people[words[1]], verifytest.Leaf{}, false
	for _, option := range words[need:] {
		switch option {
		case "rekor2":
			by.Logs, by.Stamps = []verifytest.Log{verifytest.RekorV2}, []int{0}
		case "unlogged":
			by.Logs = nil
		case "stamped":
			by.Stamps = []int{0}
		case "expired":
			person.Valid, leaf.Valid = verifytest.Before(), verifytest.Before()
		case "moved":
			moved = true
		default:
			t.Fatalf("%s: no such option", option)
		}
	}
	switch kind {
	case "keyless":
		by.Person = &person
	case "logged":
		signer, ok := w.signers[words[1]]
		if !ok {
			t.Fatalf("no signer %q was made", words[1])
		}
		by.Key = &signer
	case "own":
		pki, ok := w.pkis[words[1]]
		if !ok {
			t.Fatalf("no pki %q was made", words[1])
		}
		leaf.DNS = []string{words[2]}
		holder := pki.Issue(t, leaf)
		by.Holder = &holder
	default:
		t.Fatalf("%s: no such paper", kind)
	}
	h := hashOf(t, image)
	about := h
	if moved {
		about = verifytest.Digest("another image")
	}
	bundle := s.Envelope(t, by, verifytest.Statement(about, verify.CosignSign))
	if envelope, ok := bundle["dsseEnvelope"].(map[string]any); ok && moved {
		envelope["payload"] = verifytest.Statement(h, verify.CosignSign) // []byte: base64
	}
	text, err := json.Marshal(bundle)
	t.script.Check(err)
	papers.PushBundle(t, image, verify.CosignSign, text, with...)
}
