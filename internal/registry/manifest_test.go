package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/pratique-dev/pratique/pkg/verify"
)

const (
	ociManifest  = "application/vnd.oci.image.manifest.v1+json"
	ociIndex     = "application/vnd.oci.image.index.v1+json"
	dockerImage  = "application/vnd.docker.distribution.manifest.v2+json"
	dockerList   = "application/vnd.docker.distribution.manifest.list.v2+json"
	someHash     = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
	someConfig   = `{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"` + someHash + `","size":2}`
	someLayer    = `{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"` + someHash + `","size":2}`
	someChild    = `{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"` + someHash + `","size":2}`
	goodManifest = `{"schemaVersion":2,"mediaType":"` + ociManifest + `","config":` + someConfig + `,"layers":[` + someLayer + `]}`
	goodIndex    = `{"schemaVersion":2,"mediaType":"` + ociIndex + `","manifests":[` + someChild + `]}`
)

func TestRow42_ManifestsThatCanBeReadInTwoWays(t *testing.T) {
	t.Parallel()
	untyped := `{"schemaVersion":2,"config":` + someConfig + `,"layers":[` + someLayer + `]`
	for _, tc := range []struct {
		name, header, body string
		refused            string // what the refusal says; empty: taken
	}{
		{name: "an OCI manifest", header: ociManifest, body: goodManifest},
		{name: "an OCI manifest without a type of its own", header: ociManifest, body: untyped + `}`},
		{name: "an OCI manifest that came without a header", body: goodManifest},
		{name: "a Docker manifest", header: dockerImage, body: strings.Replace(goodManifest, ociManifest, dockerImage, 1)},
		{name: "an OCI index", header: ociIndex, body: goodIndex},
		{name: "a Docker list", header: dockerList, body: strings.Replace(goodIndex, ociIndex, dockerList, 1)},
		{name: "an index of nothing", header: ociIndex, body: `{"schemaVersion":2,"manifests":[]}`},
		{name: "annotations that differ in case", header: ociManifest, body: untyped + `,"annotations":{"a":"1","A":"2"}}`},
		{name: "a header and a body that disagree", header: dockerImage, body: goodManifest, refused: "says of itself"},
		{name: "an index that says it is a manifest", header: ociIndex, body: goodManifest, refused: "says of itself"},
		{name: "no type at all", body: untyped + `}`, refused: "unknown type"},
		{name: "JSON of no type", header: "application/json", body: untyped + `}`, refused: "unknown type"},
		{name: "an unknown type", header: "application/vnd.example", body: untyped + `}`, refused: "unknown type"},
		{name: "an image manifest with manifests", header: ociManifest, body: untyped + `,"manifests":[` + someChild + `]}`, refused: "an index as well"},
		{name: "an image manifest with empty manifests", header: ociManifest, body: untyped + `,"manifests":null}`, refused: "an index as well"},
		{name: "an index with layers", header: ociIndex, body: `{"manifests":[],"layers":[]}`, refused: "an image manifest as well"},
		{name: "an index with a config", header: ociIndex, body: `{"manifests":[],"config":` + someConfig + `}`, refused: "an image manifest as well"},
		{name: "an index without manifests", header: ociIndex, body: `{"schemaVersion":2}`, refused: "without manifests"},
		{name: "an image manifest without config", header: ociManifest, body: `{"schemaVersion":2,"layers":[]}`, refused: "without config"},
		{name: "schema 1", header: "application/vnd.docker.distribution.manifest.v1+prettyjws", body: `{"schemaVersion":1,"fsLayers":[]}`, refused: "schema 1"},
		{name: "schema 1 by its version", header: ociManifest, body: strings.Replace(goodManifest, `:2,`, `: 1 ,`, 1), refused: "schema 1"},
		{name: "schema 1 by its layers", header: ociManifest, body: untyped + `,"fsLayers":[]}`, refused: "schema 1"},
		{name: "layers twice", header: ociManifest, body: untyped + `,"layers":[]}`, refused: "twice"},
		{name: "layers in another case", header: ociManifest, body: untyped + `,"Layers":[]}`, refused: "nearly"},
		{name: "layers in another case alone", header: ociManifest, body: `{"config":` + someConfig + `,"LAYERS":[]}`, refused: "nearly"},
		{name: "manifests with a long s", header: ociManifest, body: untyped + `,"manifest\u017f":[]}`, refused: "nearly"},
		{name: "a name that escapes hide", header: ociManifest, body: untyped + `,"\u006cayers":[]}`, refused: "twice"},
		{name: "an unknown name in two cases", header: ociManifest, body: untyped + `,"x":1,"X":2}`, refused: "twice"},
		{name: "a digest twice in a descriptor", header: ociManifest, body: `{"config":` + someConfig + `,"layers":[{"digest":"` + someHash + `","size":2,"digest":"` + someHash + `"}]}`, refused: "twice"},
		{name: "a digest in two cases in a descriptor", header: ociIndex, body: `{"manifests":[{"digest":"` + someHash + `","size":2,"Digest":"` + someHash + `"}]}`, refused: "nearly"},
		{name: "an annotation twice", header: ociManifest, body: untyped + `,"annotations":{"a":"1","a":"2"}}`, refused: "twice"},
		{name: "a second document", header: ociManifest, body: goodManifest + goodManifest, refused: "not JSON"},
		{name: "trailing text", header: ociManifest, body: goodManifest + `x`, refused: "not JSON"},
		{name: "a list", header: ociManifest, body: `[` + goodManifest + `]`, refused: "not a JSON object"},
		{name: "nothing", header: ociManifest, body: ``, refused: "not JSON"},
		{name: "null", header: ociManifest, body: `null`, refused: "not a JSON object"},
		{name: "a byte order mark", header: ociManifest, body: "\xef\xbb\xbf" + goodManifest, refused: "not JSON"},
		{name: "bytes that are no UTF-8", header: ociManifest, body: untyped + ",\"annotations\":{\"a\":\"\xff\"}}", refused: "UTF-8"},
		{name: "HTML", header: ociManifest, body: `<html></html>`, refused: "not JSON"},
		{name: "layers of another type", header: ociManifest, body: `{"config":` + someConfig + `,"layers":{}}`, refused: "not a manifest"},
		{name: "a layer without digest", header: ociManifest, body: `{"config":` + someConfig + `,"layers":[{"size":2}]}`, refused: "sha256"},
		{name: "a layer with a short digest", header: ociManifest, body: `{"config":` + someConfig + `,"layers":[{"digest":"sha256:44","size":2}]}`, refused: "hex digits"},
		{name: "a layer of negative size", header: ociManifest, body: `{"config":` + someConfig + `,"layers":[{"digest":"` + someHash + `","size":-1}]}`, refused: "negative"},
		{name: "a layer of fractional size", header: ociManifest, body: `{"config":` + someConfig + `,"layers":[{"digest":"` + someHash + `","size":1.5}]}`, refused: "not a manifest"},
		{name: "a layer of a size beyond 64 bits", header: ociManifest, body: `{"config":` + someConfig + `,"layers":[{"digest":"` + someHash + `","size":18446744073709551616}]}`, refused: "not a manifest"},
		{name: "nesting without end", header: ociManifest, body: untyped + `,"x":` + strings.Repeat(`{"a":`, 40) + `1` + strings.Repeat(`}`, 41), refused: "too deep"},
		{name: "lists without end", header: ociManifest, body: untyped + `,"x":` + strings.Repeat(`[`, 5000) + strings.Repeat(`]`, 5000) + `}`, refused: "too deep"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			d, err := parseDocument([]byte(tc.body), tc.header)
			if tc.refused == "" {
				if err != nil {
					t.Fatalf("refused: %v", err)
				}
				if d.MediaType == "" {
					t.Error("no media type")
				}
				return
			}
			if err == nil {
				t.Fatalf("taken as %+v", d)
			}
			if f := failureOf(err); f.kind != verify.Malformed || f.again {
				t.Errorf("%s (again: %v), want malformed for good", f.kind, f.again)
			}
			if !strings.Contains(err.Error(), tc.refused) {
				t.Errorf("refused with %q, want something of %q", err, tc.refused)
			}
		})
	}
}

