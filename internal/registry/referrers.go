package registry

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/pratique-dev/pratique/pkg/verify"
)

// maxPages bounds the pages of one list of referrers: registries give 50 to 1,000 on a page, and every page is a
// round trip within one admission.
const maxPages = 64

// referrers lists an image's referrers by the OCI distribution 1.1 API, following Link from page to page. A registry
// without that API has answered, with nothing.
func (a *Access) referrers(ctx context.Context, repo name.Repository, image v1.Hash) ([]verify.Paper, error) {
	var all []verify.Paper
	q := question{
		kind: KindReferrers, path: "referrers/" + image.String(), accept: string(types.OCIImageIndex), size: -1, limit: MaxManifest,
	}
	for page := 1; ; page++ {
		if page > maxPages {
			return nil, refuse(verify.TooMany, "more than %d pages of referrers", maxPages)
		}
		got, err := a.ask(ctx, repo, q)
		if page == 1 && noReferrersAPI(err) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		mediaType, err := contentType(got.header)
		if err != nil {
			return nil, err
		}
		if page == 1 && mediaType != string(types.OCIImageIndex) {
			return nil, nil // the API must say that it is an index; pages for people say 200 as well
		}
		d, err := parseDocument(got.body, mediaType)
		if err != nil {
			return nil, err
		}
		if !d.index() {
			return nil, refuse(verify.Malformed, "a page of referrers that isn't an index")
		}
		if all = append(all, referrerPapers(d, verify.PlaceReferrers)...); len(all) > verify.MaxListed {
			return nil, tooMany(len(all))
		}
		if err := checkListing(all); err != nil {
			return nil, err
		}
		if q.page, err = nextPage(got); err != nil || q.page == nil {
			return all, err
		}
	}
}

// noReferrersAPI tells whether an error says that the registry has no such API. 3xx are redirects that lead to no
// referrers, which were not followed.
func noReferrersAPI(err error) bool {
	switch code := statusOf(err); code {
	case http.StatusNotFound, http.StatusBadRequest, http.StatusMethodNotAllowed, http.StatusNotAcceptable:
		return true
	default:
		return code >= 300 && code < 400
	}
}

// nextPage returns where Link (RFC 8288) says that the list goes on; nil if it ends here. It goes on at the very URL
// that answered, but for the query.
func nextPage(got *answer) (*url.URL, error) {
	var next *url.URL
	for _, header := range got.header.Values("Link") {
		for _, target := range linkTargets(header) {
			to, err := got.from.Parse(target)
			if err != nil || next != nil || to.String() == got.from.String() {
				return nil, refuse(verify.Malformed, "a Link to the next page that can't be read")
			}
			if !sameHost(got.from, to) || to.Path != got.from.Path || to.User != nil {
				return nil, refuse(verify.Forbidden, "the next page of referrers is said to be elsewhere: %s", quote(to.Host+to.Path))
			}
			next = to
		}
	}
	return next, nil
}

// linkTargets returns the targets of a Link header that are marked as next.
func linkTargets(header string) []string {
	var targets []string
	for rest := header; ; {
		_, after, ok := strings.Cut(rest, "<")
		if !ok {
			return targets
		}
		target, after, ok := strings.Cut(after, ">")
		if !ok {
			return targets
		}
		params := after
		if i := strings.IndexByte(after, '<'); i >= 0 {
			params = after[:i]
		}
		for _, param := range strings.FieldsFunc(params, func(r rune) bool { return r == ';' || r == ',' }) {
			key, value, _ := strings.Cut(param, "=")
			if strings.EqualFold(strings.TrimSpace(key), "rel") && strings.EqualFold(strings.Trim(strings.TrimSpace(value), `"`), "next") {
				targets = append(targets, target)
			}
		}
		rest = after
	}
}
