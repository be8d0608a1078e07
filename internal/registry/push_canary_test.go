package registry

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/test/evilregistry"
)

// writes attaches to an image with a user's credentials, where a canary stands by.
type writes struct {
	reg, canary *evilregistry.Registry
	client      *Client
	user        Credentials
}

func writesOf(t *testing.T, with gate, options ...evilregistry.Option) *writes {
	t.Helper()
	users := map[string]string{"u": canarySecret}
	w := &writes{
		reg: evilregistry.New(t, append([]evilregistry.Option{evilregistry.WithTLS(originHost), with(users, "**"), evilregistry.WithReferrersAPI(false),
			evilregistry.WithRealm("https://" + originHost + "/token")}, options...)...),
		canary: evilregistry.New(t, evilregistry.WithTLS(canaryHost)),
		user:   credentialsFor(t, originHost, "u", canarySecret),
	}
	w.client = namedClient(t, Options{}, map[string]*evilregistry.Registry{
		originHost + ":443": w.reg, originHost + ":8443": w.canary, canaryHost + ":443": w.canary, canaryHost + ":80": w.canary, originHost + ":80": w.canary,
	})
	return w
}

func (w *writes) attach(t *testing.T) error {
	t.Helper()
	image := w.reg.Push(t, "team/app:v1", evilregistry.RandomImage(1))
	there := mustDigest(t, originHost+"/team/app@"+image.DigestStr())
	_, err := mustWriter(t, w.client, w.user, there.Repository).Attach(within(t, admission), there, aBundle("one"))
	return err
}

func gates() map[string]gate {
	return map[string]gate{"Basic": evilregistry.WithBasicAuth, "a token": evilregistry.WithTokenAuth}
}

func TestRow103_AnUploadIsNotSentToAnotherHost(t *testing.T) {
	t.Parallel()
	for name, location := range map[string]string{
		"another host":     "https://" + canaryHost + "/v2/team/app/blobs/uploads/1",
		"another scheme":   "http://" + originHost + "/v2/team/app/blobs/uploads/1",
		"without a scheme": "//" + canaryHost + "/v2/team/app/blobs/uploads/1",
		"another port":     "https://" + originHost + ":8443/v2/team/app/blobs/uploads/1",
		"a user":           "https://" + originHost + "@" + canaryHost + "/upload",
		"a user of it":     "https://u:p@" + originHost + "/v2/team/app/blobs/uploads/1",
		"metadata":         "http://169.254.169.254/latest/api/token",
		"no URL":           "https://%zz/",
		"nothing":          "",
	} {
		for kind, with := range gates() {
			t.Run(name+", "+kind, func(t *testing.T) {
				t.Parallel()
				w := writesOf(t, with)
				rule := w.reg.On(evilregistry.Match{Kind: evilregistry.Upload, Method: http.MethodPost}, evilregistry.Status(202, http.Header{"Location": {location}}, ""))
				err := w.attach(t)
				if f := failureOf(err); err == nil || rule.Hits() == 0 || f.kind != verify.Forbidden && f.kind != verify.Malformed {
					t.Errorf("%v after %d", err, rule.Hits())
				}
				if n := w.canary.Count(0); n != 0 {
					t.Errorf("the canary was asked %d times", n)
				}
			})
		}
	}
}

func TestRow103_WhatIsWrittenIsNotRedirected(t *testing.T) {
	t.Parallel()
	for name, match := range map[string]evilregistry.Match{
		"the beginning": {Kind: evilregistry.Upload, Method: http.MethodPost}, "the upload": {Kind: evilregistry.Upload, Method: http.MethodPut},
		"the manifest": {Kind: evilregistry.ManifestByDigest, Method: http.MethodPut}, "the tag": {Kind: evilregistry.ManifestByTag, Method: http.MethodPut},
	} {
		for kind, with := range gates() {
			for _, code := range []int{301, 302, 303, 307, 308} {
				t.Run(fmt.Sprintf("%s, %s, %d", name, kind, code), func(t *testing.T) {
					t.Parallel()
					w := writesOf(t, with)
					rule := w.reg.On(match, evilregistry.Redirect("https://"+canaryHost, code))
					wantKind(t, w.attach(t), verify.Forbidden)
					if rule.Hits() == 0 || w.canary.Count(0) != 0 {
						t.Errorf("%d redirects, %d requests at the canary", rule.Hits(), w.canary.Count(0))
					}
				})
			}
		}
	}
}

// Whether a blob is there may be for storage to say, which is sent no credentials.
func TestRow45_AQuestionForABlobTakesNoCredentialElsewhere(t *testing.T) {
	t.Parallel()
	for kind, with := range gates() {
		w := writesOf(t, with)
		rule := w.reg.On(evilregistry.Match{Kind: evilregistry.Blob, Method: http.MethodHead}, evilregistry.Redirect("https://"+canaryHost, 307))
		if err := w.attach(t); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		if rule.Hits() == 0 || w.canary.Count(0) == 0 {
			t.Errorf("%s: %d redirects, %d requests at the canary", kind, rule.Hits(), w.canary.Count(0))
		}
		unseen(t, w.canary)
	}
}

func TestRow55_ToWriteNoCredentialIsSentToAnotherTokenService(t *testing.T) {
	t.Parallel()
	w := writesOf(t, evilregistry.WithTokenAuth, evilregistry.WithRealm("https://"+canaryHost+"/token"))
	if fe := wantKind(t, w.attach(t), verify.Forbidden); !strings.Contains(fe.Error(), "tokenHosts") {
		t.Error(fe)
	}
	unseen(t, w.canary)
}

func TestRow56_ReadingTheFallbackTagToWriteItTakesNoCredentialElsewhere(t *testing.T) {
	t.Parallel()
	for kind, with := range gates() {
		w := writesOf(t, with)
		rule := w.reg.On(evilregistry.Match{Kind: evilregistry.ManifestByTag | evilregistry.Referrers, Method: http.MethodGet}, evilregistry.Redirect("https://"+canaryHost, 302))
		_ = w.attach(t) // what the canary says of a tag is as good as what the registry says
		if rule.Hits() == 0 || w.canary.Count(0) == 0 {
			t.Errorf("%s: %d redirects, %d requests at the canary", kind, rule.Hits(), w.canary.Count(0))
		}
		unseen(t, w.canary)
	}
}

func TestPlainHTTPIsNotWrittenToUnlessItIsNamed(t *testing.T) {
	t.Parallel()
	reg := evilregistry.New(t)
	image := reg.Push(t, "app:v1", evilregistry.RandomImage(1))
	reg.Reset()
	c := testClient(t, Options{})
	if _, err := mustWriter(t, c, Credentials{}, reg.Repo("app")).Attach(within(t, admission), image, aBundle("one")); err == nil || reg.Count(0) != 0 {
		t.Errorf("%v, %v", err, reg.Counts())
	}
}
