package predicate

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unsafe"
)

// Bounds of a promotion; docs/schemas has the same.
const (
	// maxRepository bounds host/path, in bytes: a host may have 253, a path 255, a port 6.
	maxRepository = 514
	// maxPromotionPolicies bounds the policies that one says it was judged by: a namespace has a few.
	maxPromotionPolicies = 256
	// maxPolicyName bounds namespace/name, in bytes: as long as Kubernetes lets them be.
	maxPolicyName = 317
)

// Stage is where an image is: in a repository, and so maybe in an environment.
type Stage struct {
	// Repository is host/path, the host by its name in the policy: docker.io for Docker Hub.
	Repository string
	// Environment may be empty where the image comes from.
	Environment string
}

// PolicyDigest names a policy that was asked, and what it asked for: "sha256:" and hex, as in the policy's status.
type PolicyDigest struct {
	Name   string `json:"name"`
	Digest string `json:"digest"`
}

// Promotion says that an image was promoted: https://pratique.dev/attestation/promotion/v1, whose schema is docs/schemas/promotion-v1.json.
//
//	{"from": {"repository": "registry.example.com/staging/api"}, "to": {"repository": "registry.example.com/production/api",
//	 "environment": "production"}, "promotedAt": "2026-03-01T09:30:00Z", "policies": [{"name": "payments/production", "digest": "sha256:..."}]}
//
// As it names the environment and the repository that it is for, it is worth nothing in another (security.md row 79). It is ours: a name that
// isn't known is an error.
type Promotion struct {
	from, to Stage
	at       time.Time
	policies []PolicyDigest
}

// From is where the image was.
func (p *Promotion) From() Stage { return p.from }

// To is where it may run; neither field is empty.
func (p *Promotion) To() Stage { return p.to }

// Policies are those that it was judged by, if it says so.
func (p *Promotion) Policies() []PolicyDigest { return slices.Clone(p.policies) }

// Time implements Facts: when it was promoted. It isn't zero.
func (p *Promotion) Time() time.Time { return p.at }

// Size implements Facts.
func (p *Promotion) Size() int64 {
	n := int64(unsafe.Sizeof(*p)) + int64(len(p.from.Repository)+len(p.from.Environment)+len(p.to.Repository)+len(p.to.Environment))
	for _, d := range p.policies {
		n += int64(unsafe.Sizeof(d)) + int64(len(d.Name)+len(d.Digest))
	}
	return n
}

func (p *Promotion) facts() {}

// stageText is how a stage is written.
type stageText struct {
	Repository  string `json:"repository"`
	Environment string `json:"environment,omitempty"`
}

// NewPromotion writes a promotion. The policies may be none; the time is written to the second, in UTC. An error names the field that
// would not be read.
func NewPromotion(from, to Stage, at time.Time, policies []PolicyDigest) ([]byte, error) {
	text, err := write(struct {
		From       stageText      `json:"from"`
		To         stageText      `json:"to"`
		PromotedAt string         `json:"promotedAt"`
		Policies   []PolicyDigest `json:"policies,omitempty"`
	}{stageText(from), stageText(to), timeText(at), policies})
	if err != nil {
		return nil, err
	}
	_, err = readPromotion(text)
	return text, err
}

func readPromotion(text []byte) (*Promotion, error) {
	p := &Promotion{}
	err := read(text, func(s *scanner) error {
		return s.strict([]string{"from", "to", "promotedAt"}, names{
			"from":       func() error { return s.stage(&p.from, "repository") },
			"to":         func() error { return s.stage(&p.to, "repository", "environment") },
			"promotedAt": func() error { return s.exactTime(&p.at) },
			"policies": func() error {
				return s.list(func() error {
					if len(p.policies) == maxPromotionPolicies {
						return fmt.Errorf("more than %d policies", maxPromotionPolicies)
					}
					d, err := s.policyDigest()
					p.policies = append(p.policies, d)
					return err
				})
			},
		})
	})
	if err != nil {
		return nil, err
	}
	p.policies = slices.Clip(p.policies)
	return p, nil
}

func (s *scanner) stage(to *Stage, required ...string) error {
	return s.strict(required, names{
		"repository": func() error {
			return s.shaped(&to.Repository, repositoryText, maxRepository, "host/path of a repository, without tag")
		},
		"environment": func() error { return s.environment(&to.Environment) },
	})
}

func (s *scanner) policyDigest() (d PolicyDigest, err error) {
	err = s.strict([]string{"name", "digest"}, names{
		"name": func() error { return s.shaped(&d.Name, policyName, maxPolicyName, "the name of a policy") },
		"digest": func() error {
			return s.shaped(&d.Digest, policyDigest, len("sha256:")+64, "sha256: and 64 hex digits")
		},
	})
	return d, err
}

// shaped reads a text of one shape, of at most so many bytes.
func (s *scanner) shaped(to *string, pattern *regexp.Regexp, most int, want string) error {
	if err := s.text(to); err != nil {
		return err
	}
	if len(*to) > most || !pattern.MatchString(*to) {
		return fmt.Errorf("%q: want %s", clip(*to), want)
	}
	*to = strings.Clone(*to)
	return nil
}
