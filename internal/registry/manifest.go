package registry

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"unicode"
	"unicode/utf8"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/pratique-dev/pratique/pkg/verify"
)

// maxDepth bounds how deep JSON of a manifest is nested: the deepest that the specification has is five.
const maxDepth = 32

// maxElements bounds the elements of one list and the names of one object: many more than verify.MaxListed, so that who
// attaches too much is told so, and few enough that the parsed document takes no more memory than its text may. The
// shortest text of a descriptor, {}, is parsed into some fifty times as much.
const maxElements = 16 << 10

// document is a manifest or an index that can be read in one way only.
type document struct {
	MediaType    string            `json:"mediaType"`
	ArtifactType string            `json:"artifactType"`
	Config       *descriptor       `json:"config"`
	Layers       []descriptor      `json:"layers"`
	Manifests    []descriptor      `json:"manifests"`
	Subject      *descriptor       `json:"subject"`
	Annotations  map[string]string `json:"annotations"`
}

// descriptor is an OCI content descriptor. Its urls are not read: content comes from the registry that was asked.
type descriptor struct {
	MediaType    string            `json:"mediaType"`
	ArtifactType string            `json:"artifactType"`
	Digest       v1.Hash           `json:"digest"`
	Size         int64             `json:"size"` // bytes
	Platform     *platform         `json:"platform"`
	Annotations  map[string]string `json:"annotations"`
}

// index tells whether the document is an index of manifests.
func (d *document) index() bool {
	return d.MediaType == string(types.OCIImageIndex) || d.MediaType == string(types.DockerManifestList)
}

// index tells whether the descriptor is one of an index.
func (d descriptor) index() bool {
	return d.MediaType == string(types.OCIImageIndex) || d.MediaType == string(types.DockerManifestList)
}

// acceptManifests asks for what parseDocument knows, and nothing else.
func acceptManifests() string {
	return strings.Join([]string{
		string(types.OCIImageIndex), string(types.OCIManifestSchema1),
		string(types.DockerManifestList), string(types.DockerManifestSchema2),
	}, ", ")
}

// contentType returns the media type of a header, without parameters; empty if there is none.
func contentType(h http.Header) (string, error) {
	values := h.Values("Content-Type")
	if len(values) == 0 {
		return "", nil
	}
	mediaType, _, err := mime.ParseMediaType(values[0])
	if err != nil || len(values) > 1 {
		return "", refuse(verify.Malformed, "its Content-Type can't be read: %s", quote(strings.Join(values, "; ")))
	}
	return mediaType, nil
}

// parseDocument reads a manifest or an index, and refuses one that another parser could read otherwise: the node's
// container runtime is another parser. header is the media type that it came with, empty if none did.
func parseDocument(body []byte, header string) (*document, error) {
	if err := checkJSON(body); err != nil {
		return nil, refuse(verify.Malformed, "not a manifest: %w", err)
	}
	var have map[string]json.RawMessage
	if err := json.Unmarshal(body, &have); err != nil {
		return nil, refuse(verify.Malformed, "not a manifest: not a JSON object")
	}
	d := &document{}
	if err := json.Unmarshal(body, d); err != nil {
		return nil, refuse(verify.Malformed, "not a manifest: %s", printable(err.Error()))
	}
	switch {
	case d.MediaType == "":
		d.MediaType = header
	case header != "" && d.MediaType != header:
		return nil, refuse(verify.Malformed, "it came as %s and says of itself that it is %s", quote(header), quote(d.MediaType))
	}
	if err := d.checkShape(have); err != nil {
		return nil, err
	}
	return d, d.checkDescriptors()
}

// checkShape refuses a document that is two things at once (CVE-2021-41190), or none that is known.
func (d *document) checkShape(have map[string]json.RawMessage) error {
	has := func(key string) bool { _, ok := have[key]; return ok }
	if d.MediaType == string(types.DockerManifestSchema1) || d.MediaType == string(types.DockerManifestSchema1Signed) ||
		has("fsLayers") || string(bytes.TrimSpace(have["schemaVersion"])) == "1" {
		return refuse(verify.Malformed, "a manifest of Docker's schema 1, which container runtimes no longer run: push the image again with a current tool")
	}
	switch {
	case d.index():
		if has("layers") || has("config") {
			return refuse(verify.Malformed, "an index that is an image manifest as well")
		}
		if !has("manifests") {
			return refuse(verify.Malformed, "an index without manifests")
		}
	case d.MediaType == string(types.OCIManifestSchema1), d.MediaType == string(types.DockerManifestSchema2):
		if has("manifests") {
			return refuse(verify.Malformed, "an image manifest that is an index as well")
		}
		if d.Config == nil {
			return refuse(verify.Malformed, "an image manifest without config")
		}
	default:
		return refuse(verify.Malformed, "a manifest of unknown type %s", quote(d.MediaType))
	}
	return nil
}

