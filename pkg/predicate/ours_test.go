package predicate_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"

	"github.com/pratique-dev/pratique/pkg/predicate"
)

const (
	approval = `{"environment":"production","approvedAt":"2026-03-01T09:30:00Z","reason":"smoke tests looked at by hand","ticket":"CHG-4711"}`
	promoted = `{"from":{"repository":"registry.example.com/staging/api","environment":"staging"},` +
		`"to":{"repository":"registry.example.com/production/api","environment":"production"},` +
		`"promotedAt":"2026-03-01T09:30:00Z","policies":[{"name":"payments/production","digest":"sha256:` + hex64 + `"}]}`
	hex64 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
)

func moment() time.Time { return time.Date(2026, 3, 1, 9, 30, 0, 0, time.UTC) }

func TestApprovalFactsOfWhatIsWritten(t *testing.T) {
	t.Parallel()
	text, err := predicate.NewApproval("production", moment().In(time.FixedZone("", 3600)).Add(time.Millisecond), "smoke tests looked at by hand", "CHG-4711")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(approval, string(text)); diff != "" {
		t.Errorf("written (-want +got):\n%s", diff)
	}
	a := readAs[*predicate.Approval](t, predicate.TypeApproval, approval)
	if a.Environment() != "production" || a.Reason() != "smoke tests looked at by hand" || a.Ticket() != "CHG-4711" || !a.Time().Equal(moment()) {
		t.Errorf("%+v", a)
	}
	least, err := predicate.NewApproval("<b>&", moment(), "", "")
	if want := `{"environment":"<b>&","approvedAt":"2026-03-01T09:30:00Z"}`; err != nil || string(least) != want {
		t.Errorf("%s, %v, want %s", least, err, want)
	}
}

func TestApprovalThatCouldNotBeReadIsNotWritten(t *testing.T) {
	t.Parallel()
	for what, tc := range map[string]struct {
		environment string
		at          time.Time
		reason      string
		ticket      string
		why         string
	}{
		"no environment":           {"", moment(), "", "", "environment"},
		"a blank behind it":        {"production ", moment(), "", "", "environment"},
		"an environment not ASCII": {"pr\u043eduction", moment(), "", "", "environment"},
		"no time":                  {"production", time.Time{}, "", "", "approvedAt"},
		"a reason of a book":       {"production", moment(), strings.Repeat("a", 2049), "", "reason"},
		"a ticket of a page":       {"production", moment(), "", strings.Repeat("a", 513), "ticket"},
	} {
		if text, err := predicate.NewApproval(tc.environment, tc.at, tc.reason, tc.ticket); err == nil || !strings.Contains(err.Error(), tc.why) {
			t.Errorf("%s: %s, %v, want an error about %s", what, text, err, tc.why)
		}
	}
}

func TestPromotionFactsOfWhatIsWritten(t *testing.T) {
	t.Parallel()
	from := predicate.Stage{Repository: "registry.example.com/staging/api", Environment: "staging"}
	to := predicate.Stage{Repository: "registry.example.com/production/api", Environment: "production"}
	by := []predicate.PolicyDigest{{Name: "payments/production", Digest: "sha256:" + hex64}}
	text, err := predicate.NewPromotion(from, to, moment(), by)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(promoted, string(text)); diff != "" {
		t.Errorf("written (-want +got):\n%s", diff)
	}
	p := readAs[*predicate.Promotion](t, predicate.TypePromotion, promoted)
	if p.From() != from || p.To() != to || !p.Time().Equal(moment()) || !cmp.Equal(p.Policies(), by) {
		t.Errorf("%+v", p)
	}
	if _, err := predicate.NewPromotion(predicate.Stage{Repository: "localhost:5000/a"}, to, moment(), nil); err != nil {
		t.Error(err)
	}
	for what, tc := range map[string]struct {
		from, to predicate.Stage
		at       time.Time
		by       []predicate.PolicyDigest
		why      string
	}{
		"no target environment":   {from, predicate.Stage{Repository: to.Repository}, moment(), nil, "to: environment: missing"},
		"no target repository":    {from, predicate.Stage{Environment: "production"}, moment(), nil, "to.repository"},
		"a repository with a tag": {from, predicate.Stage{Repository: to.Repository + ":1", Environment: "production"}, moment(), nil, "to.repository"},
		"no source":               {predicate.Stage{}, to, moment(), nil, "from.repository"},
		"no time":                 {from, to, time.Time{}, nil, "promotedAt"},
		"a digest without name":   {from, to, moment(), []predicate.PolicyDigest{{Name: "p", Digest: hex64}}, "policies[0].digest"},
	} {
		if text, err := predicate.NewPromotion(tc.from, tc.to, tc.at, tc.by); err == nil || !strings.Contains(err.Error(), tc.why) {
			t.Errorf("%s: %s, %v, want an error about %s", what, text, err, tc.why)
		}
	}
}

