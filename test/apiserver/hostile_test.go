package apiserver

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/pratique-dev/pratique/test/evilregistry/papers"
)

// nothingHold is for how long the webhook believes that an image has no more papers than it found, and a little.
const nothingHold = 5500 * time.Millisecond

// hostileBundles are bytes that lie where a bundle would, by name.
func hostileBundles(t *testing.T, s *scene) map[string][]byte {
	image := s.unsigned("shop/other")
	honest := papers.Bundle(t, image, s.release, papers.SignaturePredicate, map[string]any{})
	edit := func(f func(map[string]any)) []byte {
		var b map[string]any
		if err := json.Unmarshal(honest, &b); err != nil {
			t.Fatal(err)
		}
		f(b)
		text, err := json.Marshal(b)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	return map[string][]byte{
		"nothing":                     {},
		"null":                        []byte("null"),
		"a number":                    []byte("1"),
		"an empty object":             []byte("{}"),
		"a list":                      []byte("[]"),
		"no JSON":                     []byte("\x00\xff\xfe bundle"),
		"a hundred thousand brackets": bytes.Repeat([]byte("["), 100_000),
		"a deep object":               []byte(strings.Repeat(`{"a":`, 20_000) + "1" + strings.Repeat("}", 20_000)),
		"half of one":                 honest[:len(honest)/2],
		"a bundle for another image":  honest,
		"no material":                 edit(func(b map[string]any) { delete(b, "verificationMaterial") }),
		"material that is null":       edit(func(b map[string]any) { b["verificationMaterial"] = nil }),
		"material that is empty":      edit(func(b map[string]any) { b["verificationMaterial"] = map[string]any{} }),
		"a certificate of no bytes": edit(func(b map[string]any) {
			b["verificationMaterial"] = map[string]any{"certificate": map[string]any{"rawBytes": ""}}
		}),
		"a chain of nothing": edit(func(b map[string]any) {
			b["verificationMaterial"] = map[string]any{"x509CertificateChain": map[string]any{"certificates": []any{}}}
		}),
		"a log entry that is null": edit(func(b map[string]any) {
			b["verificationMaterial"].(map[string]any)["tlogEntries"] = []any{nil}
		}),
		"a log entry that is empty": edit(func(b map[string]any) {
			b["verificationMaterial"].(map[string]any)["tlogEntries"] = []any{map[string]any{}}
		}),
		"a timestamp of garbage": edit(func(b map[string]any) {
			b["verificationMaterial"].(map[string]any)["timestampVerificationData"] = map[string]any{"rfc3161Timestamps": []any{map[string]any{"signedTimestamp": "Z2FyYmFnZQ=="}}}
		}),
		"no envelope":            edit(func(b map[string]any) { delete(b, "dsseEnvelope") }),
		"an envelope of nothing": edit(func(b map[string]any) { b["dsseEnvelope"] = map[string]any{} }),
		"an envelope without signatures": edit(func(b map[string]any) {
			b["dsseEnvelope"].(map[string]any)["signatures"] = []any{}
		}),
		"a message signature of nothing": edit(func(b map[string]any) {
			delete(b, "dsseEnvelope")
			b["messageSignature"] = map[string]any{}
		}),
		"a version from the future": edit(func(b map[string]any) { b["mediaType"] = "application/vnd.dev.sigstore.bundle.v9.9+json" }),
	}
}

// survived checks that the webhook is the same process as before and that nothing panicked, not even caught.
func (s *scene) survived() {
	s.t.Helper()
	if !s.bed.Running() {
		s.t.Fatalf("the webhook has died\n%s", s.bed.LogTail())
	}
	metrics, err := s.bed.Metrics(s.ctx)
	s.want("reading metrics", err)
	if !strings.Contains(metrics, "\npratique_panics_total 0\n") {
		s.t.Errorf("something panicked: %s", s.bed.LogTail())
	}
}

// TestRow96_HostileAnnotationsEndNothing attaches the annotations that kill a verifier built on cosign's plural functions.
func TestRow96_HostileAnnotationsEndNothing(t *testing.T) {
	s := parallelScene(t, "row96")
	s.policy(signedBy)
	via := papers.Via(s.reg.Options()...)
	hostile := papers.HostileAnnotations()
	for _, name := range slices.Sorted(maps.Keys(hostile)) {
		var options []papers.Option
		for key, value := range hostile[name] {
			options = append(options, papers.Annotate(key, value))
		}
		title := strings.ReplaceAll(name, " ", "-")
		stranger := papers.NewKey(t, papers.P256)

		bad := s.unsigned("shop/api")
		papers.SignLegacy(t, bad, stranger, append(options, via)...)
		s.refuses(pod(title+"-stranger", bad.String()), "NoTrustedSignature")

		mangled := s.unsigned("shop/api")
		papers.SignLegacy(t, mangled, s.release, append(options, via, papers.MangleSignature())...)
		s.refuses(pod(title+"-mangled", mangled.String()), "NoTrustedSignature")

		// What nobody signed can spoil its own paper, and no more.
		carries := s.unsigned("shop/api")
		papers.SignLegacy(t, carries, s.release, append(options, via)...)
		if _, err := s.create(pod(title+"-carries", carries.String())); err != nil {
			s.wantRefused(err, "NoTrustedSignature")
		}

		// Nobody signed the annotations: beside a good signature, in a paper of its own, they change nothing.
		beside := s.signed("shop/api")
		papers.SignLegacy(t, beside, stranger, append(options, via)...)
		s.admits(pod(title+"-beside", beside.String()))
	}
	s.survived()
}

func TestRow96_HostileBundlesEndNothing(t *testing.T) {
	s := parallelScene(t, "row96b")
	s.policy(signedBy)
	bundles := hostileBundles(t, s)
	names := slices.Sorted(maps.Keys(bundles))
	images := map[string]name.Digest{}
	for _, name := range names {
		images[name] = s.unsigned("shop/api")
		papers.PushBundle(t, images[name], papers.SignaturePredicate, bundles[name], papers.Via(s.reg.Options()...))
		if _, err := s.create(pod("alone", images[name].String())); err == nil || !strings.Contains(err.Error(), "NoTrustedSignature") {
			t.Errorf("%s: %v", name, err)
		}
		s.sign(images[name], s.release)
	}
	time.Sleep(nothingHold)
	for _, name := range names { // what is signed doesn't lose its signature to a neighbour
		_, err := s.kube.CoreV1().Pods(s.ns).Create(s.ctx, pod("beside", images[name].String()), dryRun())
		if err != nil {
			t.Errorf("a good signature beside %s: %v", name, err)
		}
	}
	s.survived()
}
