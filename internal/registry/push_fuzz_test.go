package registry

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/pratique-dev/pratique/pkg/verify"
)

// Whatever an index under a fallback tag holds, once a referrer is added it can be read, has the referrer last, and all
// that it had, to the byte; and adding it again changes nothing.
func FuzzWithReferrer(f *testing.F) {
	f.Add([]byte(`{"schemaVersion":2,"mediaType":"` + ociIndex + `","manifests":[]}`))
	f.Add([]byte(`{"schemaVersion":2,"mediaType":"` + ociIndex + `","manifests":[` + someChild + `],"annotations":{"a":"<&>"},"x":1e400}`))
	f.Add([]byte(`{"manifests":[` + someChild + `,` + someChild + `]}`))
	referrer, _, err := referrerOf(written{MediaType: ociManifest, Digest: hashOf(nil)}, aBundle("one"))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, old []byte) {
		before, err := parseDocument(old, ociIndex)
		if err != nil || before.MediaType != ociIndex {
			return // it isn't written to
		}
		body, err := withReferrer(old, referrer)
		if err != nil {
			wantFailure(t, err, verify.Malformed, verify.TooMany, verify.TooLarge)
			return
		}
		if body == nil {
			if !slices.ContainsFunc(before.Manifests, func(d descriptor) bool { return d.Digest == referrer.Digest }) {
				t.Fatal("it isn't in it, and isn't added")
			}
			return
		}
		after, err := parseDocument(body, ociIndex)
		if err != nil || len(after.Manifests) != len(before.Manifests)+1 || after.Manifests[len(before.Manifests)].Digest != referrer.Digest {
			t.Fatalf("%v: %s", err, body)
		}
		var was, is map[string]json.RawMessage
		if json.Unmarshal(old, &was) != nil || json.Unmarshal(body, &is) != nil {
			t.Fatal("no objects")
		}
		for key := range was {
			if _, ok := is[key]; !ok {
				t.Fatalf("%q is gone", key)
			}
		}
		if again, err := withReferrer(body, referrer); again != nil || err != nil {
			t.Fatalf("added twice: %v", err)
		}
	})
}
