package evilregistry

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
)

const digestHeader = "Docker-Content-Digest"

// OCI media types that the faults name.
const (
	imageType = "application/vnd.oci.image.manifest.v1+json"
	indexType = "application/vnd.oci.image.index.v1+json"
)

// digestOf is the sha256 digest in the form that registries write.
func digestOf(body []byte) string {
	sum := sha256.Sum256(body)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// edit makes a fault that spoils the captured answer.
func edit(name string, change func(a *answer, r *http.Request)) Fault {
	return Fault{name, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		a := capture(next, r)
		change(a, r)
		a.send(w, r)
	}}
}

// FlipByte changes the i-th byte of the body in its lowest bit; a negative i
// counts from the end. Headers stay true: the announced digest is the true one
// and the body is another. An index outside the body changes nothing.
func FlipByte(i int) Fault {
	return edit(fmt.Sprintf("FlipByte(%d)", i), func(a *answer, _ *http.Request) {
		at := i
		if at < 0 {
			at += len(a.body)
		}
		if at >= 0 && at < len(a.body) {
			a.body[at] ^= 1
		}
	})
}

// Header answers truthfully, with one header set to this value; "" removes it.
func Header(key, value string) Fault {
	return edit(fmt.Sprintf("Header(%s)", key), func(a *answer, _ *http.Request) {
		if value == "" {
			a.header.Del(key)
		} else {
			a.header.Set(key, value)
		}
	})
}

// FalseDigestHeader answers truthfully but for Docker-Content-Digest. A client
// that resolves a tag by HEAD believes it.
func FalseDigestHeader(digest string) Fault {
	f := Header(digestHeader, digest)
	f.name = "FalseDigestHeader"
	return f
}

// WrongContentType answers truthfully but for Content-Type.
func WrongContentType(mediaType string) Fault {
	f := Header("Content-Type", mediaType)
	f.name = "WrongContentType"
	return f
}

// ReplaceBody answers 200 with these bytes, whether or not the registry has
// anything there, and with the digest header they hash to: a consistent lie
// under a tag, content other than the digest under a digest. The Content-Type
// is the mediaType inside the bytes if they have one, else the true one.
func ReplaceBody(body []byte) Fault {
	body = bytes.Clone(body)
	return Fault{"ReplaceBody", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		a := capture(next, r)
		a.replace(body)
		a.header.Set("Content-Length", fmt.Sprint(len(body))) // for HEAD
		a.send(w, r)
	}}
}

// replace puts a body in the place of the true one and makes the headers agree.
func (a *answer) replace(body []byte) {
	a.status, a.body = http.StatusOK, bytes.Clone(body)
	a.header.Set(digestHeader, digestOf(body))
	var inside struct {
		MediaType string `json:"mediaType"`
	}
	if json.Unmarshal(body, &inside) == nil && inside.MediaType != "" {
		a.header.Set("Content-Type", inside.MediaType)
	}
}

// ManifestAndIndex turns a manifest into a document that is an image and an
// index at once (CVE-2021-41190): to an image it adds `manifests`, to an index
// `config` and `layers`. The digest header is the new document's. Other answers
// pass unchanged. AmbiguousManifest makes such a document whose digest can be
// asked for.
func ManifestAndIndex() Fault {
	return edit("ManifestAndIndex", func(a *answer, r *http.Request) {
		var doc map[string]json.RawMessage
		if a.status != http.StatusOK || json.Unmarshal(a.body, &doc) != nil {
			return
		}
		for key, value := range ambiguousParts() {
			if _, ok := doc[key]; !ok {
				doc[key] = value
			}
		}
		if body, err := json.Marshal(doc); err == nil {
			a.replace(body)
		}
	})
}

// Huge answers 200 with a body that looks valid and never ends properly: an
// index with one descriptor after another. It is cut after n bytes, or goes on
// until the client leaves if n is 0. The length is not announced.
func Huge(n int64) Fault {
	var chunk strings.Builder
	for i := range 256 {
		fmt.Fprintf(&chunk, `{"mediaType":%q,"size":1024,"digest":%q},`, imageType, digestOf([]byte{byte(i)}))
	}
	head := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"manifests":[`, indexType)
	return Fault{fmt.Sprintf("Huge(%d)", n), func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		w.Header().Set("Content-Type", indexType)
		w.WriteHeader(http.StatusOK)
		left := n
		for piece := head; r.Context().Err() == nil; piece = chunk.String() {
			if n > 0 && int64(len(piece)) > left {
				piece = piece[:left]
			}
			if _, err := io.WriteString(w, piece); err != nil {
				return
			}
			if left -= int64(len(piece)); n > 0 && left <= 0 {
				return
			}
		}
	}}
}

// GzipBomb answers 200 with Content-Encoding gzip and a JSON document of about
// n bytes packed to a thousandth. It is sent to clients that did not ask for
// gzip as well.
func GzipBomb(n int64) Fault {
	bomb := sync.OnceValue(func() []byte { return gzipBomb(n) })
	return Fault{fmt.Sprintf("GzipBomb(%d)", n), func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		a := capture(next, r)
		a.status, a.body = http.StatusOK, bomb()
		a.header.Set("Content-Encoding", "gzip")
		if a.header.Get("Content-Type") == "" {
			a.header.Set("Content-Type", imageType)
		}
		a.header.Set("Content-Length", fmt.Sprint(len(a.body)))
		a.send(w, r)
	}}
}

func gzipBomb(n int64) []byte {
	var packed bytes.Buffer
	zip := gzip.NewWriter(&packed)
	_, _ = fmt.Fprintf(zip, `{"schemaVersion":2,"mediaType":%q,"layers":[],"annotations":{"a":"`, imageType)
	for block := strings.Repeat("A", 64<<10); n > 0; n -= int64(len(block)) {
		_, _ = io.WriteString(zip, block[:min(int64(len(block)), n)])
	}
	_, _ = io.WriteString(zip, `"}}`)
	_ = zip.Close() // writing to memory cannot fail
	return packed.Bytes()
}
