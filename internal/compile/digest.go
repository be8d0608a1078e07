package compile

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

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
//	{"authorities": [FINGERPRINT...], "require": {...}, "platforms": [PLATFORM...], "acceptSummary": {...}}
//
// where require has its defaults applied and each list named by holds fingerprints in place of names. Fingerprints are
// sorted and each there once. So a new name for an authority, or another order, changes nothing; another key does. But the rules of
// custom see names: there by is {NAME: FINGERPRINT}, and another name is another policy.
//
// platforms is there where the policy has any and requires something of each, in their one spelling, sorted; acceptSummary where the policy has
// it. Mode, references and the rest of images are not part of it: they say when it is asked, not what. Nor is what loosens a cluster's policy
// from outside: namespaceExceptions.
func digestOf(authorities map[string]verify.Authority, spec *v1alpha1.ImagePolicySpec) (string, error) {
	prints := make(map[string]string, len(authorities))
	for name, a := range authorities {
		prints[name] = a.Fingerprint().String()
	}
	all := slices.Sorted(maps.Values(prints))
	asked := map[string]any{"authorities": slices.Compact(all)}
	var err error
	if asked["require"], err = digested(withDefaults(spec.Require), prints); err != nil {
		return "", err
	}
	if len(spec.Images.Platforms) > 0 && aboutPlatforms(spec.Require) {
		if asked["platforms"], err = spellings(spec.Images.Platforms); err != nil {
			return "", err
		}
	}
	if s := spec.AcceptSummary; s != nil {
		s = s.DeepCopy()
		slices.Sort(s.InsteadOf)
		if asked["acceptSummary"], err = digested(s, prints); err != nil {
			return "", err
		}
	}
	raw, err := json.Marshal(asked)
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

// digested is a part of a policy as its digest has it.
func digested(part any, prints map[string]string) (any, error) {
	raw, err := json.Marshal(part)
	if err != nil {
		return nil, err
	}
	var tree any
	if err := json.Unmarshal(raw, &tree); err != nil {
		return nil, err
	}
	return tree, fingerprints(tree, prints, false)
}

// spellings are platforms in their one spelling each, sorted. A variant that is an architecture's lowest has none there, and yet isn't every
// variant: linux/arm64/v8 is told from linux/arm64 by a slash at its end.
func spellings(platforms []string) ([]string, error) {
	out := make([]string, 0, len(platforms))
	for _, text := range platforms {
		p, err := policy.ParsePlatform(text)
		if err != nil {
			return nil, err
		}
		one := p.String()
		if strings.Count(text, "/") > strings.Count(one, "/") {
			one += "/"
		}
		out = append(out, one)
	}
	slices.Sort(out)
	return slices.Compact(out), nil
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

// fingerprints replaces the names in every list called by; where they are told to rules, by the fingerprint of each.
func fingerprints(tree any, of map[string]string, told bool) error {
	switch node := tree.(type) {
	case []any:
		for _, child := range node {
			if err := fingerprints(child, of, told); err != nil {
				return err
			}
		}
	case map[string]any:
		for name, child := range node {
			list, ok := child.([]any)
			if name != "by" || !ok {
				if err := fingerprints(child, of, told || name == "custom"); err != nil {
					return err
				}
				continue
			}
			named := map[string]string{}
			for _, who := range list {
				one, ok := of[fmt.Sprint(who)]
				if !ok {
					return fmt.Errorf("no authority %q", who)
				}
				named[fmt.Sprint(who)] = one
			}
			if node[name] = any(named); !told {
				node[name] = slices.Compact(slices.Sorted(maps.Values(named)))
			}
		}
	}
	return nil
}