// schemaCase is a document and whether it is one of ours.
type schemaCase struct {
	what, text string
	good       bool
}

func approvals() []schemaCase {
	with := func(old, put string) string { return strings.Replace(approval, old, put, 1) }
	return []schemaCase{
		{"all of it", approval, true},
		{"the least", `{"environment":"p","approvedAt":"2026-03-01T09:30:00Z"}`, true},
		{"an offset and a fraction", with("09:30:00Z", "09:30:00.123456789+01:00"), true},
		{"an environment with a blank inside", with(`"production"`, `"EU west"`), true},
		{"empty texts for people", with(`"CHG-4711"`, `""`), true},
		{"nothing", `{}`, false},
		{"null", `null`, false},
		{"a list", `[]`, false},
		{"no environment", `{"approvedAt":"2026-03-01T09:30:00Z"}`, false},
		{"no time", `{"environment":"production"}`, false},
		{"an empty environment", with(`"production"`, `""`), false},
		{"an environment that ends with a blank", with(`"production"`, `"production "`), false},
		{"an environment with a line's end", with(`"production"`, `"production\n"`), false},
		{"an environment over its bound", with(`"production"`, `"`+strings.Repeat("p", 254)+`"`), false},
		{"an environment at its bound", with(`"production"`, `"`+strings.Repeat("p", 253)+`"`), true},
		{"several environments", with(`"production"`, `["production"]`), false},
		{"an unknown name", with(`"ticket"`, `"expiresAt"`), false},
		{"a name in another case", with(`"environment"`, `"Environment"`), false},
		{"a day for a time", with("2026-03-01T09:30:00Z", "2026-03-01"), false},
		{"a time without zone", with("09:30:00Z", "09:30:00"), false},
		{"a time with a comma", with("09:30:00Z", "09:30:00,5Z"), false},
		{"an empty time", with("2026-03-01T09:30:00Z", ""), false},
		{"null for a time", with(`"2026-03-01T09:30:00Z"`, `null`), false},
		{"null for a reason", with(`"smoke tests looked at by hand"`, `null`), false},
		{"a reason of its bound in letters of two bytes", with("smoke tests looked at by hand", strings.Repeat("\u00e4", 2048)), true},
		{"a reason over its bound", with("smoke tests looked at by hand", strings.Repeat("\u00e4", 2049)), false},
		{"a ticket over its bound", with("CHG-4711", strings.Repeat("4", 513)), false},
	}
}

func promotions() []schemaCase {
	with := func(old, put string) string { return strings.Replace(promoted, old, put, 1) }
	policy := `{"name":"payments/production","digest":"sha256:` + hex64 + `"}`
	return []schemaCase{
		{"all of it", promoted, true},
		{"the least", `{"from":{"repository":"a.example/b"},"to":{"repository":"a.example/c","environment":"p"},"promotedAt":"2026-03-01T09:30:00Z"}`, true},
		{"a host with a port", with("registry.example.com/staging", "localhost:5000/staging"), true},
		{"no policies in the list", with(policy, ""), true},
		{"as many policies as the bound", with(policy, policy+strings.Repeat(","+policy, 255)), true},
		{"more policies than the bound", with(policy, policy+strings.Repeat(","+policy, 256)), false},
		{"nothing", `{}`, false},
		{"no target", with(`"to":`, `"at":`), false},
		{"no time", with(`,"promotedAt":"2026-03-01T09:30:00Z"`, ""), false},
		{"a target without environment", with(`,"environment":"production"`, ""), false},
		{"a source without repository", with(`"repository":"registry.example.com/staging/api",`, ""), false},
		{"an unknown name", with(`"policies"`, `"signers"`), false},
		{"an unknown name in the target", with(`"environment":"production"`, `"environment":"production","tag":"1"`), false},
		{"an unknown name in a policy", with(`"name":`, `"mode":"Warn","name":`), false},
		{"a name in another case", with(`"to":`, `"To":`), false},
		{"a repository with a digest", with("production/api", "production/api@sha256:"+hex64), false},
		{"a repository with a tag", with("production/api", "production/api:1.0"), false},
		{"a repository without path", with("registry.example.com/production/api", "registry.example.com"), false},
		{"a repository with a scheme", with("registry.example.com/production", "https://registry.example.com/production"), false},
		{"a repository in capitals", with("production/api", "production/API"), false},
		{"a repository over its bound", with("production/api", strings.Repeat("a", 600)), false},
		{"a policy without digest", with(`,"digest":"sha256:`+hex64+`"`, ""), false},
		{"a policy with half a digest", with(hex64, hex64[:32]), false},
		{"null for policies", with(`[`+policy+`]`, `null`), false},
	}
}

