package registry

import (
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/pratique-dev/pratique/pkg/verify"
)

// Bounds of single answers, in bytes as they come over the wire, which is without compression.
const (
	// MaxManifest bounds a manifest, an index and a page of referrers: the size that registries themselves allow.
	MaxManifest = 4 << 20
	// maxLogin bounds the answers to a ping and to a request for a token: ggcr's own bound for tokens.
	maxLogin = 64 << 10
	// maxHeaders bounds the headers of an answer: the signed URLs of cloud storage are some 4 KiB.
	maxHeaders = 256 << 10
	// maxIdle and maxIdleHost bound connections kept open: as many to a registry as there may be requests.
	maxIdle     = 512
	maxIdleHost = maxHostRequests
	// maxIdleTime is for how long they are kept open: as net/http's own default.
	maxIdleTime = 90 * time.Second
)

// RequestKind says what a request asked for; it is a metric label.
type RequestKind string

// The kinds of request.
const (
	KindPing      RequestKind = "ping"
	KindToken     RequestKind = "token"
	KindManifest  RequestKind = "manifest" // by digest
	KindTag       RequestKind = "tag"      // a manifest by tag
	KindReferrers RequestKind = "referrers"
	KindBlob      RequestKind = "blob"
	KindUpload    RequestKind = "upload" // of a blob
	KindPush      RequestKind = "push"   // of a manifest
)

// RequestInfo describes one request that was made. Each hop of a redirect is one.
type RequestInfo struct {
	Registry string // the registry that was asked for, also where a redirect or a login led to another host
	Kind     RequestKind
	Status   int           // HTTP status; 0 if no answer came
	Duration time.Duration // until the body was read and closed
	Bytes    int64         // of the body that were read
	Failure  string        // verify.FetchKind's word if the request failed below or beside HTTP, else empty
}

// wire is the http.RoundTripper under every request: it speaks plain http only to hosts that are named.
type wire struct {
	route     func(*url.URL) (http.RoundTripper, error)
	plain     func(address string) bool
	userAgent string
	observe   func(RequestInfo)
	now       func() time.Time
}

// of returns the RoundTripper for requests of one kind on behalf of a registry, with bodies of at most limit bytes.
func (t *wire) of(registry string, kind RequestKind, limit int64) http.RoundTripper {
	return &bounded{t, registry, kind, limit}
}

type bounded struct {
	*wire
	registry string
	kind     RequestKind
	limit    int64
}

// RoundTrip implements http.RoundTripper.
func (b *bounded) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme != "https" && (req.URL.Scheme != "http" || !b.plain(dialAddress("http", req.URL.Host))) {
		return nil, refuse(verify.Forbidden, "%s by %s: only https, unless the host is named with --plain-http, or plainHTTP of an entry in `registries`",
			quote(req.URL.Host), quote(req.URL.Scheme))
	}
	next, err := b.route(req.URL)
	if err != nil {
		return nil, err
	}
	req = req.Clone(req.Context())
	req.Header.Set("User-Agent", b.userAgent)
	req.Header.Set("Accept-Encoding", "identity")
	start := b.now()
	resp, err := next.RoundTrip(req)
	if err != nil {
		b.report(RequestInfo{Duration: b.now().Sub(start), Failure: failureOf(err).kind.String()})
		return nil, err
	}
	body := &countedBody{body: resp.Body, left: b.limit, limit: b.limit, done: func(n int64, failure string) {
		b.report(RequestInfo{Status: resp.StatusCode, Duration: b.now().Sub(start), Bytes: n, Failure: failure})
	}}
	resp.Body = body
	if resp.StatusCode != http.StatusOK {
		return resp, nil // its body is at most quoted
	}
	if encoding := resp.Header.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
		err = refuse(verify.Malformed, "the answer is encoded as %s, though nothing but the plain bytes was asked for", quote(encoding))
	} else if resp.ContentLength > b.limit {
		err = tooLarge(b.limit)
	}
	if err != nil {
		body.fail(err)
		_ = body.Close() // the answer is refused whatever closing says
		return nil, err
	}
	return resp, nil
}

func (b *bounded) report(info RequestInfo) {
	if b.observe != nil {
		info.Registry, info.Kind = b.registry, b.kind
		b.observe(info)
	}
}

func tooLarge(limit int64) error {
	return refuse(verify.TooLarge, "the answer is larger than the bound of %d bytes", limit)
}

// countedBody is a body that counts, and fails when it is longer than its bound.
type countedBody struct {
	body  io.ReadCloser
	limit int64
	left  int64
	read  int64
	bad   error
	once  sync.Once
	done  func(bytes int64, failure string)
}

// Read implements io.Reader.
func (c *countedBody) Read(p []byte) (int, error) {
	if c.bad != nil {
		return 0, c.bad
	}
	if int64(len(p)) > c.left+1 { // one more tells a body that is full from one that is too long
		p = p[:c.left+1]
	}
	n, err := c.body.Read(p)
	c.read += int64(n)
	if c.left -= int64(n); c.left < 0 {
		c.bad = tooLarge(c.limit)
		return 0, c.bad
	}
	if err != nil && err != io.EOF {
		c.fail(err)
	}
	return n, err
}

// fail makes err what every further read says.
func (c *countedBody) fail(err error) { c.bad = err }

// Close implements io.Closer.
func (c *countedBody) Close() error {
	c.once.Do(func() {
		failure := ""
		if c.bad != nil {
			failure = failureOf(c.bad).kind.String()
		}
		c.done(c.read, failure)
	})
	return c.body.Close()
}
