package trust_test

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/tuf"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/pratique-dev/pratique/internal/trust"
)

// What is embedded, by its SHA-256. publicgood/README.md says where it comes from, and holds the same.
const (
	trustedRootSum = "6494e21ea73fa7ee769f85f57d5a3e6a08725eae1e38c755fc3517c9e6bc0b66"
	tufRootSum     = "27aea7e372aa7864065174f0661784fcf8b0e28b1dbfebeada31a0f1fb19167f"
)

func TestTheEmbeddedTextsAreThoseOfTheirOrigin(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("publicgood/README.md")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		text []byte
		sum  string
	}{
		"trusted_root.json": {trust.PublicGood(), trustedRootSum},
		"root.json":         {trust.PublicGoodTUFRoot(), tufRootSum},
	} {
		if sum := sha256.Sum256(c.text); hex.EncodeToString(sum[:]) != c.sum {
			t.Errorf("%s is %x, want %s", name, sum, c.sum)
		}
		if !strings.Contains(string(readme), c.sum) {
			t.Errorf("publicgood/README.md doesn't say that %s is %s", name, c.sum)
		}
	}
	date := trust.PublicGoodDate()
	if date.IsZero() || date.After(time.Now().Add(24*time.Hour)) || !strings.Contains(string(readme), date.Format(time.RFC3339)) {
		t.Errorf("the date is %s, which is no past date, or not in publicgood/README.md", date)
	}
}

func TestTheEmbeddedRootNamesEveryPart(t *testing.T) {
	t.Parallel()
	if err := trust.CheckText(trust.PublicGood()); err != nil {
		t.Fatal(err)
	}
	r, err := root.NewTrustedRootFromJSON(trust.PublicGood())
	if err != nil {
		t.Fatal(err)
	}
	on := trust.PublicGoodDate()
	inForce := func(start, end time.Time) bool { return !start.After(on) && (end.IsZero() || end.After(on)) }
	authorities := 0
	for _, a := range r.FulcioCertificateAuthorities() {
		f, ok := a.(*root.FulcioCertificateAuthority)
		if ok && inForce(f.ValidityPeriodStart, f.ValidityPeriodEnd) {
			authorities++
		}
	}
	if len(r.FulcioCertificateAuthorities()) != 2 || authorities != 1 {
		t.Errorf("%d certificate authorities, %d in force, want 2 and 1", len(r.FulcioCertificateAuthorities()), authorities)
	}
	logs := func(of map[string]*root.TransparencyLog) map[string]bool {
		out := map[string]bool{}
		for _, l := range of {
			out[l.BaseURL] = inForce(l.ValidityPeriodStart, l.ValidityPeriodEnd)
		}
		return out
	}
	rekor := logs(r.RekorLogs())
	if !rekor["https://rekor.sigstore.dev"] {
		t.Errorf("the Rekor v1 log isn't in it: %v", rekor)
	}
	if !rekor["https://log2025-1.rekor.sigstore.dev"] {
		t.Errorf("the Rekor v2 log isn't in it: %v", rekor)
	}
	if ct := logs(r.CTLogs()); !ct["https://ctfe.sigstore.dev/2022"] {
		t.Errorf("the CT log isn't in it: %v", ct)
	}
	stamps := r.TimestampingAuthorities()
	if len(stamps) != 1 {
		t.Fatalf("%d timestamp authorities, want 1", len(stamps))
	}
	s, ok := stamps[0].(*root.SigstoreTimestampingAuthority)
	if !ok || s.URI != "https://timestamp.sigstore.dev/api/v1/timestamp" || !inForce(s.ValidityPeriodStart, s.ValidityPeriodEnd) {
		t.Errorf("timestamp authority %+v", stamps[0])
	}
}

// Two origins that don't know each other: the root.json of one is signed by the keys that the other, a Go module held
// by go.sum, has for them.
func TestTheEmbeddedTUFRootIsSignedByTheKeysThatSigstoreGoHas(t *testing.T) {
	t.Parallel()
	theirs, err := metadata.Root().FromBytes(tuf.DefaultRoot())
	if err != nil {
		t.Fatal(err)
	}
	ours, err := metadata.Root().FromBytes(trust.PublicGoodTUFRoot())
	if err != nil {
		t.Fatal(err)
	}
	if err := theirs.VerifyDelegate(metadata.ROOT, ours); err != nil {
		t.Errorf("version %d isn't signed by the keys of version %d: %v", ours.Signed.Version, theirs.Signed.Version, err)
	}
	if ours.Signed.Version < theirs.Signed.Version {
		t.Errorf("ours is version %d, sigstore-go's is %d: update ours", ours.Signed.Version, theirs.Signed.Version)
	}
	if !ours.Signed.ConsistentSnapshot {
		t.Error("no consistent snapshots: a client would mix files of two moments")
	}
}

func TestThePublicGoodMirrorNeedsNoRootOfItsOwn(t *testing.T) {
	t.Parallel()
	for _, url := range []string{trust.PublicGoodMirror, trust.PublicGoodMirror + "/"} {
		if err := (trust.MirrorConfig{URL: url}).Check(trust.Options{}); err != nil {
			t.Error(err)
		}
	}
}

func TestTheCallerMayWriteToWhatItIsGiven(t *testing.T) {
	t.Parallel()
	trust.PublicGood()[0], trust.PublicGoodTUFRoot()[0] = 'x', 'x'
	if trust.PublicGood()[0] != '{' || trust.PublicGoodTUFRoot()[0] != '{' {
		t.Error("the embedded text was changed")
	}
}
