package promote_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/digitorus/timestamp"
	"github.com/google/go-containerregistry/pkg/name"

	"github.com/pratique-dev/pratique/pkg/promote"
	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/pkg/verify/verifytest"
)

// stamping is a timestamp server; answer makes an answer to a request that was read.
func stamping(t *testing.T, answer func(w http.ResponseWriter, r *timestamp.Request)) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		asked, err := timestamp.ParseRequest(body)
		if err != nil {
			t.Error(err)
		}
		answer(w, asked)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func stamped(t *testing.T, url string) (promote.SigningKey, promote.Bundle, error) {
	t.Helper()
	server, err := promote.NewTimestampServer(url, nil)
	if err != nil {
		t.Fatal(err)
	}
	key := newKey(t, "P-256")
	b, err := key.Sign(t.Context(), promote.Statement{Subjects: []name.Digest{image(t, "a")}, PredicateType: review, Predicate: []byte("{}")}, server)
	return key, b, err
}

// hashed is a message, by its hash alone.
type hashed = *timestamp.Request

func TestATimestampServerTellsWhenItWasSigned(t *testing.T) {
	t.Parallel()
	s := verifytest.NewSigstore(t)
	url := stamping(t, func(w http.ResponseWriter, r hashed) {
		_, _ = w.Write(s.StampHashed(t, 0, r.HashedMessage, verifytest.Then()))
	})
	key, b, err := stamped(t, url)
	if err != nil {
		t.Fatal(err)
	}
	if !b.Stamped.Equal(verifytest.Then()) {
		t.Errorf("stamped at %s, want %s", b.Stamped, verifytest.Then())
	}
	found := evidence(t, b, image(t, "a"), key.Public(), verify.Terms{Trust: s.Trust(t, verify.DefaultThresholds()), Timestamp: verify.Required})
	if len(found) != 1 || !found[0].Time().Equal(verifytest.Then()) {
		t.Errorf("evidence %v, want one of %s", found, verifytest.Then())
	}
	if found := evidence(t, b, image(t, "a"), key.Public(), verify.Terms{Trust: verifytest.NewSigstore(t).Trust(t, verify.DefaultThresholds()), Timestamp: verify.Required}); len(found) != 0 {
		t.Errorf("a stranger's timestamp is enough: %v", found)
	}
}

func TestWithoutATimestampThatWasAskedForNothingIsSigned(t *testing.T) {
	t.Parallel()
	s := verifytest.NewSigstore(t)
	for says, c := range map[string]struct {
		answer func(w http.ResponseWriter, r hashed)
		want   string
	}{
		"of something else": {func(w http.ResponseWriter, _ hashed) {
			_, _ = w.Write(s.Stamp(t, 0, []byte("something else"), verifytest.Then()))
		},
			"what it gave is a timestamp of something else"},
		"of no shape":    {func(w http.ResponseWriter, _ hashed) { _, _ = io.WriteString(w, "<html>") }, "could not sign: timestamp server 127.0.0.1:"},
		"from one down":  {func(w http.ResponseWriter, _ hashed) { http.Error(w, "secret", http.StatusServiceUnavailable) }, "it answered 503 Service Unavailable"},
		"from one shut":  {func(w http.ResponseWriter, _ hashed) { http.Error(w, "secret", http.StatusForbidden) }, "it answered 403 Forbidden"},
		"without an end": {func(w http.ResponseWriter, _ hashed) { _, _ = io.WriteString(w, strings.Repeat("a", 3<<20)) }, "could not sign: timestamp server 127.0.0.1:"},
	} {
		t.Run(says, func(t *testing.T) {
			t.Parallel()
			url := stamping(t, c.answer)
			_, b, err := stamped(t, strings.Replace(url, "http://", "http://user:secret@", 1)+"/path?token=secret")
			if err == nil || !strings.Contains(err.Error(), c.want) || b.JSON != nil {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("it tells a secret: %v", err)
			}
		})
	}
}

func TestWaitingForATimestampEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancel(t.Context())
	gone := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil { // so that the server sees that the client went
			t.Error(err)
		}
		stop()
		<-r.Context().Done()
		close(gone)
	}))
	t.Cleanup(server.Close)
	at, err := promote.NewTimestampServer(server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = newKey(t, "P-256").Sign(ctx, promote.Statement{Subjects: []name.Digest{image(t, "a")}, PredicateType: review, Predicate: []byte("{}")}, at)
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	<-gone
}

func TestATimestampServerHasAURL(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"", "timestamps.example.com", "ftp://timestamps.example.com", "https://", "https://user:secret@%zz"} {
		if _, err := promote.NewTimestampServer(at, nil); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", at, err)
		}
	}
}