func TestRow37_ADigestOfAnotherAlgorithmInAManifest(t *testing.T) {
	t.Parallel()
	sha512 := "sha512:" + strings.Repeat("ab", 64)
	_, err := parseDocument([]byte(strings.Replace(goodIndex, someHash, sha512, 1)), ociIndex)
	if err == nil || !strings.Contains(err.Error(), "sha256") {
		t.Fatalf("got %v, want a refusal that names sha256", err)
	}
}

func TestParseDocumentReadsWhatIsThere(t *testing.T) {
	t.Parallel()
	d, err := parseDocument([]byte(`{"schemaVersion":2,"mediaType":"`+ociManifest+`","artifactType":"application/x",
		"config":`+someConfig+`,"layers":[{"mediaType":"text/plain","digest":"`+someHash+`","size":2,"annotations":{"k":"v"},"urls":["http://169.254.169.254/"]}],
		"subject":`+someChild+`,"annotations":{"a":"b"}}`), ociManifest)
	if err != nil {
		t.Fatal(err)
	}
	if d.index() || d.ArtifactType != "application/x" || d.Annotations["a"] != "b" || d.Subject.Digest.String() != someHash {
		t.Errorf("got %+v", d)
	}
	if l := d.Layers[0]; l.MediaType != "text/plain" || l.Size != 2 || l.Annotations["k"] != "v" || l.Digest.String() != someHash {
		t.Errorf("got layer %+v", l)
	}
}