// TestOurSchemasAndReadersAgree holds docs/schemas to what the readers take, for documents on both sides of each of their rules.
func TestOurSchemasAndReadersAgree(t *testing.T) {
	t.Parallel()
	for file, of := range map[string]struct {
		predicateType string
		cases         []schemaCase
	}{
		"approval-v1.json":  {predicate.TypeApproval, approvals()},
		"promotion-v1.json": {predicate.TypePromotion, promotions()},
	} {
		raw, err := os.ReadFile(filepath.Join("..", "..", "docs", "schemas", file))
		if err != nil {
			t.Fatal(err)
		}
		check := schemaOf(t, raw)
		var head struct {
			ID string `json:"$id"`
		}
		if err := json.Unmarshal(raw, &head); err != nil || head.ID != of.predicateType {
			t.Errorf("%s is the schema of %q: want %s", file, head.ID, of.predicateType)
		}
		for _, tc := range of.cases {
			t.Run(file+" "+tc.what, func(t *testing.T) {
				t.Parallel()
				if _, err := predicate.Read(of.predicateType, []byte(tc.text)); (err == nil) != tc.good {
					t.Errorf("the reader says %v of %s", err, tc.text)
				}
				if err := check(tc.text); (err == "") != tc.good {
					t.Errorf("the schema says %q of %s", err, tc.text)
				}
			})
		}
	}
}

// schemaOf reads a JSON schema with the validator of Kubernetes' own.
func schemaOf(t *testing.T, raw []byte) (check func(text string) string) {
	t.Helper()
	var v1 apiextensionsv1.JSONSchemaProps
	if err := json.Unmarshal(raw, &v1); err != nil {
		t.Fatal(err)
	}
	var props apiextensions.JSONSchemaProps
	if err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(&v1, &props, nil); err != nil {
		t.Fatal(err)
	}
	validator, _, err := validation.NewSchemaValidator(&props)
	if err != nil {
		t.Fatal(err)
	}
	return func(text string) string {
		var doc any
		if err := json.Unmarshal([]byte(text), &doc); err != nil {
			return err.Error()
		}
		if doc == nil { // Kubernetes passes a null over
			return "null"
		}
		for _, err := range validation.ValidateCustomResource(nil, doc, validator) {
			return err.Error()
		}
		return ""
	}
}

// ours fuzzes a reader of what is ours: whatever it takes, the predicate has what it must, and names that it doesn't know are refused.
func ours(f *testing.F, predicateType string, cases []schemaCase, whole func(predicate.Facts) bool) {
	for _, tc := range cases {
		f.Add([]byte(tc.text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		facts, err := predicate.Read(predicateType, text)
		if err != nil {
			if strings.Contains(err.Error(), "makes its reader fail") {
				t.Error(err)
			}
			return
		}
		if !whole(facts) || facts.Time().IsZero() {
			t.Errorf("%+v of %q", facts, text)
		}
		var doc map[string]json.RawMessage
		if err := json.Unmarshal(text, &doc); err != nil {
			t.Fatalf("%v: %q", err, text)
		}
		doc["unheardOf"] = json.RawMessage("1")
		more, err := json.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := predicate.Read(predicateType, more); err == nil {
			t.Errorf("an unknown name is taken: %s", more)
		}
	})
}

func FuzzApproval(f *testing.F) {
	ours(f, predicate.TypeApproval, approvals(), func(facts predicate.Facts) bool {
		a, ok := facts.(*predicate.Approval)
		return ok && predicate.CheckEnvironment(a.Environment()) == nil
	})
}

func FuzzPromotion(f *testing.F) {
	ours(f, predicate.TypePromotion, promotions(), func(facts predicate.Facts) bool {
		p, ok := facts.(*predicate.Promotion)
		return ok && predicate.CheckEnvironment(p.To().Environment) == nil && p.To().Repository != "" && p.From().Repository != ""
	})
}