func (d *document) checkDescriptors() error {
	all := append(append([]descriptor(nil), d.Layers...), d.Manifests...)
	if d.Config != nil {
		all = append(all, *d.Config)
	}
	if d.Subject != nil {
		all = append(all, *d.Subject)
	}
	for _, e := range all {
		if e.Digest.Algorithm != "sha256" {
			return refuse(verify.Malformed, "a descriptor without a sha256 digest")
		}
		if e.Size < 0 {
			return refuse(verify.Malformed, "a descriptor with a negative size")
		}
	}
	return nil
}

// checkJSON makes sure that a text is one JSON object in which no two parsers find different things: in no object a
// name twice, nor in two cases, for parsers differ in which of them counts. Go's encoding/json takes the last, in any case.
func checkJSON(body []byte) error {
	if !utf8.Valid(body) {
		return errors.New("not UTF-8")
	}
	if !json.Valid(body) {
		return errors.New("not JSON")
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	first, err := dec.Token()
	if err != nil || first != json.Delim('{') {
		return errors.New("not a JSON object")
	}
	if err := checkObject(dec, false, knownNames(), 1); err != nil {
		return err
	}
	if _, err := dec.Token(); err != io.EOF {
		return errors.New("more than one JSON value")
	}
	return nil
}

// knownNames maps the names that the specification has, folded, to how it spells them.
func knownNames() map[string]string {
	known := map[string]string{}
	for _, name := range []string{
		"schemaVersion", "mediaType", "artifactType", "config", "layers", "manifests", "subject", "annotations",
		"digest", "size", "urls", "data", "platform", "architecture", "os", "os.version", "os.features", "variant",
		"features", "fsLayers", "history", "signatures",
	} {
		known[fold(name)] = name
	}
	return known
}

// checkObject reads the rest of an object. In a free one, such as annotations, case distinguishes names.
func checkObject(dec *json.Decoder, free bool, known map[string]string, depth int) error {
	if depth > maxDepth {
		return errors.New("nested too deep")
	}
	seen := map[string]bool{}
	for dec.More() {
		token, err := dec.Token()
		name, ok := token.(string)
		if err != nil || !ok {
			return errors.New("not JSON")
		}
		key := name
		if !free {
			key = fold(name)
			if exact, ok := known[key]; ok && exact != name {
				return fmt.Errorf("the name %s, which is nearly %q", quote(name), exact)
			}
		}
		if seen[key] {
			return fmt.Errorf("the name %s twice in one object", quote(name))
		}
		if seen[key] = true; len(seen) > maxElements {
			return fmt.Errorf("more than %d names in one object", maxElements)
		}
		if err := checkValue(dec, !free && name == "annotations", known, depth); err != nil {
			return err
		}
	}
	_, err := dec.Token() // the closing brace
	return err
}

// checkValue reads one value; free is for the object that it may be.
func checkValue(dec *json.Decoder, free bool, known map[string]string, depth int) error {
	token, err := dec.Token()
	if err != nil {
		return errors.New("not JSON")
	}
	switch token {
	case json.Delim('{'):
		return checkObject(dec, free, known, depth+1)
	case json.Delim('['):
		if depth+1 > maxDepth {
			return errors.New("nested too deep")
		}
		for n := 1; dec.More(); n++ {
			if n > maxElements {
				return fmt.Errorf("more than %d elements in one list", maxElements)
			}
			if err := checkValue(dec, false, known, depth+1); err != nil {
				return err
			}
		}
		_, err = dec.Token() // the closing bracket
	}
	return err
}

// fold maps names that differ in case only to one: the smallest rune of each orbit of Unicode's simple folding, which
// is what encoding/json compares by.
func fold(name string) string {
	return strings.Map(func(r rune) rune {
		least := r
		for other := unicode.SimpleFold(r); other != r; other = unicode.SimpleFold(other) {
			least = min(least, other)
		}
		return least
	}, name)
}
