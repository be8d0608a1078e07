package compile

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/cyberphone/json-canonicalization/go/src/webpki.org/jsoncanonicalizer"

	"github.com/pratique-dev/pratique/api/v1alpha1"
	"github.com/pratique-dev/pratique/pkg/policy"
	"github.com/pratique-dev/pratique/pkg/verify"
)

// What requirements mean that don't say.
const (
	defaultAtLeast         = 1 // distinct signers
	defaultMinPackages     = policy.DefaultMinPackages
	defaultUnknownLicense  = "Warn" // what a licence does that can't be told
	defaultUnknownSeverity = "high" // what a finding of unknown severity counts as
)

// digestOf identifies what a policy asks for: "sha256:" and the hex of SHA-256 over the RFC 8785 JSON of
//
//	{"authorities": [FINGERPRINT...], "require": {...}}
//
// where require has its defaults applied and each list named by holds fingerprints in place of names. Fingerprints are
// sorted and each there once. So a new name for an authority, or another order, changes nothing; another key does. Mode, images
// and references are not part of it: they say when it is asked, not what.
func digestOf(authorities map[string]verify.Authority, require *v1alpha1.Require) (string, error) {
	raw, err := json.Marshal(withDefaults(require))
	if err != nil {
		return "", err
	}
	var tree any
	if err := json.Unmarshal(raw, &tree); err != nil {
		return "", err
	}
	if err := fingerprints(tree, authorities); err != nil {
		return "", err
	}
	all := make([]string, 0, len(authorities))
	for _, a := range authorities {
		all = append(all, a.Fingerprint().String())
	}
	slices.Sort(all)
	raw, err = json.Marshal(map[string]any{"authorities": slices.Compact(all), "require": tree})
	if err != nil {
		return "", err
	}
	canonical, err := jsoncanonicalizer.Transform(raw)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(canonical)
	return "sha256:" + hex.EncodeToString(sum[:]), nil
}

// withDefaults returns the requirements with what their author left to us.
func withDefaults(require *v1alpha1.Require) *v1alpha1.Require {
	out := require.DeepCopy()
	if s := out.Signature; s != nil && s.AtLeast == nil {
		s.AtLeast = new(int32(defaultAtLeast))
	}
	if s := out.SBOM; s != nil {
		if s.MinPackages == nil {
			s.MinPackages = new(int32(defaultMinPackages))
		}
		if s.Licenses != nil && s.Licenses.Unknown == "" {
			s.Licenses.Unknown = defaultUnknownLicense
		}
	}
	if v := out.Vulnerabilities; v != nil && v.Unknown == "" {
		v.Unknown = defaultUnknownSeverity
	}
	if a := out.Approvals; a != nil && a.AtLeast == nil {
		a.AtLeast = new(int32(defaultAtLeast))
	}
	return out
}

// fingerprints replaces the names in every list called by.
func fingerprints(tree any, authorities map[string]verify.Authority) error {
	switch node := tree.(type) {
	case []any:
		for _, child := range node {
			if err := fingerprints(child, authorities); err != nil {
				return err
			}
		}
	case map[string]any:
		for name, child := range node {
			list, ok := child.([]any)
			if name != "by" || !ok {
				if err := fingerprints(child, authorities); err != nil {
					return err
				}
				continue
			}
			prints := make([]string, 0, len(list))
			for _, who := range list {
				a, ok := authorities[fmt.Sprint(who)]
				if !ok {
					return fmt.Errorf("no authority %q", who)
				}
				prints = append(prints, a.Fingerprint().String())
			}
			slices.Sort(prints)
			node[name] = slices.Compact(prints)
		}
	}
	return nil
}
