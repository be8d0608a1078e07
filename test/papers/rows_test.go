package papers_test

import (
	"testing"

	"github.com/pratique-dev/pratique/pkg/predicate"
	"github.com/pratique-dev/pratique/pkg/verify"
)

// reviewType is a predicate type that only a custom requirement knows.
const reviewType = "https://acme.example/review/v1"

// write writes a predicate.
type write func(testing.TB, said) string

// row is a requirement with the paper that satisfies it.
type row struct {
	name    string
	require string // in YAML; BY stands for who must sign
	accept  string // acceptSummary, in YAML
	is      string // the name of its results, where that is not its own
	by      func(*people) signer
	whose   string // the name of that signer in policies
	// other is a signer that the policy knows as well, for something else; nobody that it knows, for a workflow.
	other  func(*people) signer
	kind   string // predicate type
	good   write
	bad    write // what the newest must not say
	spoilt write // of the right type, but not what that type is
	// wrong is a paper of another kind, which the signer may make as well.
	wrong     func(testing.TB, said) (kind, predicate string)
	image     bool   // it is about the image that runs, and not each platform
	ageless   string // why it has no age; else what it wants has at most 168h
	signature bool   // it is existential, and by a signature of its own format
	exists    bool   // it is existential
	// base is a paper that is always there, beside the one in question.
	base func(*people) (by signer, kind string, doc write)
}

func release(p *people) signer  { return p.release }
func lead(p *people) signer     { return p.lead }
func promoter(p *people) signer { return p.promoter }
func security(p *people) signer { return p.security }
func ci(p *people) signer       { return p.ci }
func otherJob(p *people) signer { return p.other }

func anSBOM(t testing.TB, s said) (string, string) { return predicate.TypeSPDX, goodSBOM(t, s) }
func aScan(t testing.TB, s said) (string, string) {
	return predicate.TypeCosignVuln, cleanScan(t, s)
}

// rows are all the requirements there are. sbom is there twice, for licenses are a requirement to people, and exist in no other paper.
func rows() []row {
	return []row{
		{
			name: "signature", require: "signature: {by: [release, ci]}", by: release, whose: "release", other: lead, kind: verify.CosignSign,
			good: empty, bad: broken, spoilt: empty, wrong: anSBOM, image: true, signature: true, exists: true, ageless: "a signature says nothing that grows old",
		}, {
			name: "sbom", require: "sbom: {by: [BY], formats: [SPDX, CycloneDX], minPackages: 5, maxAge: 168h}", by: release, whose: "release", other: lead,
			kind: predicate.TypeSPDX, good: goodSBOM, bad: shortSBOM, spoilt: broken, wrong: aScan,
		}, {
			name: "licenses", is: "sbom", require: `sbom: {by: [BY], maxAge: 168h, licenses: {deny: ["AGPL-*"], unknown: Allow}}`, by: release, whose: "release", other: lead,
			kind: predicate.TypeSPDX, good: goodSBOM, bad: deniedSBOM, spoilt: broken, wrong: aScan,
		}, {
			name: "vulnerabilities", require: "vulnerabilities: {by: [BY], maxAge: 168h, max: {critical: 0, high: 0}}", by: release, whose: "release", other: lead,
			kind: predicate.TypeCosignVuln, good: cleanScan, bad: criticalScan, spoilt: broken, wrong: anSBOM,
		}, {
			name: "vex", is: "vulnerabilities", require: "vulnerabilities: {by: [release], maxAge: 168h, max: {critical: 0}, vex: {by: [BY]}}", by: security, whose: "security",
			other: release, kind: predicate.TypeOpenVEX, good: notAffected, bad: affected, spoilt: broken, wrong: anSBOM,
			ageless: "a VEX document holds until another takes it back",
			base:    func(p *people) (signer, string, write) { return p.release, predicate.TypeCosignVuln, criticalScan },
		}, {
			name: "secrets", require: "secrets: {by: [BY], maxAge: 168h}", by: release, whose: "release", other: lead, kind: predicate.TypeCosignVuln, good: secretScan,
			bad: criticalScan, spoilt: broken, wrong: anSBOM,
		}, {
			name: "provenance", by: ci, whose: "ci", other: otherJob, kind: predicate.TypeProvenance1, good: built, bad: builtElsewhere, spoilt: broken, wrong: anSBOM,
			require: `provenance: {by: [BY], builders: ["` + workflow + `"], sources: ["git+https://github.com/acme/app"], refs: [refs/heads/main]}`,
			ageless: "an image is built once",
		}, {
			name: "tests", require: "tests: [{name: smoke, by: [BY], maxAge: 168h}]", by: ci, whose: "ci", other: otherJob, kind: predicate.TypeTestResult,
			good: tested, bad: failed, spoilt: broken, wrong: anSBOM,
		}, {
			name: "approvals", require: "approvals: {by: [BY], environment: production, maxAge: 168h}", by: lead, whose: "lead", other: release,
			kind: predicate.TypeApproval, good: approval, bad: broken, spoilt: broken, wrong: anSBOM, image: true, exists: true,
		}, {
			name: "promotion", require: "promotion: {by: [BY], to: production}", by: promoter, whose: "promoter", other: release, kind: predicate.TypePromotion,
			good: promotion, bad: broken, spoilt: broken, wrong: anSBOM, image: true, ageless: "an image is promoted once",
		}, {
			name: "acceptSummary", is: "vulnerabilities", require: "vulnerabilities: {by: [release], maxAge: 168h, max: {critical: 0}}",
			accept: "acceptSummary: {by: [BY], verifierID: \"https://acme.example/promoter\", insteadOf: [vulnerabilities], maxAge: 168h}",
			by:     promoter, whose: "promoter", other: release, kind: predicate.TypeSummary, good: passedVSA, bad: failedVSA, spoilt: broken, wrong: anSBOM, image: true,
		}, {
			name: "custom", by: ci, whose: "ci", other: otherJob, kind: reviewType, good: reviewed, bad: rejected, spoilt: twofold, wrong: anSBOM,
			require: `custom: [{predicateType: "` + reviewType + `", by: [BY], rules: [{cel: "predicate.approved == true", message: "not reviewed"}]}]`,
			ageless: "rules tell of an age, with verifiedTime, and no maxAge",
		},
	}
}

// result is the name under which verdicts tell of it.
func (r row) result() string {
	if r.is != "" {
		return r.is
	}
	return r.name
}
