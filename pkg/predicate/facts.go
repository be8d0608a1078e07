package predicate

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Predicate types, as the tools write them. A star stands for any end: formats put their version there.
const (
	TypeSPDX          = "https://spdx.dev/Document"
	TypeCycloneDX     = "https://cyclonedx.org/bom"
	TypeCosignVuln    = "https://cosign.sigstore.dev/attestation/vuln/v1"
	TypeInTotoVulns01 = "https://in-toto.io/attestation/vulns/v0.1"
	TypeInTotoVulns02 = "https://in-toto.io/attestation/vulns/v0.2"
	TypeProvenance02  = "https://slsa.dev/provenance/v0.2"
	TypeProvenance1   = "https://slsa.dev/provenance/v1"
	TypeTestResult    = "https://in-toto.io/attestation/test-result/v0.1"
	TypeOpenVEX       = "https://openvex.dev/ns"
	TypeSummary       = "https://slsa.dev/verification_summary/v1"
	TypeApproval      = "https://pratique.dev/attestation/approval/v1"
	TypePromotion     = "https://pratique.dev/attestation/promotion/v1"
	// TypeSARIF is a SARIF log as a predicate of its own, by the name of its schema.
	TypeSARIF = "https://json.schemastore.org/sarif-2.1.0.json"
)

// Kind is a kind of paper: what a requirement asks for. Each has a closed list of predicate types.
type Kind uint8

// The kinds.
const (
	KindSBOM Kind = iota + 1
	KindScan
	KindProvenance
	KindTests
	KindVEX
	KindSummary
	KindApproval
	KindPromotion
)

// Types are the predicate types of a kind, as pkg/verify asks for them: the full URI, or what it begins with, followed by a star.
func (k Kind) Types() []string {
	switch k {
	case KindSBOM:
		return []string{TypeSPDX, TypeSPDX + "/*", TypeCycloneDX, TypeCycloneDX + "/*"}
	case KindScan:
		return []string{TypeCosignVuln, TypeInTotoVulns01, TypeInTotoVulns02, TypeSARIF}
	case KindProvenance:
		return []string{TypeProvenance02, TypeProvenance1}
	case KindTests:
		return []string{TypeTestResult}
	case KindVEX:
		return []string{TypeOpenVEX, TypeOpenVEX + "/*"}
	case KindSummary:
		return []string{TypeSummary}
	case KindApproval:
		return []string{TypeApproval}
	case KindPromotion:
		return []string{TypePromotion}
	}
	return nil
}

// Facts is what is kept of a predicate. They aren't changed once read, and are safe to share. The set is closed: *SBOM, *Scan, *Provenance,
// *TestResult, *VEX, *Summary, *Approval, *Promotion and *Whole.
type Facts interface {
	// Time is when the predicate says of itself that what it tells was found out; zero if it doesn't say.
	Time() time.Time
	// Size is about how many bytes they hold on the heap.
	Size() int64

	facts()
}

// errUnknownType says that no reader knows a predicate type.
var errUnknownType = errors.New("no reader knows this predicate type")

// Read reduces a predicate to facts: JSON, of at most 64 MiB, of one of the types that a Kind has. An error says what is wrong with it, and that
// nothing is known of what it tells. It keeps nothing of the bytes.
func Read(predicateType string, predicate []byte) (f Facts, err error) {
	defer func() { // a predicate that makes its reader fail can't be read
		if p := recover(); p != nil {
			f, err = nil, fmt.Errorf("it makes its reader fail: %.96v", p)
		}
	}()
	switch {
	case of(predicateType, TypeSPDX):
		return notNil(readSPDX(predicate))
	case of(predicateType, TypeCycloneDX):
		return notNil(readCycloneDX(predicate))
	case of(predicateType, TypeOpenVEX):
		return notNil(readOpenVEX(predicate))
	}
	switch predicateType {
	case TypeCosignVuln:
		return notNil(readCosignVuln(predicate))
	case TypeInTotoVulns01, TypeInTotoVulns02:
		return notNil(readInTotoVulns(predicate))
	case TypeSARIF:
		return notNil(readSARIF(predicate))
	case TypeProvenance02:
		return notNil(readProvenance02(predicate))
	case TypeProvenance1:
		return notNil(readProvenance1(predicate))
	case TypeTestResult:
		return notNil(readTestResult(predicate))
	case TypeSummary:
		return notNil(readSummary(predicate))
	case TypeApproval:
		return notNil(readApproval(predicate))
	case TypePromotion:
		return notNil(readPromotion(predicate))
	}
	return nil, errUnknownType
}

// of tells whether a type is another, or one of its versions.
func of(predicateType, base string) bool {
	return predicateType == base || strings.HasPrefix(predicateType, base+"/")
}

// notNil turns what a reader returns into Facts, so that none is both nil and without error.
func notNil[T any, P interface {
	*T
	Facts
}](f P, err error) (Facts, error) {
	switch {
	case err != nil:
		return nil, err
	case f == nil:
		return nil, errors.New("its reader found nothing")
	}
	return f, nil
}
