package trust

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// Bounds on what a mirror can make us read, and on how long it may take.
const (
	// maxTimestamp bounds timestamp.json: it names one file, and 16 KiB is what TUF clients take.
	maxTimestamp = 16 << 10
	// maxSnapshot bounds snapshot.json: it names every role's file; the sigstore project's is under 1 KiB.
	maxSnapshot = 1 << 20
	// maxTargets bounds one role's targets: it names every target; the sigstore project's is 5 KiB.
	maxTargets = 2 << 20
	// maxBody bounds every body whatever signed metadata say of its length: it is the largest of the bounds above.
	maxBody = maxTargets
	// maxRefreshBytes bounds all that one refresh reads: the longest chain of the longest roots that anyone has, twice.
	maxRefreshBytes = 16 << 20
	// maxRootRotations bounds the roots that one refresh follows. The sigstore project has made 16 in five years; one
	// who is further behind gets there with the next refresh.
	maxRootRotations = 64
	// maxDelegations bounds the roles that one target is sought in: trusted roots are in the first.
	maxDelegations = 8
	// maxRequests bounds the requests of one refresh: every root, three metadata files, every role, one target.
	maxRequests = maxRootRotations + maxDelegations + 8
	// maxRedirects bounds a chain of redirects, as for registries: a mirror has one to a path of its own, if any.
	maxRedirects = 5
	// requestTimeout bounds one request with its body: 2 MiB at 1 Mbit/s take 17 s.
	requestTimeout = 20 * time.Second
	// refreshTimeout bounds one refresh, whatever the number of its requests. Nobody waits for it.
	refreshTimeout = 2 * time.Minute
)

// refusal is an answer that came and isn't taken.
type refusal struct{ why string }

func (r *refusal) Error() string { return r.why }

func refuse(format string, args ...any) error { return &refusal{fmt.Sprintf(format, args...)} }

// unreachable is a question to which no whole answer came.
type unreachable struct{ err error }

func (u *unreachable) Error() string { return u.err.Error() }
func (u *unreachable) Unwrap() error { return u.err }

// fetcher reads a mirror's files, for one refresh. It implements go-tuf's fetcher.Fetcher, which has no context.
type fetcher struct {
	ctx      context.Context
	client   *http.Client
	agent    string
	base     *url.URL
	bytes    int64            // may still be read
	requests int              // may still be made
	roots    map[int64][]byte // by version, as read
}

func newFetcher(ctx context.Context, client *http.Client, agent string, base *url.URL) *fetcher {
	return &fetcher{
		ctx: ctx, client: client, agent: agent, base: base, bytes: maxRefreshBytes, requests: maxRequests, roots: map[int64][]byte{},
	}
}

// DownloadFile implements fetcher.Fetcher: all of a file of at most limit bytes, or an error.
func (f *fetcher) DownloadFile(address string, limit int64, _ time.Duration) ([]byte, error) {
	u, err := url.Parse(address)
	if err != nil || !sameHost(f.base, u) || !strings.HasPrefix(u.Path, f.base.Path+"/") {
		return nil, refuse("metadata lead out of the mirror, to %q", address)
	}
	if f.requests--; f.requests < 0 {
		return nil, refuse("a refresh takes more than %d requests", maxRequests)
	}
	body, err := f.get(u, min(limit, maxBody))
	if f.bytes -= int64(len(body)); f.bytes < 0 {
		return nil, refuse("a refresh takes more than %d bytes", maxRefreshBytes)
	}
	if err != nil {
		return nil, err
	}
	if version, ok := rootVersion(u); ok {
		f.roots[version] = body
	}
	return body, nil
}

func (f *fetcher) get(u *url.URL, limit int64) ([]byte, error) {
	ctx, cancel := context.WithTimeout(f.ctx, requestTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, refuse("%q can't be asked for: %v", u, err)
	}
	req.Header.Set("User-Agent", f.agent)
	req.Header.Set("Accept-Encoding", "identity") // a bound means bytes as they came; and no transport unpacks behind us
	resp, err := f.client.Do(req)
	if err != nil {
		if r := (*refusal)(nil); errors.As(err, &r) {
			return nil, r
		}
		return nil, &unreachable{err}
	}
	defer resp.Body.Close()
	if err := f.status(u, resp); err != nil {
		return nil, err
	}
	if e := resp.Header.Get("Content-Encoding"); resp.Uncompressed || e != "" && !strings.EqualFold(e, "identity") {
		return nil, refuse("%s came compressed, which was not asked for", u)
	}
	if resp.ContentLength > limit {
		return nil, refuse("%s is %d bytes long, more than the %d that it may be", u, resp.ContentLength, limit)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return body, &unreachable{fmt.Errorf("%s broke off: %w", u, err)}
	}
	if int64(len(body)) > limit {
		return body, refuse("%s is longer than the %d bytes that it may be", u, limit)
	}
	return body, nil
}

// status judges a status code. That there is no further root is told by 404, and by storage that doesn't list its
// files to strangers by 403; a mirror that lies so gains nothing over one that answers 404.
func (f *fetcher) status(u *url.URL, resp *http.Response) error {
	code := resp.StatusCode
	if code == http.StatusOK {
		return nil
	}
	if _, ok := rootVersion(u); ok && code == http.StatusForbidden {
		code = http.StatusNotFound
	}
	return &unreachable{fmt.Errorf("%w: status %d", &metadata.ErrDownloadHTTP{StatusCode: code, URL: u.String()}, resp.StatusCode)}
}

// rootVersion reads N from a path that ends in N.root.json.
func rootVersion(u *url.URL) (int64, bool) {
	file := u.Path[strings.LastIndexByte(u.Path, '/')+1:]
	var n int64
	if _, err := fmt.Sscanf(file, "%d.root.json", &n); err != nil || file != fmt.Sprintf("%d.root.json", n) {
		return 0, false
	}
	return n, true
}

// followRedirect is an http.Client's CheckRedirect: a mirror may move a file, but not to another host, whom nobody
// named, and not down to plain http.
func followRedirect(req *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return refuse("more than %d redirects", maxRedirects)
	}
	if req.URL.User != nil {
		return refuse("a redirect with credentials in its URL")
	}
	if !sameHost(via[0].URL, req.URL) {
		return refuse("a redirect from %s://%s to %s://%s: mirrors are followed within themselves only",
			via[0].URL.Scheme, via[0].URL.Host, req.URL.Scheme, req.URL.Host)
	}
	req.Header.Del("Referer")
	return nil
}

// sameHost tells whether two URLs are of the same scheme, host and port.
func sameHost(a, b *url.URL) bool {
	return a.Scheme == b.Scheme && strings.EqualFold(address(a), address(b))
}

func address(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// newTransport is for those who give none; plain are the hosts that may be asked by plain http. Refreshes are hours apart:
// nothing is kept open for the next.
func newTransport(plain hosts) *http.Transport {
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            guardedDial(plain),
		ForceAttemptHTTP2:      true,
		TLSHandshakeTimeout:    requestTimeout,
		ResponseHeaderTimeout:  requestTimeout,
		MaxResponseHeaderBytes: 64 << 10, // what Go's own servers take of a request is 1 MiB; a static site sends under 4 KiB
		DisableCompression:     true,
		DisableKeepAlives:      true,
	}
}

// newClient returns a client that follows redirects by the rule above and keeps no cookies.
func newClient(transport http.RoundTripper) *http.Client {
	return &http.Client{Transport: transport, CheckRedirect: followRedirect}
}
