package policy

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/pratique-dev/pratique/pkg/verify"
)

// Platform selects children of an index: os/architecture, whatever the variant, or os/architecture/variant. The zero Platform selects
// none.
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

// Selects tells whether the platform selects a child.
func (p Platform) Selects(c verify.Platform) bool {
	if p.want == (verify.Platform{}) {
		return false
	}
	if p.every {
		c.Variant = p.want.Variant
	}
	return c == p.want
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
