package keyless_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pratique-dev/pratique/test/keyless"
)

// answers says whether anybody does at a URL.
func answers(ctx context.Context, url string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	res.Body.Close()
	return true
}

func TestWhereProgramsLackTheErrorSaysHowToBuildThem(t *testing.T) {
	t.Setenv("PRATIQUE_KEYLESS_PROGRAMS", t.TempDir())
	dir := t.TempDir()
	_, err := keyless.Start(t.Context(), keyless.Options{Dir: dir})
	if !errors.Is(err, keyless.ErrNoPrograms) || !strings.HasSuffix(err.Error(), ": run hack/binaries fulcio rekor-tiles timestamp-server") {
		t.Errorf("got %v", err)
	}
}

func TestAProgramThatEndsIsToldWithItsLog(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"fulcio", "rekor-tiles", "timestamp-server"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\necho out of luck; exit 3\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PRATIQUE_KEYLESS_PROGRAMS", dir)
	_, err := keyless.Start(t.Context(), keyless.Options{Dir: t.TempDir()})
	if err == nil || strings.Count(err.Error(), "out of luck") != 3 || !strings.Contains(err.Error(), "fulcio ended (exit status 3)") {
		t.Errorf("got %v", err)
	}
}

func TestOptionsThatSayNothingAreRefused(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]keyless.Options{
		"no part":          {Without: []keyless.Part{"fulcio"}},
		"no URL":           {Issuers: []keyless.Issuer{{URL: "accounts.example.org", Kind: keyless.Emails}}},
		"an issuer twice":  {Issuers: []keyless.Issuer{{URL: keyless.EmailIssuer, Kind: keyless.URIs}}},
		"an unknown kind":  {Issuers: []keyless.Issuer{{URL: "https://accounts.example.org", Kind: "dog"}}},
		"a URL with query": {Issuers: []keyless.Issuer{{URL: "https://accounts.example.org?a=b", Kind: keyless.Emails}}},
	} {
		if s, err := keyless.Start(t.Context(), o); err == nil {
			t.Errorf("started with %s", name)
			s.Close()
		} else if errors.Is(err, keyless.ErrNoPrograms) {
			t.Errorf("%s was not seen before programs were sought: %v", name, err)
		}
	}
}

func TestVersionsAreThoseThatHackBinariesBuilds(t *testing.T) {
	t.Parallel()
	script, err := os.ReadFile("../../hack/binaries")
	if err != nil {
		t.Fatal(err)
	}
	mod, err := os.ReadFile("timestamp-server/go.mod")
	if err != nil {
		t.Fatal(err)
	}
	makeScript, err := os.ReadFile("../interop/make.sh")
	if err != nil {
		t.Fatal(err)
	}
	for text, in := range map[string][]byte{
		"\nfulcio=" + keyless.FulcioVersion + "\n":                               script,
		"\nrekor_tiles=" + keyless.RekorTilesVersion + "\n":                      script,
		"\ntimestamp_authority=" + keyless.TimestampVersion + "\n":               script,
		"github.com/sigstore/timestamp-authority/v2 " + keyless.TimestampVersion: mod,
		"\ncosign2=v2.6.5\n":          script,
		"\ncosign3=v3.1.3\n":          script,
		"cosign/v2/cmd/cosign@v2.6.5": makeScript,
		"cosign/v3/cmd/cosign@v3.1.3": makeScript,
	} {
		if !strings.Contains(string(in), text) {
			t.Errorf("%q is not there", strings.TrimSpace(text))
		}
	}
}
