package compile

import (
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pratique-dev/pratique/api/v1alpha1"
	"github.com/pratique-dev/pratique/pkg/policy"
	"github.com/pratique-dev/pratique/pkg/predicate"
	"github.com/pratique-dev/pratique/pkg/verify"
)

// requirements makes the requirements that a policy asks for, whose defaults are set. They come in the order in which people read them: who
// signed, what is in it, where it is from, what became of it.
func (b *build) requirements(r *v1alpha1.Require) (out []policy.Requirement, err error) {
	take := func(field string, made policy.Requirement, problem error) {
		switch {
		case err != nil:
		case problem != nil:
			err = fmt.Errorf("spec.require.%s.%w", field, problem)
		default:
			out = append(out, made)
		}
	}
	if s := r.Signature; s != nil {
		made, problem := policy.NewSignature(b.by(s.By), int(*s.AtLeast))
		take("signature", made, problem)
	}
	if s := r.SBOM; s != nil {
		made, problem := policy.NewSBOM(b.by(s.By), sbomRules(s))
		take("sbom", made, problem)
	}
	if v := r.Vulnerabilities; v != nil {
		made, problem := b.vulnerabilities(v)
		take("vulnerabilities", made, problem)
	}
	if s := r.Secrets; s != nil {
		made, problem := policy.NewSecrets(b.by(s.By), length(s.MaxAge))
		take("secrets", made, problem)
	}
	if p := r.Provenance; p != nil {
		made, problem := policy.NewProvenance(b.by(p.By), policy.ProvenanceRules{
			Builders: p.Builders, BuilderPatterns: p.BuilderPatterns, Sources: p.Sources, SourcePatterns: p.SourcePatterns,
			Refs: p.Refs, RefPatterns: p.RefPatterns, BuildTypes: p.BuildTypes, BuildTypePatterns: p.BuildTypePatterns,
		})
		take("provenance", made, problem)
	}
	for i, t := range r.Tests {
		made, problem := policy.NewTest(b.by(t.By), t.Name, length(t.MaxAge))
		take(fmt.Sprintf("tests[%d]", i), made, problem)
	}
	if a := r.Approvals; a != nil {
		made, problem := policy.NewApprovals(b.by(a.By), policy.ApprovalRules{AtLeast: int(*a.AtLeast), Environment: a.Environment, MaxAge: length(a.MaxAge)})
		take("approvals", made, problem)
	}
	if p := r.Promotion; p != nil {
		made, problem := policy.NewPromotion(b.by(p.By), p.To)
		take("promotion", made, problem)
	}
	for i, x := range r.Custom {
		made, problem := policy.NewCustom(b.by(x.By), x.PredicateType, rulesOf(x.Rules))
		take(fmt.Sprintf("custom[%d]", i), made, problem)
	}
	return out, err
}

// by are the authorities of some names, all of which are known.
func (b *build) by(names []string) []verify.Authority {
	out := make([]verify.Authority, 0, len(names))
	for _, name := range names {
		out = append(out, b.authorities[name])
	}
	return out
}

// length is a length of time; 0 where there is none.
func length(d *metav1.Duration) time.Duration {
	if d == nil {
		return 0
	}
	return d.Duration
}

func sbomRules(s *v1alpha1.SBOMRequirement) policy.SBOMRules {
	rules := policy.SBOMRules{MinPackages: s.MinPackages, MaxAge: length(s.MaxAge)}
	for _, f := range s.Formats {
		rules.Formats = append(rules.Formats, string(f))
	}
	if l := s.Licenses; l != nil {
		rules.Licenses = &policy.LicenseRules{Deny: l.Deny, Allow: l.Allow, Unknown: l.Unknown}
		for _, e := range l.Exceptions {
			rules.Licenses.Exceptions = append(rules.Licenses.Exceptions, policy.LicenseException{
				Package: e.Package, License: e.License, Reason: line(e.Reason, maxReason), Expires: e.Expires,
			})
		}
	}
	return rules
}

func (b *build) vulnerabilities(v *v1alpha1.VulnerabilitiesRequirement) (policy.Requirement, error) {
	unknown, ok := predicate.ParseSeverity(v.Unknown)
	if !ok || unknown == predicate.SeverityUnknown {
		return nil, fmt.Errorf("unknown: %.64q is no severity that is known", v.Unknown)
	}
	rules := policy.VulnerabilityRules{
		MaxAge: length(v.MaxAge), Max: limits(v.Max), Warn: limits(v.Warn), Unknown: unknown, OnlyFixable: v.OnlyFixable,
		Scanners: v.Scanners, MaxDatabaseAge: length(v.MaxDatabaseAge),
	}
	for _, e := range v.Exceptions {
		rules.Exceptions = append(rules.Exceptions, policy.VulnerabilityException{ID: e.ID, Reason: line(e.Reason, maxReason), Expires: e.Expires})
	}
	if v.VEX != nil {
		rules.VEX = b.by(v.VEX.By)
	}
	return policy.NewVulnerabilities(b.by(v.By), rules)
}

// limits are counts by severity.
func limits(s *v1alpha1.SeverityCounts) map[predicate.Severity]int {
	out := map[predicate.Severity]int{}
	for _, n := range countsOf(s) {
		out[n.severity] = int(*n.count)
	}
	return out
}

func rulesOf(rules []v1alpha1.CustomRule) (out []policy.Rule) {
	for _, r := range rules {
		out = append(out, policy.Rule{CEL: r.CEL, Message: line(r.Message, maxReason)})
	}
	return out
}

// summary makes what may stand for requirements; nil where nothing may.
func (b *build) summary(s *v1alpha1.AcceptSummary) (policy.Substitute, error) {
	if s == nil {
		return nil, nil
	}
	made, err := policy.NewSummary(b.by(s.By), policy.SummaryRules{VerifierID: s.VerifierID, InsteadOf: s.InsteadOf, MaxAge: length(s.MaxAge)})
	if err != nil {
		return nil, fmt.Errorf("spec.acceptSummary.%w", err)
	}
	return made, nil
}
