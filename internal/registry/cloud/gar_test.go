package cloud

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pratique-dev/pratique/pkg/verify"
)

const (
	garName = "europe-west4-docker.pkg.dev"
	gceAsk  = "GET http://169.254.169.254/computeMetadata/v1/instance/service-accounts/default/token"
)

// gceJSON is a token of so many seconds.
func gceJSON(seconds int) string {
	return fmt.Sprintf(`{"access_token":"ya29.%s","expires_in":%d,"token_type":"Bearer"}`, canary, seconds)
}

func TestGARTakesTheTokenOfTheMetadataServerForReadingOnly(t *testing.T) {
	t.Parallel()
	for _, host := range []string{garName, "gcr.io", "eu.gcr.io"} {
		w := newWorld(t)
		w.on(gceAsk, w.wants(all(header("Metadata-Flavor", "Google"), fields("scopes=https://www.googleapis.com/auth/devstorage.read_only")), text(gceJSON(3599))))
		want := answer{"oauth2accesstoken", "ya29." + canary, start.Add(3599 * time.Second)}
		if diff := cmp.Diff(want, must(t, NewGAR(w.options()), host)); diff != "" {
			t.Errorf("%s: %s", host, diff)
		}
	}
}

func TestGARSaysWhyThereIsNoLoginAndKeepsTheSecretsToItself(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		answer http.HandlerFunc
		kind   verify.FetchKind
		words  []string
	}{
		{"no service account", echo(404, "ECHO"), verify.Unauthorized, []string{"Google's metadata server (169.254.169.254)", "404 Not Found", "Workload Identity Federation", "roles/artifactregistry.reader"}},
		{"not for this ServiceAccount", echo(403, "ECHO"), verify.Unauthorized, []string{"403 Forbidden"}},
		{"in trouble", echo(503, "ECHO"), verify.Unavailable, []string{"503 Service Unavailable"}},
		{"a page", text("<html>" + canary), verify.Malformed, []string{"something else than the JSON object"}},
		{"a token that is a number", text(`{"access_token":1,"expires_in":3599}`), verify.Malformed, []string{"something else than the JSON object"}},
		{"no token", text(`{"expires_in":3599}`), verify.Malformed, []string{"without a password"}},
		{"a token without an end", text(`{"access_token":"` + canary + `"}`), verify.Unavailable, []string{"expired at"}},
		{"a token that has expired", text(gceJSON(0)), verify.Unavailable, []string{"expired at 2027-01-31T12:00:00Z", "clock"}},
		{"a token that had expired before", text(gceJSON(-18446744073)), verify.Unavailable, []string{"expired at"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t).on(gceAsk, test.answer)
			a, err := ask(t, NewGAR(w.options()), garName)
			if e := refused(t, a, err, garName, test.words...); e.Kind != test.kind {
				t.Errorf("the kind is %v, want %v", e.Kind, test.kind)
			}
		})
	}
}

func TestNoPasswordIsGoodForLongerThanADay(t *testing.T) {
	t.Parallel()
	w := newWorld(t).on(gceAsk, text(gceJSON(1<<62))).instance("169.254.169.254").on(ecrAsk, text(ecrAnswer(start.Add(1000*time.Hour))))
	for _, got := range []answer{must(t, NewGAR(w.options()), garName), must(t, NewECR(w.options()), ecrName)} {
		if !got.Expires.Equal(start.Add(maxLife)) {
			t.Errorf("it is good until %v", got.Expires)
		}
	}
}
