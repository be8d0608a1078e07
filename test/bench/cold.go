package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/pratique-dev/pratique/internal/registry"
	"github.com/pratique-dev/pratique/pkg/admission"
	"github.com/pratique-dev/pratique/test/evilregistry"
	"github.com/pratique-dev/pratique/test/evilregistry/papers"
)

// registryDelay is how long the registry takes for each request: what one in another region takes.
const registryDelay = 50 * time.Millisecond

// layout is a way in which a signature lies in a registry.
type layout struct {
	name string
	// promised is how many requests one after another its verification by digest may take; by tag, one more.
	promised int
	options  []evilregistry.Option
	sign     func(testing.TB, name.Digest, papers.Key, ...papers.Option) papers.Paper
}

// layouts are those that cosign writes.
func layouts() []layout {
	return []layout{
		{"legacy .sig", 2, nil, papers.SignLegacy},
		{"bundle, referrers", 3, nil, papers.SignBundle},
		{"bundle, fallback tag", 4, []evilregistry.Option{evilregistry.WithReferrersAPI(false)}, papers.SignBundle},
	}
}

// coldStart is a registry, an engine that knows one of its repositories, and nothing of the images in it.
type coldStart struct {
	layout   layout
	registry *evilregistry.Registry
	engine   *admission.Evaluator
	key      papers.Key
	pushed   uint64
}

// coldResult is one verification.
type coldResult struct {
	serial   int           // requests that waited for one another
	requests int           // all requests
	wall     time.Duration // until the decision
}

// newColdStart starts a registry that wants a login, and verifies one image with it. The caller closes it.
func newColdStart(ctx context.Context, tb testing.TB, l layout) (*coldStart, error) {
	reg, err := evilregistry.Start(append([]evilregistry.Option{evilregistry.WithTokenAuth(map[string]string{"ann": "secret"})}, l.options...)...)
	if err != nil {
		return nil, err
	}
	c := &coldStart{layout: l, registry: reg, key: papers.NewKey(tb, papers.P256)}
	creds, err := registry.ParseDockerConfig(fmt.Appendf(nil, `{"auths":{%q:{"username":"ann","password":"secret"}}}`, reg.Host()))
	if err == nil {
		c.engine, err = evaluator(ctx, policyOf(reg.Host(), c.key.PublicPEM), reg.Host(), creds)
	}
	if err == nil {
		_, err = c.measure(ctx, tb, false) // so that the repository is known
	}
	if err != nil {
		reg.Close()
		return nil, err
	}
	return c, nil
}

// measure verifies an image that was never seen.
func (c *coldStart) measure(ctx context.Context, tb testing.TB, byTag bool) (coldResult, error) {
	c.pushed++
	tag := fmt.Sprintf("v%d", c.pushed)
	image := c.registry.Push(tb, "team/app:"+tag, evilregistry.RandomImage(c.pushed))
	c.layout.sign(tb, image, c.key, papers.Via(c.registry.Options()...))
	written := image.String()
	if byTag {
		written = image.Context().Tag(tag).String()
	}
	c.registry.Reset()
	begin := time.Now()
	d := c.engine.Decide(ctx, admission.Query{Namespace: namespace, Images: []admission.Image{
		{List: admission.Containers, Name: "app", Reference: written},
	}})
	wall := time.Since(begin)
	if !d.Allowed() {
		return coldResult{}, fmt.Errorf("%s: %s", c.layout.name, d.Message())
	}
	if n := c.registry.Count(evilregistry.Login); n > 0 && c.pushed > 1 {
		return coldResult{}, fmt.Errorf("%s: %d logins to a repository that is known", c.layout.name, n)
	}
	return coldResult{serial: c.registry.SerialDepth(), requests: c.registry.Count(0), wall: wall}, nil
}

// cold tells about every layout, by digest and by tag.
func cold(ctx context.Context, s settings, out io.Writer) (err error) {
	defer guard(&err)
	fmt.Fprintf(out, "\ncold: one signature, the registry answering after %s, the repository known\n", registryDelay)
	fmt.Fprintf(out, "  %-20s %-7s %6s %8s %8s %9s %6s\n", "layout", "by", "serial", "promised", "requests", "wall", "ratio")
	for _, l := range layouts() {
		c, err := newColdStart(ctx, maker{}, l)
		if err != nil {
			return err
		}
		c.registry.SetDelay(registryDelay)
		for _, byTag := range []bool{false, true} {
			if err := c.tell(ctx, s, out, byTag); err != nil {
				c.registry.Close()
				return err
			}
		}
		c.registry.Close()
	}
	fmt.Fprintln(out, "  ratio: wall to serial x delay, at most 1.15")
	return nil
}

func (c *coldStart) tell(ctx context.Context, s settings, out io.Writer, byTag bool) error {
	var serial, requests []int
	var walls []time.Duration
	for range s.rounds {
		r, err := c.measure(ctx, maker{}, byTag)
		if err != nil {
			return err
		}
		serial, requests, walls = append(serial, r.serial), append(requests, r.requests), append(walls, r.wall)
	}
	by, promised := "digest", c.layout.promised
	if byTag {
		by, promised = "tag", promised+1
	}
	wall, depth := median(walls), median(serial)
	fmt.Fprintf(out, "  %-20s %-7s %6d %8d %8d %9s %6.2f\n", c.layout.name, by, depth, promised, median(requests), round(wall),
		float64(wall)/float64(time.Duration(depth)*registryDelay))
	return nil
}

// journal lists the requests of the last measurement.
func (c *coldStart) journal() string {
	var b strings.Builder
	requests := c.registry.Requests()
	for _, r := range requests {
		from := r.Start.Sub(requests[0].Start)
		fmt.Fprintf(&b, "  %8s to %8s  %d %s %s\n", round(from), round(from+r.End.Sub(r.Start)), r.Status, r.Method, r.Path)
	}
	return b.String()
}
