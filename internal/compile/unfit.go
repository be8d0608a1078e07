package compile

import (
	"errors"
	"fmt"

	"github.com/pratique-dev/pratique/api/v1alpha1"
	"github.com/pratique-dev/pratique/pkg/verify"
)

// unfit says that an authority can't be made with what its TrustRoot has: a log is asked for, say, and it has none. Where a field asks
// for it, that is named, and err is not repeated.
func unfit(root string, a *v1alpha1.Authority, trust *verify.Trust, err error) *problem {
	if asked := asksTooMuch(a, trust); asked != "" {
		err = errors.New(asked)
	}
	return &problem{ReasonTrustRootUnavailable, fmt.Errorf("TrustRoot %s: %w", root, err)}
}

// asksTooMuch says which field asks for more than a trust has, and the cure; nothing where none does.
func asksTooMuch(a *v1alpha1.Authority, trust *verify.Trust) string {
	if trust == nil {
		return ""
	}
	h := trust.Holds()
	keyless := a.Keyless != nil
	logged := a.Log == v1alpha1.DemandRequired || keyless && a.Log == ""
	stamped := a.Timestamp == v1alpha1.DemandRequired
	switch {
	case keyless && len(h.CertificateAuthorities) == 0:
		return ""
	case keyless && len(h.CertificateLogs) < h.Thresholds.SCTs:
		cure := ": set it to 0 where its Fulcio uses none"
		if n := len(h.CertificateLogs); n > 0 {
			cure = fmt.Sprintf(": set it to %d, or add logs to the root", n)
		}
		return few("signedCertificateTimestamps", h.Thresholds.SCTs, "certificate transparency log", "certificate transparency logs", len(h.CertificateLogs)) + cure
	case logged && len(h.Logs) == 0 && keyless:
		return "log: Required (for keyless it is, where nothing is said) and its trusted root has no transparency log: add a log to the root, or write log: Optional with timestamp: Required"
	case logged && len(h.Logs) == 0:
		return "log: Required and its trusted root has no transparency log: add a log to the root, or write log: Optional"
	case logged && len(h.Logs) < h.Thresholds.Logs:
		return few("logs", h.Thresholds.Logs, "transparency log", "transparency logs", len(h.Logs)) + fmt.Sprintf(": set it to %d, or add logs to the root", len(h.Logs))
	case stamped && len(h.TimestampAuthorities) == 0:
		return "timestamp: Required and its trusted root has no timestamp authority: add one to the root, or write timestamp: Optional"
	case stamped && len(h.TimestampAuthorities) < h.Thresholds.Timestamps:
		return few("timestamps", h.Thresholds.Timestamps, "timestamp authority", "timestamp authorities", len(h.TimestampAuthorities)) + fmt.Sprintf(": set it to %d, or add timestamp authorities to the root", len(h.TimestampAuthorities))
	}
	return ""
}

// few words a threshold that is over what there is: one thing, or many.
func few(threshold string, asked int, one, many string, has int) string {
	if has == 0 {
		return fmt.Sprintf("spec.thresholds.%s asks for %d and its trusted root has no %s", threshold, asked, one)
	}
	return fmt.Sprintf("spec.thresholds.%s asks for %d %s and its trusted root has %d", threshold, asked, many, has)
}

// overThreshold names the threshold on account of which texts that can be united can't be used; err as it is if it isn't one.
func overThreshold(texts [][]byte, t verify.Thresholds, err error) error {
	least := verify.Thresholds{Logs: 1, Timestamps: 1}
	if _, other := verify.NewTrust(texts, least); other != nil {
		return err
	}
	for _, one := range []struct {
		field string
		t     verify.Thresholds
	}{
		{"logs", verify.Thresholds{Logs: t.Logs, Timestamps: 1}},
		{"timestamps", verify.Thresholds{Logs: 1, Timestamps: t.Timestamps}},
		{"signedCertificateTimestamps", verify.Thresholds{Logs: 1, Timestamps: 1, SCTs: t.SCTs}},
	} {
		if _, bad := verify.NewTrust(texts, one.t); bad != nil {
			return fmt.Errorf("spec.thresholds.%s: %w", one.field, bad)
		}
	}
	return err
}
