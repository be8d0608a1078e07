package trust_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pratique-dev/pratique/internal/trust"
	"github.com/pratique-dev/pratique/internal/trust/trusttest"
)

func TestConfigurationsThatCannotBeUsedNameTheField(t *testing.T) {
	t.Parallel()
	repo := trusttest.New(t, text(0))
	with := func(change func(*trust.MirrorConfig)) trust.MirrorConfig {
		c := trust.MirrorConfig{URL: "https://tuf.example.com/root", Root: repo.Root()}
		change(&c)
		return c
	}
	url := func(u string) trust.MirrorConfig { return with(func(c *trust.MirrorConfig) { c.URL = u }) }
	target := func(n string) trust.MirrorConfig { return with(func(c *trust.MirrorConfig) { c.Target = n }) }
	root := func(r []byte) trust.MirrorConfig { return with(func(c *trust.MirrorConfig) { c.Root = r }) }
	every := func(d time.Duration) trust.MirrorConfig {
		return with(func(c *trust.MirrorConfig) { c.RefreshEvery = d })
	}
	for name, c := range map[string]struct {
		config trust.MirrorConfig
		phrase string // empty: it can be used
	}{
		"as it should be":                 {with(func(*trust.MirrorConfig) {}), ""},
		"no configuration at all":         {trust.MirrorConfig{}, "mirror"},
		"plain http":                      {url("http://tuf.example.com"), "--plain-http"},
		"plain http to a named host":      {url("http://plain.test"), ""},
		"plain http to a named port":      {url("http://ported.test:8080/x"), ""},
		"plain http to another port":      {url("http://ported.test:8081"), "--plain-http"},
		"plain http in capitals":          {url("http://PLAIN.test:99"), ""},
		"another scheme":                  {url("file:///etc/tuf"), "names no host"},
		"another scheme with a host":      {url("ftp://tuf.example.com"), "is not https"},
		"no host":                         {url("https://"), "names no host"},
		"a port without a host":           {url("https://:443"), "names no host"},
		"a user":                          {url("https://me:secret@tuf.example.com"), "without credentials"},
		"a query":                         {url("https://tuf.example.com/?a=b"), "query or a fragment"},
		"an empty query":                  {url("https://tuf.example.com/?"), "query or a fragment"},
		"a fragment":                      {url("https://tuf.example.com/#a"), "query or a fragment"},
		"no URL":                          {url("https://a b"), "not a URL"},
		"a URL without end":               {url("https://a.test/" + strings.Repeat("a", 2048)), "longer than 2048"},
		"a target in a folder":            {target("v1/trusted_root.json"), ""},
		"a target above":                  {target("../root.json"), "relative path"},
		"a target from the top":           {target("/etc/passwd"), "relative path"},
		"a target that is a folder":       {target("a/"), "relative path"},
		"a target with a query":           {target("a?b"), "can't stand"},
		"a target with an escape":         {target("..%2fa"), "can't stand"},
		"a target without end":            {target(strings.Repeat("a", 129)), "longer than 128"},
		"no root":                         {root(nil), "root is missing"},
		"a root without end":              {root(bytes.Repeat([]byte(" "), trust.MaxTUFRoot+1)), "longer than 512000"},
		"a root that is no JSON":          {root([]byte("root")), "not a TUF root.json"},
		"a root that is a trusted root":   {root(text(0)), "not a TUF root.json"},
		"a root changed by hand":          {root(bytes.Replace(repo.Root(), []byte(`"version":1`), []byte(`"version":2`), 1)), "not a TUF root.json"},
		"a root that crashes the parser":  {root([]byte(nullRole)), "the parser failed"},
		"refreshed every second":          {every(time.Second), "refreshEvery"},
		"refreshed every minute":          {every(time.Minute), ""},
		"refreshed never":                 {every(-1), "refreshEvery"},
		"refreshed once a month and more": {every(31 * 24 * time.Hour), "refreshEvery"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := trust.Options{PlainHTTP: []string{"plain.test", "ported.test:8080"}}
			err := c.config.Check(o)
			_, err2 := trust.NewMirror(c.config, o)
			if (err == nil) != (err2 == nil) {
				t.Errorf("Check says %v, NewMirror %v", err, err2)
			}
			if (err == nil) != (c.phrase == "") || err != nil && !strings.Contains(err.Error(), c.phrase) {
				t.Errorf("%v, want %q", err, c.phrase)
			}
		})
	}
}

// nullRole is a root.json whose root role is null, which go-tuf follows as a pointer.
const nullRole = `{"signatures":[],"signed":{"_type":"root","version":1,"spec_version":"1.0.31",
"expires":"2030-01-01T00:00:00Z","consistent_snapshot":true,"keys":{},"roles":{"root":null}}}`

func TestPlainHTTPHostsAreNamedAlone(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"", "http://a.test", "a.test/path", "a.test:", "u@a.test"} {
		o := trust.Options{PlainHTTP: []string{bad}}
		if _, err := trust.NewKeeper(o); err == nil {
			t.Errorf("%q is taken for a host", bad)
		}
		if err := (trust.MirrorConfig{URL: trust.PublicGoodMirror}).Check(o); err == nil {
			t.Errorf("%q is taken for a host", bad)
		}
	}
}

func TestTheKeyIsOfTheMirrorAndNotOfThePeriod(t *testing.T) {
	t.Parallel()
	a := trust.MirrorConfig{URL: "https://a.test", Root: []byte("r")}
	for _, same := range []trust.MirrorConfig{
		{URL: "https://a.test/", Root: []byte("r")},
		{URL: "https://a.test", Root: []byte("r"), Target: trust.DefaultTarget, RefreshEvery: time.Hour},
	} {
		if same.Key() != a.Key() {
			t.Errorf("%+v is another mirror", same)
		}
	}
	for _, other := range []trust.MirrorConfig{
		{URL: "https://b.test", Root: []byte("r")},
		{URL: "https://a.test", Root: []byte("s")},
		{URL: "https://a.testr"},
		{URL: "https://a.test", Root: []byte("r"), Target: "other.json"},
	} {
		if other.Key() == a.Key() {
			t.Errorf("%+v is the same mirror", other)
		}
	}
	public := trust.MirrorConfig{URL: trust.PublicGoodMirror}
	if said := (trust.MirrorConfig{URL: trust.PublicGoodMirror, Root: trust.PublicGoodTUFRoot()}); said.Key() != public.Key() {
		t.Error("the public good mirror with its own root said is another mirror")
	}
}

func TestResultsAreClosed(t *testing.T) {
	t.Parallel()
	want := []trust.Result{"updated", "unchanged", "unreachable", "refused"}
	if !slices.Equal(trust.Results(), want) {
		t.Errorf("%v", trust.Results())
	}
}
