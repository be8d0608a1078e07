package predicate

import (
	"errors"
	"time"
)

// What follows is replaced, type by type, by files of their own.

type pending struct{}

func (pending) Time() time.Time { return time.Time{} }
func (pending) Size() int64     { return 0 }
func (pending) facts()          {}

var errPending = errors.New("no reader yet")

// SBOM (sbom.go)
type SBOM struct{ pending }

func readSPDX([]byte) (*SBOM, error)      { return nil, errPending }
func readCycloneDX([]byte) (*SBOM, error) { return nil, errPending }

// Scan (scan.go), VEX (vex.go)
type Scan struct{ pending }
type VEX struct{ pending }

func readCosignVuln([]byte) (*Scan, error)  { return nil, errPending }
func readInTotoVulns([]byte) (*Scan, error) { return nil, errPending }
func readSARIF([]byte) (*Scan, error)       { return nil, errPending }
func readOpenVEX([]byte) (*VEX, error)      { return nil, errPending }

// Provenance, TestResult, Summary, Approval, Promotion
type Provenance struct{ pending }
type TestResult struct{ pending }
type Summary struct{ pending }
type Approval struct{ pending }
type Promotion struct{ pending }

func readProvenance02([]byte) (*Provenance, error) { return nil, errPending }
func readProvenance1([]byte) (*Provenance, error)  { return nil, errPending }
func readTestResult([]byte) (*TestResult, error)   { return nil, errPending }
func readSummary([]byte) (*Summary, error)         { return nil, errPending }
func readApproval([]byte) (*Approval, error)       { return nil, errPending }
func readPromotion([]byte) (*Promotion, error)     { return nil, errPending }
