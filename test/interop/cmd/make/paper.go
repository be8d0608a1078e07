package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/pratique-dev/pratique/test/interop"
	"github.com/pratique-dev/pratique/test/interop/internal/layout"
)

// paper is one paper of a cell, taken out of its repository to be laid down again, beside the same image or another, as anyone who may push
// could.
type paper struct {
	manifest layout.Manifest
	// payload is the one layer: a simple signing payload, a DSSE envelope or a bundle.
	payload []byte
	// annotations are the layer's, where the layout keeps everything else.
	annotations map[string]string
	// entry is the manifest's entry in the fallback index.
	entry layout.Descriptor
}

// legacyTag is the tag of an image's papers in the legacy layout.
func legacyTag(c interop.Cell, image string) string {
	if c.Attests {
		return layout.FallbackTag(image) + ".att"
	}
	return layout.FallbackTag(image) + ".sig"
}

// take takes the paper beside an image.
func take(c interop.Cell, from layout.Contents, image string) (paper, error) {
	var p paper
	if c.Layout == interop.Legacy {
		p.manifest = from.Manifests[from.Tags[legacyTag(c, image)]]
	} else {
		found, err := from.Referrers(image)
		if err != nil {
			return p, err
		}
		if len(found) != 1 {
			return p, fmt.Errorf("%d papers beside %s, not one", len(found), image)
		}
		p.manifest = from.Manifests[found[0]]
	}
	links, err := p.manifest.Links()
	if err != nil {
		return p, err
	}
	if len(links.Layers) != 1 {
		return p, fmt.Errorf("a paper beside %s of %d layers, not one", image, len(links.Layers))
	}
	p.payload, p.annotations = slices.Clone(from.Blobs[links.Layers[0].Digest]), maps.Clone(links.Layers[0].Annotations)
	if c.Registry == interop.ReferrersAPI {
		return p, nil
	}
	index, err := from.Manifests[from.Tags[layout.FallbackTag(image)]].Links()
	if err != nil {
		return p, err
	}
	if len(index.Manifests) != 1 {
		return p, fmt.Errorf("%d papers in the fallback index of %s, not one", len(index.Manifests), image)
	}
	p.entry = index.Manifests[0]
	return p, nil
}

// lay lays a paper beside an image, in place of those that are there.
func lay(c interop.Cell, to layout.Contents, image string, p paper) error {
	links, err := p.manifest.Links()
	if err != nil {
		return err
	}
	layer := links.Layers[0]
	layer.Digest, layer.Size, layer.Annotations = layout.Digest(p.payload), int64(len(p.payload)), p.annotations
	to.AddBlob(p.payload)
	m, err := edit(p.manifest, "layers", []layout.Descriptor{layer})
	if err != nil {
		return err
	}
	if c.Layout == interop.Legacy {
		delete(to.Manifests, to.Tags[legacyTag(c, image)])
		to.AddManifest(m, legacyTag(c, image))
		return sweep(to)
	}
	body := to.Manifests[image]
	m, err = edit(m, "subject", layout.Descriptor{MediaType: body.MediaType, Digest: image, Size: int64(len(body.Body))})
	if err != nil {
		return err
	}
	former, err := to.Referrers(image)
	if err != nil {
		return err
	}
	for _, d := range former {
		delete(to.Manifests, d)
	}
	to.AddManifest(m)
	if c.Registry == interop.FallbackTag {
		delete(to.Manifests, to.Tags[layout.FallbackTag(image)])
		p.entry.Digest, p.entry.Size = m.Digest(), int64(len(m.Body))
		index, err := json.Marshal(map[string]any{
			"schemaVersion": 2, "mediaType": layout.MediaTypeIndex, "manifests": []layout.Descriptor{p.entry},
		})
		if err != nil {
			return err
		}
		to.AddManifest(layout.Manifest{MediaType: layout.MediaTypeIndex, Body: index}, layout.FallbackTag(image))
	}
	return sweep(to)
}

// sweep removes the blobs that nothing names any more.
func sweep(c layout.Contents) error {
	named := map[string]bool{}
	for _, m := range c.Manifests {
		links, err := m.Links()
		if err != nil {
			return err
		}
		if links.Config != nil {
			named[links.Config.Digest] = true
		}
		for _, l := range links.Layers {
			named[l.Digest] = true
		}
	}
	maps.DeleteFunc(c.Blobs, func(digest string, _ []byte) bool { return !named[digest] })
	return nil
}

// at edits a value in a JSON document, by the names and indexes that lead to it.
func at(document []byte, change func(json.RawMessage) (json.RawMessage, error), path ...any) ([]byte, error) {
	if len(path) == 0 {
		return change(document)
	}
	switch step := path[0].(type) {
	case string:
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(document, &fields); err != nil {
			return nil, err
		}
		if fields[step] == nil {
			return nil, fmt.Errorf("no field %s", step)
		}
		inner, err := at(fields[step], change, path[1:]...)
		if err != nil {
			return nil, err
		}
		fields[step] = inner
		return json.Marshal(fields)
	case int:
		var items []json.RawMessage
		if err := json.Unmarshal(document, &items); err != nil {
			return nil, err
		}
		if step >= len(items) {
			return nil, fmt.Errorf("no item %d", step)
		}
		inner, err := at(items[step], change, path[1:]...)
		if err != nil {
			return nil, err
		}
		items[step] = inner
		return json.Marshal(items)
	}
	return nil, errors.New("a step that is neither a name nor an index")
}

// value reads a value of a JSON document.
func value(document []byte, path ...any) (found json.RawMessage, err error) {
	_, err = at(document, func(v json.RawMessage) (json.RawMessage, error) {
		found = v
		return v, nil
	}, path...)
	return found, err
}

// put replaces a value of a JSON document.
func put(document []byte, v json.RawMessage, path ...any) ([]byte, error) {
	return at(document, func(json.RawMessage) (json.RawMessage, error) { return v, nil }, path...)
}

// bytesAt edits bytes that a JSON document holds in base64.
func bytesAt(document []byte, change func([]byte) []byte, path ...any) ([]byte, error) {
	return at(document, func(v json.RawMessage) (json.RawMessage, error) {
		var b []byte
		if err := json.Unmarshal(v, &b); err != nil {
			return nil, err
		}
		return json.Marshal(change(b))
	}, path...)
}
