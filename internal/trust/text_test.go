package trust_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/pratique-dev/pratique/internal/trust"
)

func TestTextsThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	const head = `{"mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1"`
	for name, c := range map[string]struct{ text, phrase string }{
		"the public good root":               {string(trust.PublicGood()), ""},
		"as long as it may be":               {string(trust.PublicGood()) + strings.Repeat(" ", trust.MaxTrustedRoot-len(trust.PublicGood())), ""},
		"one byte more":                      {string(trust.PublicGood()) + strings.Repeat(" ", trust.MaxTrustedRoot-len(trust.PublicGood())+1), "longer than 262144 bytes"},
		"nothing":                            {"", "can't be read"},
		"a list":                             {"[]", "can't be read"},
		"nobody named":                       {head + `}`, "names no certificate authority"},
		"a CT log alone":                     {onlyCT(t), "names no certificate authority"},
		"a log without a key":                {head + `, "tlogs": [{"hashAlgorithm": "SHA2_256", "logId": {"keyId": "AA=="}}]}`, "can't be read"},
		"a certificate that is none":         {head + `, "certificateAuthorities": [{"certChain": {"certificates": [{"rawBytes": "AAAA"}]}}]}`, "can't be read"},
		"an authority with no certificates":  {head + `, "certificateAuthorities": [{}]}`, "can't be read"},
		"a timestamp authority without them": {head + `, "timestampAuthorities": [{}]}`, "can't be read"},
		"nulls":                              {head + `, "tlogs": [null]}`, "can't be read"},
		"nesting without end":                {strings.Repeat(`{"tlogs":[`, 20000), "can't be read"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := trust.CheckText([]byte(c.text))
			if (err == nil) != (c.phrase == "") || err != nil && !strings.Contains(err.Error(), c.phrase) {
				t.Errorf("%v, want %q", err, c.phrase)
			}
		})
	}
}

// onlyCT is the public good root with nothing but its CT logs.
func onlyCT(t *testing.T) string {
	t.Helper()
	all := trust.PublicGood()
	i := bytes.Index(all, []byte(`"ctlogs"`))
	j := bytes.Index(all, []byte(`"timestampAuthorities"`))
	if i < 0 || j < i {
		t.Fatal("the public good root is laid out otherwise")
	}
	ct := strings.TrimRight(strings.TrimSpace(string(all[i:j])), ",")
	return `{"mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1", ` + ct + `}`
}
