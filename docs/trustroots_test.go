package docs_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	sgroot "github.com/sigstore/sigstore-go/pkg/root"

	"github.com/pratique-dev/pratique/api/v1alpha1"
	"github.com/pratique-dev/pratique/internal/compile"
	"github.com/pratique-dev/pratique/internal/trust"
)

func TestTrustRootsAreDescribed(t *testing.T) {
	t.Parallel()
	p := readPage(t, "docs/trust-roots.md")
	never := func(string) bool { return false }
	sameLists(t, "docs/trust-roots.md, Every field", column(t, p.section(t, "Every field"), "field"),
		slices.DeleteFunc(append(fieldsOf(reflect.TypeFor[v1alpha1.TrustRootSpec](), "", never), "sources", "sources[].public"), func(field string) bool { return field == "" }))
	conditions := func(path string) bool { return path == "conditions" }
	status := p.section(t, "Status")
	sameLists(t, "docs/trust-roots.md, Status", column(t, status, "field of `status`"), fieldsOf(reflect.TypeFor[v1alpha1.TrustRootStatus](), "", conditions))
	fresh := []string{compile.ReasonAllRead, compile.ReasonNotReadAgain}
	sameLists(t, "docs/trust-roots.md, reasons of Fresh", column(t, status, "reason of `Fresh`"), slices.Clone(fresh))
	own := slices.DeleteFunc(constants(t, "internal/compile/trust_status.go", "Reason"), func(reason string) bool { return slices.Contains(fresh, reason) })
	sameLists(t, "docs/trust-roots.md, reasons of Ready", column(t, status, "reason of `Ready`"),
		append(own, compile.ReasonCompiled, compile.ReasonInvalidField, compile.ReasonInternalError))
}

// TestTheEmbeddedRootIsThatOfThePage: what it has, and how old it is.
func TestTheEmbeddedRootIsThatOfThePage(t *testing.T) {
	t.Parallel()
	section := readPage(t, "docs/trust-roots.md").section(t, "The default")
	if want := "was in force on " + trust.PublicGoodDate().Format(time.DateOnly); !strings.Contains(strings.Join(section.lines, "\n"), want) {
		t.Errorf("docs/trust-roots.md doesn't say %q", want)
	}
	text, err := sgroot.NewTrustedRootFromJSON(trust.PublicGood())
	if err != nil {
		t.Fatal(err)
	}
	var have []string
	add := func(url string, from, to time.Time) {
		row := strings.TrimSuffix(strings.TrimPrefix(url, "https://"), "/api/v1/timestamp") + " " + from.Format(time.DateOnly)
		if !to.IsZero() {
			row += " " + to.Format(time.DateOnly)
		}
		have = append(have, row)
	}
	for _, a := range text.FulcioCertificateAuthorities() {
		if f, ok := a.(*sgroot.FulcioCertificateAuthority); ok {
			add(f.URI, f.ValidityPeriodStart, f.ValidityPeriodEnd)
		}
	}
	for _, logs := range []map[string]*sgroot.TransparencyLog{text.RekorLogs(), text.CTLogs()} {
		for _, l := range logs {
			add(l.BaseURL, l.ValidityPeriodStart, l.ValidityPeriodEnd)
		}
	}
	for _, a := range text.TimestampingAuthorities() {
		if s, ok := a.(*sgroot.SigstoreTimestampingAuthority); ok {
			add(s.URI, s.ValidityPeriodStart, s.ValidityPeriodEnd)
		}
	}
	var listed []string
	for _, row := range section.rows(t, "in it") {
		listed = append(listed, strings.TrimSpace(strings.Join([]string{codes(row[0])[0], row[1], row[2]}, " ")))
	}
	sameLists(t, "docs/trust-roots.md, The default", listed, have)
}
