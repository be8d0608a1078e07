package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pratique-dev/pratique/test/keyless"
)

func TestItRunsUntilItIsStoppedAndTellsWhereEverythingIs(t *testing.T) {
	t.Parallel()
	if _, err := keyless.Programs(); errors.Is(err, keyless.ErrNoPrograms) {
		t.Skip(err)
	}
	dir := t.TempDir()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, []string{"-dir", dir, "-without", "rekor-v2", "-issuer", "email=https://more.example.org"})
	}()
	env := readEnv(t, filepath.Join(dir, "env"), ended)
	if env["STACK"] != dir || env["FULCIO_URL"] == "" || env["REKOR1_URL"] == "" || env["REKOR2_URL"] != "" || env["OFF_TIMESTAMP_URL"] == "" {
		t.Errorf("env has %v", env)
	}
	for name, want := range map[string]bool{
		keyless.TrustedRootFile: true, keyless.ConfigRekor1: true, keyless.ConfigRekor2: false, keyless.Rekor1KeyFile: true, keyless.Rekor2KeyFile: false,
	} {
		if _, err := os.Stat(filepath.Join(dir, name)); (err == nil) != want {
			t.Errorf("%s: %v, want it there: %v", name, err, want)
		}
	}
	for query, want := range map[string]string{
		"?email=dev@example.com":                                 keyless.EmailIssuer + " id-of-dev@example.com",
		"?email=dev@example.com&issuer=https://more.example.org": "https://more.example.org id-of-dev@example.com",
		"?github=acme/app&environment=production":                keyless.GitHubIssuer + " repo:acme/app:environment:production",
		"?gitlab=acme/app":                                       keyless.GitLabIssuer + " project_path:acme/app:ref_type:branch:ref:main",
		"?subject=https://workloads.example.com/ns/a":            keyless.URIIssuer + " https://workloads.example.com/ns/a",
	} {
		text := fetch(t, http.MethodGet, env["TOKEN_URL"]+query, http.StatusOK)
		parts := strings.Split(text, ".")
		body, err := base64.RawURLEncoding.DecodeString(parts[1])
		var claims struct{ Iss, Sub string }
		if err != nil || json.Unmarshal(body, &claims) != nil || claims.Iss+" "+claims.Sub != want {
			t.Errorf("%s: %s, %v", query, body, err)
		}
	}
	fetch(t, http.MethodGet, env["TOKEN_URL"], http.StatusBadRequest)
	fetch(t, http.MethodPost, env["CLOCK_URL"]+"?ahead=1h", http.StatusOK)
	fetch(t, http.MethodPost, env["CLOCK_URL"]+"?ahead=soon", http.StatusBadRequest)
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "env")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("env is still there: %v", err)
	}
}

// readEnv waits for the file and reads it.
func readEnv(t *testing.T, file string, ended <-chan error) map[string]string {
	t.Helper()
	for {
		text, err := os.ReadFile(file)
		if err == nil {
			env := map[string]string{}
			for line := range strings.Lines(string(text)) {
				name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
				env[name] = strings.Trim(value, "'")
			}
			return env
		}
		select {
		case err := <-ended:
			t.Fatal("it ended: ", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func fetch(t *testing.T, method, url string, want int) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != want {
		t.Errorf("%s %s: %s: %s, want %d", method, url, res.Status, text, want)
	}
	return string(text)
}

func TestItSaysWhatIsWrongWithItsFlags(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{}, {"-dir", t.TempDir(), "more"}, {"-dir", t.TempDir(), "-without", "fulcio"}} {
		if err := run(t.Context(), args); err == nil {
			t.Errorf("%q ran", args)
		}
	}
}
