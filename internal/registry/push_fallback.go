package registry

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/pratique-dev/pratique/pkg/verify"
)

// maxTagWrites bounds how often a fallback tag is written for one artifact. Each time that it is read and lacks what was
// written, another writer wrote between; so many of them at once write to one image only if something is wrong.
const maxTagWrites = 6

// fallback adds a referrer to the index under the fallback tag. What is there stays: entries, annotations, and fields that
// this program doesn't know.
//
// Registries have no way to write only if nobody else did, so it is read again until it is there. Two who do so both end
// up in it. Who writes without reading again, as other tools do, may lose its entry to us if it came between our reading
// and our writing; that can't be seen from here.
func (w *Writer) fallback(ctx context.Context, subject v1.Hash, referrer written) error {
	select {
	case w.turn <- struct{}{}: // those of this program come one after another
		defer func() { <-w.turn }()
	case <-ctx.Done():
		return failureOf(ctx.Err())
	}
	pause := firstPause
	for writes := 0; ; writes++ {
		old, err := w.index(ctx, subject)
		if err != nil {
			return err
		}
		body, err := withReferrer(old, referrer)
		if err != nil || body == nil {
			return err
		}
		if writes == maxTagWrites {
			return refuse(verify.Unavailable, "written %d times, and each time it was without what was written: others write to it as well; try again", writes)
		}
		wait := jitter(pause)
		if writes == 0 {
			wait = 0
		}
		_, err = w.say(ctx, statement{
			kind: KindPush, method: http.MethodPut, path: "manifests/" + tagOf(subject), mediaType: string(types.OCIImageIndex), body: body,
		})
		if err != nil {
			f := failureOf(err)
			if !f.again {
				return f
			}
			if wait = max(jitter(pause), f.wait); !fits(ctx, wait) {
				return tooLate(f)
			}
		}
		if wait > 0 {
			if err := w.client.retrier.sleep(ctx, wait); err != nil {
				return failureOf(err)
			}
			pause = min(2*pause, 8*firstPause)
		}
	}
}

// index returns what is under the fallback tag: nil for nothing. Something that is no index of referrers is somebody's, and
// stays; but that the image itself is there is only how registry.gitlab.com says that there is nothing.
func (w *Writer) index(ctx context.Context, subject v1.Hash) ([]byte, error) {
	got, err := w.access.ask(ctx, w.repo, question{
		kind: KindTag, path: "manifests/" + tagOf(subject), accept: acceptManifests(), size: -1, limit: MaxManifest,
	})
	if statusOf(err) == http.StatusNotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if got.digest == subject {
		return nil, nil
	}
	mediaType, err := contentType(got.header)
	if err != nil {
		return nil, err
	}
	d, err := parseDocument(got.body, mediaType)
	if err != nil {
		return nil, err
	}
	if d.MediaType != string(types.OCIImageIndex) {
		return nil, refuse(verify.Malformed, "there is something else under it, which isn't replaced: %s", quote(d.MediaType))
	}
	return got.body, nil
}

// withReferrer adds a referrer to the text of an index, nil for none. It returns nil if it is in it.
func withReferrer(old []byte, referrer written) ([]byte, error) {
	index := map[string]json.RawMessage{}
	var manifests []json.RawMessage
	if old != nil {
		if err := json.Unmarshal(old, &index); err != nil {
			return nil, refuse(verify.Malformed, "not an index: %s", printable(err.Error()))
		}
		if err := json.Unmarshal(index["manifests"], &manifests); err != nil {
			return nil, refuse(verify.Malformed, "an index without a list of manifests")
		}
		var have []descriptor
		if err := json.Unmarshal(index["manifests"], &have); err != nil {
			return nil, refuse(verify.Malformed, "an index without a list of manifests")
		}
		if slices.ContainsFunc(have, func(d descriptor) bool { return d.Digest == referrer.Digest }) {
			return nil, nil
		}
	}
	if len(manifests) >= verify.MaxListed {
		return nil, refuse(verify.TooMany, "%d papers are attached to the image, and no more than %d are read: remove some", len(manifests), verify.MaxListed)
	}
	entry, err := json.Marshal(referrer)
	if err != nil {
		return nil, err
	}
	list, err := json.Marshal(append(manifests, entry))
	if err != nil {
		return nil, err
	}
	index["manifests"] = list
	index["mediaType"] = json.RawMessage(`"` + string(types.OCIImageIndex) + `"`) // it may have come in the header alone
	if _, ok := index["schemaVersion"]; !ok {
		index["schemaVersion"] = json.RawMessage("2")
	}
	body, err := json.Marshal(index)
	if err != nil {
		return nil, err
	}
	if len(body) > MaxManifest {
		return nil, refuse(verify.TooLarge, "the index would be of %d bytes, over the bound of %d: remove papers of the image", len(body), MaxManifest)
	}
	return body, nil
}
