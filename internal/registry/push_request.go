package registry

import (
	"bytes"
	"context"
	"net/http"
	"net/url"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pratique-dev/pratique/pkg/verify"
)

// statement is one request that writes, or asks whether that is needed.
type statement struct {
	kind      RequestKind
	method    string
	path      string   // below the repository
	at        *url.URL // in place of path: where the registry said to go on
	mediaType string
	body      []byte
}

// upload writes a blob, unless it is there. It is tried as a whole, from the question whether it is there: an upload that
// was begun and not ended is nothing, and one that was ended is there.
func (w *Writer) upload(ctx context.Context, blob []byte) error {
	digest := hashOf(blob)
	return w.client.retrier.do(ctx, func() error {
		_, err := w.say(ctx, statement{kind: KindBlob, method: http.MethodHead, path: "blobs/" + digest.String()})
		switch statusOf(err) {
		case http.StatusNotFound, http.StatusUnauthorized, http.StatusForbidden, http.StatusMethodNotAllowed: // it need not tell
		default:
			return err
		}
		begun, err := w.say(ctx, statement{kind: KindUpload, method: http.MethodPost, path: "blobs/uploads/"})
		if err != nil {
			return err
		}
		at, err := uploadURL(begun, digest)
		if err != nil {
			return err
		}
		_, err = w.say(ctx, statement{kind: KindUpload, method: http.MethodPut, at: at, mediaType: "application/octet-stream", body: blob})
		return err
	})
}

// uploadURL returns where an upload goes on: on the registry itself, for the credentials and the content are meant for it
// and for nobody else (GHSA-vh4v-2xq2-g5cg).
func uploadURL(begun *told, digest v1.Hash) (*url.URL, error) {
	location := begun.header.Get("Location")
	to, err := begun.from.Parse(location)
	if err != nil || location == "" || to.User != nil {
		return nil, refuse(verify.Malformed, "a Location to upload to that can't be read")
	}
	if !sameHost(begun.from, to) {
		return nil, refuse(verify.Forbidden,
			"it says to upload to %s by %s, and only the registry itself is written to: if it is behind a proxy, have that set X-Forwarded-Host and X-Forwarded-Proto",
			quote(to.Host), quote(to.Scheme))
	}
	if to.RawQuery != "" { // kept to the byte: it may be signed
		to.RawQuery += "&"
	}
	to.RawQuery += "digest=" + url.QueryEscape(digest.String())
	to.Fragment, to.RawFragment = "", ""
	return to, nil
}

// put writes a manifest, and tells whether the registry says that it lists it as a referrer of the subject.
func (w *Writer) put(ctx context.Context, digest, mediaType string, body []byte, subject v1.Hash) (listed bool, _ error) {
	err := w.client.retrier.do(ctx, func() error { // by digest: what is written twice is there once
		got, err := w.say(ctx, statement{kind: KindPush, method: http.MethodPut, path: "manifests/" + digest, mediaType: mediaType, body: body})
		if err == nil {
			listed = got.header.Get("OCI-Subject") == subject.String()
		}
		return err
	})
	return listed, err
}

// told is an answer whose body isn't read.
type told struct {
	header http.Header
	from   *url.URL
}

// say makes a request with each credential that is for the repository in turn, until one is let in. It is not repeated.
func (w *Writer) say(ctx context.Context, s statement) (*told, error) {
	var denied error
	secrets := w.access.secrets(w.repo)
	for _, secret := range secrets {
		got, err := once(ctx, w.client, w.repo, secret, true, func(have *session) (*told, error) { return w.send(ctx, have, s) })
		switch status := statusOf(err); {
		case err == nil:
			if len(secrets) > 1 {
				w.client.opened.Add(openedKey{w.access.id, w.repo.Name()}, secret.id())
			}
			return got, nil
		case status == http.StatusUnauthorized || status == http.StatusForbidden:
			denied = err
		case status == http.StatusNotFound && s.method != http.MethodHead && !w.access.settled(w.repo):
			if denied == nil {
				denied = err
			}
		default:
			return nil, err
		}
	}
	return nil, denied
}

// send makes the request. What is written goes where it was meant to go and nowhere else: no redirect of it is followed.
func (w *Writer) send(ctx context.Context, s *session, what statement) (_ *told, err error) {
	c, host := w.client, w.repo.RegistryStr()
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.timeouts.Request)
		defer cancel()
	}
	at, err := c.limits.enter(ctx, host)
	if err != nil {
		return nil, err
	}
	defer func() { at.leave(err) }()
	target := s.origin
	target.Path = "/v2/" + w.repo.RepositoryStr() + "/" + what.path
	if what.at != nil {
		target = *what.at
	}
	req, err := http.NewRequestWithContext(ctx, what.method, target.String(), bytes.NewReader(what.body))
	if err != nil {
		return nil, refuse(verify.Forbidden, "not a URL to ask: %s", printable(err.Error()))
	}
	if what.mediaType != "" {
		req.Header.Set("Content-Type", what.mediaType)
	}
	limit := int64(maxErrorBody)
	if what.method == http.MethodHead { // its length is that of the blob
		limit = verify.MaxPaper
	}
	client := http.Client{
		Transport:     &authorized{next: c.wire.of(host, what.kind, limit), session: s},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	if what.method == http.MethodHead { // it writes nothing: storage may answer
		client.CheckRedirect = c.rules.check(&s.origin, question{kind: what.kind, path: what.path})
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, failureOf(err)
	}
	defer resp.Body.Close()
	switch code := resp.StatusCode; {
	case code >= http.StatusMultipleChoices && code < http.StatusBadRequest:
		return nil, refuse(verify.Forbidden, "a redirect to %s: what is written isn't sent elsewhere", quote(resp.Header.Get("Location")))
	case code != http.StatusOK && code != http.StatusCreated && code != http.StatusAccepted && code != http.StatusNoContent:
		return nil, statusFailure(resp, c.now(), s.header != "")
	}
	return &told{header: resp.Header, from: resp.Request.URL}, nil
}
