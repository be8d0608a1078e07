package registry

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/pratique-dev/pratique/pkg/verify"
)

// maxRedirects bounds a chain of redirects: registry to storage is one, a redirector in front of a registry two.
const maxRedirects = 5

// rules say where requests may go.
type rules struct {
	passes passes
}

// redirect judges a step from the origin, the first URL asked, to another. Hosts that are let through by name are let
// through for themselves: a redirect from elsewhere doesn't reach them.
func (r rules) redirect(origin, to *url.URL, hops int) error {
	if hops > maxRedirects {
		return refuse(verify.Forbidden, "more than %d redirects", maxRedirects)
	}
	if to.User != nil {
		return refuse(verify.Forbidden, "a redirect with credentials in its URL")
	}
	if sameHost(origin, to) {
		return nil
	}
	if to.Scheme != "https" {
		return refuse(verify.Forbidden, "a redirect to %s by %s: only https is followed", quote(to.Host), quote(to.Scheme))
	}
	if r.passes.through(dialAddress(to.Scheme, to.Host)) {
		return refuse(verify.Forbidden, "a redirect to %s, which is let through by name for its own images only", quote(to.Host))
	}
	return nil
}

// check returns a CheckRedirect for http.Client. A referrers query may only be redirected to another such query: ghcr.io
// and registry.k8s.io, which have no referrers API, redirect it to pages for people that answer 404, 429 or a login
// form (artifacthub/hub issue 4785, oras-go issue 633). Such an answer is left as it is, a redirect.
func (r rules) check(origin *url.URL, q question) func(*http.Request, []*http.Request) error {
	return func(req *http.Request, via []*http.Request) error {
		req.Header.Del("Referer") // the URL before may hold a signature
		if q.kind == KindReferrers && !strings.HasSuffix(req.URL.Path, "/"+q.path) {
			return http.ErrUseLastResponse
		}
		return r.redirect(origin, req.URL, len(via))
	}
}

// sameHost tells whether two URLs are of the same scheme, host and port.
func sameHost(a, b *url.URL) bool {
	return a.Scheme == b.Scheme && strings.EqualFold(dialAddress(a.Scheme, a.Host), dialAddress(b.Scheme, b.Host))
}
