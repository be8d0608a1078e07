package cloud

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// canary is part of every secret here. No error may hold it.
const canary = "c4nary"

// start is when the tests happen.
var start = time.Date(2027, 1, 31, 12, 0, 0, 0, time.UTC)

// world is all of the clouds, on two ports of loopback: one for https, where every host's name leads, and one for http,
// where every metadata address leads. What it isn't told to answer is an error of the test.
type world struct {
	t       *testing.T
	env     map[string]string
	now     func() time.Time
	tls     *httptest.Server
	plain   *httptest.Server
	mu      sync.Mutex
	answers map[string]http.HandlerFunc // METHOD SCHEME://HOST/PATH
	asked   []string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, env: map[string]string{}, answers: map[string]http.HandlerFunc{}, now: func() time.Time { return start }}
	w.tls, w.plain = httptest.NewTLSServer(w.serve("https")), httptest.NewServer(w.serve("http"))
	t.Cleanup(w.tls.Close)
	t.Cleanup(w.plain.Close)
	return w
}

func (w *world) serve(scheme string) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		name := r.Method + " " + scheme + "://" + r.Host + r.URL.Path
		w.mu.Lock()
		w.asked = append(w.asked, name)
		answer := w.answers[name]
		w.mu.Unlock()
		if answer == nil {
			w.t.Errorf("asked for %s, which nobody answers", name)
			http.NotFound(rw, r)
			return
		}
		answer(rw, r)
	})
}

// on says what answers a request. It returns the world, to go on.
func (w *world) on(name string, answer http.HandlerFunc) *world {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answers[name] = answer
	return w
}

// requests returns what was asked, in order.
func (w *world) requests() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.asked)
}

// options lead to this world.
func (w *world) options() Options {
	to := func(s *httptest.Server, config *tls.Config) *http.Client {
		transport := &http.Transport{TLSClientConfig: config, DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, s.Listener.Addr().String())
		}}
		w.t.Cleanup(transport.CloseIdleConnections)
		return &http.Client{Transport: transport}
	}
	trusted := w.tls.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	return Options{
		Client:         to(w.tls, &tls.Config{RootCAs: trusted, ServerName: "example.com", MinVersion: tls.VersionTLS12}),
		MetadataClient: to(w.plain, nil),
		Getenv:         func(name string) string { return w.env[name] },
		Now:            func() time.Time { return w.now() },
	}
}

// file writes a token that a Pod finds, and returns its path.
func (w *world) file(content string) string {
	w.t.Helper()
	path := filepath.Join(w.t.TempDir(), "token")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		w.t.Fatal(err)
	}
	return path
}

// text answers with a text.
func text(s string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, s) }
}

// echo refuses with a status, and repeats all that it was sent in fields where a message might be.
func echo(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		sent, _ := io.ReadAll(r.Body)
		all, _ := json.Marshal(fmt.Sprintf("%s %v %s", sent, r.Header, canary))
		w.WriteHeader(status)
		_, _ = io.WriteString(w, strings.ReplaceAll(body, "ECHO", string(all)))
	}
}

// hang answers nothing until the client has gone.
func hang(_ http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body) // so that the server notices when the client goes
	<-r.Context().Done()
}

// wants fails the test if a request isn't as it should be, and then answers.
func (w *world) wants(is func(*http.Request, string) error, answer http.HandlerFunc) http.HandlerFunc {
	return func(rw http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = is(r, string(body))
		}
		if err != nil {
			w.t.Errorf("%s %s: %v", r.Method, r.URL.Path, err)
		}
		answer(rw, r)
	}
}

// header wants a header of a request.
func header(name, value string) func(*http.Request, string) error {
	return func(r *http.Request, _ string) error {
		if got := r.Header.Get(name); got != value {
			return fmt.Errorf("header %s is %q, want %q", name, got, value)
		}
		return nil
	}
}

