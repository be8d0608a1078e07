package compile

import (
	"strings"
	"testing"

	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/pkg/verify/verifytest"
)

// A timestamp authority under two names would count twice: which threshold asks for that is said.
func TestAThresholdThatTextsCanNotMeetIsNamed(t *testing.T) {
	t.Parallel()
	s := verifytest.NewSigstore(t)
	before, after := verifytest.Before(), verifytest.After()
	first, second := s.TrustedRootOf(t, verifytest.Parts{Timestamps: &before}), s.TrustedRootOf(t, verifytest.Parts{Timestamps: &after})
	renamed := []byte(strings.ReplaceAll(string(second), "https://timestamp", "https://tsa"))
	for _, tt := range []struct {
		name  string
		texts [][]byte
		asked verify.Thresholds
		want  string // how the error begins; empty: none
	}{
		{"two are asked for", [][]byte{first, renamed}, verify.Thresholds{Logs: 2, Timestamps: 2, SCTs: 1}, "spec.thresholds.timestamps: one key is that of two timestamp authorities"},
		{"one is", [][]byte{first, renamed}, verify.Thresholds{Logs: 2, Timestamps: 1, SCTs: 1}, ""},
		{"it isn't the thresholds", [][]byte{first, []byte("nonsense")}, verify.Thresholds{Logs: 2, Timestamps: 2}, "trusted root 2 is no trusted_root.json"},
	} {
		made, err := trustOf(tt.texts, tt.asked)
		if tt.want == "" && (err != nil || made == nil) || tt.want != "" && (err == nil || !strings.HasPrefix(err.Error(), tt.want)) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

func TestATrustRootsDigestIsWrittenAsItsSourcesAre(t *testing.T) {
	t.Parallel()
	text := verifytest.NewSigstore(t).TrustedRoot(t)
	made, err := trustOf([][]byte{text}, verify.DefaultThresholds())
	if err != nil {
		t.Fatal(err)
	}
	want, ok := strings.CutPrefix(made.Fingerprint().String(), "SHA256:")
	if got := trustDigest(made); !ok || got != "sha256:"+want {
		t.Errorf("%s", got)
	}
	r := rootReportOf([]rootReading{{kind: sourceData, text: text}}, made, nil)
	if r.Digest != trustDigest(made) {
		t.Errorf("%s", r.Digest)
	}
}