// FuzzManifest holds parseDocument to its promise: what it takes has one reading, which is the one that a decoder that
// knows nothing of these rules finds.
func FuzzManifest(f *testing.F) {
	f.Fuzz(func(t *testing.T, body []byte, header string) {
		d, err := parseDocument(body, header)
		if err != nil {
			var failed *failure
			if !errors.As(err, &failed) || failed.kind != verify.Malformed {
				t.Fatalf("refused with %v", err)
			}
			return
		}
		var plain map[string]any
		if err := json.Unmarshal(body, &plain); err != nil {
			t.Fatalf("taken, and not a JSON object: %v", err)
		}
		_, layers := plain["layers"]
		_, manifests := plain["manifests"]
		_, config := plain["config"]
		if manifests && (layers || config) {
			t.Fatal("taken, and two things at once")
		}
		if d.index() != manifests {
			t.Fatalf("index: %v, manifests: %v", d.index(), manifests)
		}
		if own, ok := plain["mediaType"].(string); ok && own != "" && own != d.MediaType {
			t.Fatalf("media type %q, says of itself %q", d.MediaType, own)
		}
		for key := range plain {
			for other := range plain {
				if key != other && strings.EqualFold(key, other) {
					t.Fatalf("taken with both %q and %q", key, other)
				}
			}
		}
		for _, l := range append(d.Layers, d.Manifests...) {
			if l.Size < 0 || len(l.Digest.Hex) != 64 {
				t.Fatalf("taken with %+v", l)
			}
		}
	})
}

func ExampleParseHostPort() {
	h, err := ParseHostPort("Registry.example.com:5000")
	fmt.Println(h, err)
	_, err = ParseHostPort("http://registry.example.com")
	fmt.Println(err)
	// Output:
	// registry.example.com:5000 <nil>
	// "http://registry.example.com" is not HOST or HOST:PORT: want the host alone, without scheme or path
}

// A descriptor in memory is many times as large as the shortest text of one.
func TestParsingTakesMemoryInProportion(t *testing.T) { // not parallel: it measures
	fill := func(start, one, end string) []byte {
		return []byte(start + strings.Repeat(one+",", (MaxManifest-len(start)-len(end)-len(one))/(len(one)+1)) + one + end)
	}
	var names strings.Builder
	for i := 0; names.Len() < MaxManifest-200; i++ {
		fmt.Fprintf(&names, `,"%x":""`, i)
	}
	start := `{"schemaVersion":2,"config":` + someConfig
	for name, body := range map[string][]byte{
		"of empty layers":       fill(start+`,"layers":[`, "{}", "]}"),
		"of empty children":     fill(`{"schemaVersion":2,"mediaType":"`+ociIndex+`","manifests":[`, "{}", "]}"),
		"of countless names":    []byte(start + `,"annotations":{` + names.String()[1:] + "}}"),
		"of what nobody reads":  fill(start+`,"else":[`, "1", "]}"),
		"of nested empty lists": fill(start+`,"else":[`, "[]", "]}"),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := parseDocument(body, ociManifest)
		runtime.ReadMemStats(&after)
		if err == nil || failureOf(err).kind != verify.Malformed {
			t.Errorf("%s: %v", name, err)
		}
		if got := after.TotalAlloc - before.TotalAlloc; got > 4*MaxManifest {
			t.Errorf("%s: %d MiB are allotted for %d", name, got>>20, len(body)>>20)
		}
	}
}