// fields wants the fields of a form or a query, and no others: NAME=VALUE, sorted by name.
func fields(want ...string) func(*http.Request, string) error {
	return func(r *http.Request, body string) error {
		r.Body = io.NopCloser(strings.NewReader(body))
		if err := r.ParseForm(); err != nil {
			return err
		}
		var got []string
		for name, values := range r.Form {
			got = append(got, name+"="+strings.Join(values, ","))
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			return fmt.Errorf("fields\n\t%q, want\n\t%q", got, want)
		}
		return nil
	}
}

// signed wants a request that AWS would take as signed with these credentials: the signature is made again from what
// came, and compared.
func signed(creds aws.Credentials, service, region string) func(*http.Request, string) error {
	return func(r *http.Request, body string) error {
		at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
		if err != nil {
			return err
		}
		if got := r.Header.Get("X-Amz-Security-Token"); got != creds.SessionToken {
			return fmt.Errorf("session token %q, want %q", got, creds.SessionToken)
		}
		got := r.Header.Get("Authorization")
		_, rest, ok := strings.Cut(got, "SignedHeaders=")
		names, _, _ := strings.Cut(rest, ",")
		if !ok {
			return errors.New("not signed")
		}
		again, err := http.NewRequest(r.Method, "https://"+r.Host+r.URL.Path, bytes.NewReader([]byte(body)))
		if err != nil {
			return err
		}
		for name := range strings.SplitSeq(names, ";") {
			if name != "host" && name != "content-length" {
				again.Header.Set(name, r.Header.Get(name))
			}
		}
		for _, name := range []string{"host", "x-amz-date", "x-amz-target", "content-type"} {
			if !slices.Contains(strings.Split(names, ";"), name) {
				return fmt.Errorf("%s is not signed, only %s", name, names)
			}
		}
		if err := v4.NewSigner().SignHTTP(r.Context(), creds, again, sha256Hex(body), service, region, at); err != nil {
			return err
		}
		if want := again.Header.Get("Authorization"); got != want {
			return fmt.Errorf("signature\n\t%s, want\n\t%s", got, want)
		}
		return nil
	}
}

// all wants several things of a request.
func all(wants ...func(*http.Request, string) error) func(*http.Request, string) error {
	return func(r *http.Request, body string) error {
		for _, want := range wants {
			if err := want(r, body); err != nil {
				return err
			}
		}
		return nil
	}
}

// jwt makes a token that ends then. Nobody signs it.
func jwt(end time.Time) string {
	part := base64.RawURLEncoding.EncodeToString
	return part([]byte(`{"alg":"none"}`)) + "." + part(fmt.Appendf(nil, `{"exp":%d,"jti":%q}`, end.Unix(), canary)) + "." + canary
}

// answer is what a Login returned.
type answer struct {
	User, Password string
	Expires        time.Time
}

func ask(t *testing.T, l Login, host string) (answer, error) {
	t.Helper()
	user, password, expires, err := l(t.Context(), host)
	return answer{user, password, expires.UTC()}, err
}

// must logs in.
func must(t *testing.T, l Login, host string) answer {
	t.Helper()
	a, err := ask(t, l, host)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// refused expects an error that names the registry, has all the words, is of one line and holds no secret.
func refused(t *testing.T, a answer, err error, host string, words ...string) *Error {
	t.Helper()
	if err == nil {
		t.Fatalf("there was a login: %+v", a)
	}
	if a != (answer{Expires: time.Time{}.UTC()}) {
		t.Errorf("with the error came %+v", a)
	}
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("a %T, which is no *Error: %v", err, err)
	}
	for _, word := range append(words, host) {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("the error doesn't say %q: %v", word, err)
		}
	}
	if len(err.Error()) > 256 && len(host) > 0 { // what one line of a Pod's refusal has room for
		t.Errorf("the error is of %d bytes: %v", len(err.Error()), err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%q"} {
		if shown := fmt.Sprintf(verb, err); strings.Contains(shown, canary) || strings.ContainsAny(shown, "\r\n") {
			t.Errorf("%s of the error shows a secret or has lines: %s", verb, shown)
		}
	}
	return e
}
