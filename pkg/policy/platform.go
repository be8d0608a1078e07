package policy

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/pratique-dev/pratique/pkg/verify"
)

// Platform selects children of an index: os/architecture, whatever the variant, or os/architecture/variant and what a node of that
// falls back to. The zero Platform selects none.
type Platform struct {
	want verify.Platform
	// every says that no variant was named.
	every bool
}

var platformText = regexp.MustCompile(`^[a-z0-9]{1,32}/[a-z0-9_-]{1,32}(/[a-z0-9.]{1,32})?$`)

// ParsePlatform reads os/architecture[/variant], such as linux/amd64 or linux/arm/v7.
func ParsePlatform(s string) (Platform, error) {
	if !platformText.MatchString(s) {
		return Platform{}, fmt.Errorf("%.64q: want os/architecture[/variant], for instance linux/amd64", s)
	}
	parts := append(strings.Split(s, "/"), "")
	p := Platform{want: verify.NewPlatform(parts[0], parts[1], parts[2]), every: len(parts) == 3}
	if !p.want.Told() {
		return Platform{}, fmt.Errorf("%.64q: no image says that of itself to run there", s)
	}
	return p, nil
}

// String returns the platform in its one spelling.
func (p Platform) String() string {
	if p.every {
		return p.want.OS + "/" + p.want.Architecture
	}
	return p.want.String()
}

// Selects tells whether the platform selects a child: one that a node of the platform runs, be it because the index has none that fits
// better. Container runtimes fall back from amd64 to 386, from arm64 to arm, and from a variant to lower ones (containerd's
// platforms.Only); else whoever makes the index would leave out the platform that nodes have and put what is not looked at in its
// place.
func (p Platform) Selects(c verify.Platform) bool {
	switch {
	case p.want == (verify.Platform{}) || c.OS != p.want.OS:
		return false
	case c.Architecture == p.want.Architecture:
		return p.every || c == p.want || lower(c.Variant, p.want.Variant)
	}
	return p.want.Architecture == "amd64" && c.Architecture == "386" || p.want.Architecture == "arm64" && c.Architecture == "arm"
}

// lower tells whether a variant is one that a node of another falls back to. One that is no number may be.
func lower(variant, than string) bool {
	number := func(s string) (float64, bool) {
		if s == "" {
			return 0, true // the lowest that the architecture has
		}
		n, err := strconv.ParseFloat(strings.TrimPrefix(s, "v"), 64)
		return n, err == nil
	}
	a, aKnown := number(variant)
	b, bKnown := number(than)
	return !aKnown || !bKnown || a <= b
}

// selected returns the children that must have papers: those of the policy's platforms, all where it names none. A child that doesn't
// say where it runs may run anywhere, and so is always among them.
func (p *Policy) selected(children []verify.Child) []verify.Child {
	if len(p.Platforms) == 0 {
		return children
	}
	var out []verify.Child
	for _, c := range children {
		take := !c.Platform.Told()
		for _, want := range p.Platforms {
			take = take || want.Selects(c.Platform)
		}
		if take {
			out = append(out, c)
		}
	}
	return out
}
