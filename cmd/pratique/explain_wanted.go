package main

import (
	"slices"

	"github.com/pratique-dev/pratique/pkg/policy"
	"github.com/pratique-dev/pratique/pkg/predicate"
	"github.com/pratique-dev/pratique/pkg/verify"
)

// wanted is the paper that a question is about. The zero wanted is a signature.
type wanted struct {
	what   string // with its article, such as "an SBOM"; empty for a signature
	attest string // the --type of pratique attest
	cosign string // the --type of cosign attest
	// Of an approval alone.
	environment string
}

// wantedBy is the paper that a requirement's question is about.
func (o *objects) wantedBy(of policy.Name, requirement string, q verify.Question) wanted {
	types := q.Types()
	if len(types) == 1 && types[0] == verify.CosignSign {
		return wanted{}
	}
	is := func(k predicate.Kind) bool {
		sought := k.Types()
		return len(sought) > 0 && !slices.ContainsFunc(types, func(t string) bool { return !slices.Contains(sought, t) })
	}
	switch {
	case requirement == "custom" && len(types) == 1:
	case is(predicate.KindSBOM):
		return wanted{what: "an SBOM", attest: "spdx", cosign: "spdxjson"}
	case is(predicate.KindScan):
		return wanted{what: "a scan", attest: "vuln", cosign: "vuln"}
	case is(predicate.KindProvenance):
		return wanted{what: "provenance", attest: "slsaprovenance", cosign: "slsaprovenance1"}
	case is(predicate.KindTests):
		return wanted{what: "a test result", attest: "testresult", cosign: predicate.TypeTestResult}
	case is(predicate.KindVEX):
		return wanted{what: "a VEX document", attest: "openvex", cosign: "openvex"}
	case is(predicate.KindApproval):
		out := wanted{what: "an approval", attest: predicate.TypeApproval, cosign: predicate.TypeApproval, environment: "ENVIRONMENT"}
		if p := o.policies[of]; p.spec != nil && p.spec.Require != nil && p.spec.Require.Approvals != nil {
			out.environment = p.spec.Require.Approvals.Environment
		}
		return out
	case is(predicate.KindPromotion):
		return wanted{what: "a promotion", attest: predicate.TypePromotion, cosign: predicate.TypePromotion}
	}
	if len(types) == 0 {
		return wanted{what: "a statement", attest: "TYPE", cosign: "TYPE"}
	}
	t := ascii(types[0])
	return wanted{what: "a statement of type " + t, attest: t, cosign: t}
}

// signature tells whether no more is wanted than that.
func (w wanted) signature() bool { return w.what == "" }

// cure says what to do where there is no such paper.
func (w wanted) cure(by string) string {
	switch {
	case w.signature():
		return "have " + by + " sign it"
	case w.environment != "":
		return "have " + by + " approve it for " + w.environment
	}
	return "have " + by + " sign " + w.what + " about it"
}

// not says that a paper of another type is not this.
func (w wanted) not(claimed string) string {
	if w.signature() {
		return "it is no signature, but of type " + claimed
	}
	return "it is of type " + claimed + ", not " + w.what
}

// failing are the verdicts on a requirement that don't pass, of those on one image.
func failing(verdicts []policy.Verdict, of policy.Name, requirement string) []string {
	var out []string
	for _, v := range verdicts {
		if v.Policy != of {
			continue
		}
		for _, r := range v.Results {
			text := requirement + " of policy " + of.String() + ": " + string(r.Reason) + ": " + ascii(r.Detail)
			if r.Requirement == requirement && !r.Outcome.Passes() && !slices.Contains(out, text) {
				out = append(out, text)
			}
		}
	}
	return out
}
