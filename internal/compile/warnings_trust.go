package compile

import (
	"github.com/pratique-dev/pratique/api/v1alpha1"
	"github.com/pratique-dev/pratique/internal/trust"
)

// trustRoot warns of a TrustRoot by which no keyless signature could ever count, as far as it says all by itself.
func (w *warner) trustRoot(t *v1alpha1.TrustRoot) {
	if len(t.Spec.Sources) > maxSources {
		return
	}
	readings := make([]rootReading, 0, len(t.Spec.Sources))
	for i := range t.Spec.Sources {
		s := &t.Spec.Sources[i]
		text := []byte(s.Data)
		switch kind := kindOf(s); {
		case kind == sourcePublic:
			text = trust.PublicGood()
		case kind != sourceData || usableRoot(text) != nil:
			return // what it has may change, or Validate tells of it
		}
		readings = append(readings, rootReading{text: text, digest: trust.Digest(text)})
	}
	made := unite(readings, thresholdsOf(t.Spec.Thresholds))
	if made.err != nil {
		return
	}
	if h := made.trust.Holds(); len(h.CertificateAuthorities) > 0 && len(h.CertificateLogs) == 0 && h.Thresholds.SCTs > 0 {
		w.say("spec.thresholds.signedCertificateTimestamps: no CT log in the root, so keyless can't use it: add one, or set 0")
	}
}
