package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/spf13/pflag"

	"github.com/pratique-dev/pratique/internal/registry"
	"github.com/pratique-dev/pratique/pkg/policy"
	"github.com/pratique-dev/pratique/pkg/promote"
	"github.com/pratique-dev/pratique/pkg/verify"
)

// attestTimeout bounds the making and keeping of one paper: a bill of materials of 64 MiB goes up in that time over a line of a megabyte a second.
const attestTimeout = 5 * time.Minute

// signFlags are the flags of what makes a paper.
type signFlags struct {
	verifyFlags // of these, how registries are spoken to, and -o
	key         string
	stamps      string
	elsewhere   string
}

func (f *signFlags) bind(flags *pflag.FlagSet) {
	f.namespace, f.unmatched = "default", "Allow" // which nobody asks here
	flags.StringVarP(&f.output, "output", "o", "text", "text or json")
	flags.StringVar(&f.key, "key", "", "`FILE` of the private key, as cosign generate-key-pair writes it; its password is $COSIGN_PASSWORD, which may be empty, else asked for at the terminal")
	flags.StringVar(&f.stamps, "timestamp-server", "", "`URL` of a timestamp authority (RFC 3161) that sees the signature, so that others than the signer tell when it was made")
	flags.StringVar(&f.elsewhere, "repository", "", "`REPOSITORY` where the paper is kept, as an authority's repository says (default: beside the image)")
	f.bindRegistries(flags)
}

// signing is what papers are made with, about one image.
type signing struct {
	image     name.Digest
	elsewhere name.Repository // the zero Repository: beside the image
	shell     shell
	reader    registry.Reader
	pem       []byte
	stamps    *promote.TimestampServer
	plainHTTP []string
}

// open reads what the flags name, and looks whether the image is there. Nothing is asked of people, and nothing written.
func (f *signFlags) open(ctx context.Context, written string) (*signing, error) {
	if _, err := f.check(); err != nil {
		return nil, err
	}
	if f.key == "" {
		return nil, wrong("--key is needed: the FILE of a private key; cosign generate-key-pair makes one")
	}
	ref, err := policy.ParseReference(written)
	if err != nil {
		return nil, wrong("%.160q: %w", written, err)
	}
	s := &signing{plainHTTP: f.plainHTTP}
	if s.elsewhere, err = papersRepository(f.elsewhere); err != nil {
		return nil, err
	}
	if s.pem, err = readInput(f.key); err != nil {
		return nil, wrong("--key: %w", err)
	}
	if f.stamps != "" {
		if s.stamps, err = promote.NewTimestampServer(f.stamps, nil); err != nil {
			return nil, wrong("--timestamp-server: %w", err)
		}
	}
	if s.shell, err = f.shell(func(string) bool { return true }); err != nil { // whoever runs this names the host
		return nil, err
	}
	if s.reader, err = s.shell.client.Open(ctx, s.shell.creds, ref.Repository()); err != nil {
		return nil, unreached(err)
	}
	return s, s.target(ctx, ref)
}

// target says which image is meant, by digest. A tag is none: what it stands for may be another image by the time that this one is signed.
func (s *signing) target(ctx context.Context, ref policy.Reference) error {
	if ref.ByTag() {
		digest, err := s.reader.Resolve(ctx, ref.Repository().Tag(ref.Tag()))
		if err != nil {
			return wrong("%s is a tag, which may move, and a paper is about a digest: give IMAGE@sha256:... (which it is now can't be told: %w)", ref.Repository().Tag(ref.Tag()), err)
		}
		return wrong("%s is a tag, which may move, and a paper is about a digest; now it is\n  %s", ref.Repository().Tag(ref.Tag()), digest)
	}
	h, _ := ref.Digest()
	s.image = ref.Repository().Digest(h.String())
	err := s.reader.Present(ctx, s.image)
	var failed *verify.FetchError
	if errors.As(err, &failed) && failed.Kind == verify.NotFound {
		return wrong("there is no image %s: %w", s.image, err)
	}
	if err != nil {
		return unreached(err)
	}
	return nil
}

// papersRepository reads where papers are kept, as policies write it.
func papersRepository(written string) (name.Repository, error) {
	if written == "" {
		return name.Repository{}, nil
	}
	r, err := name.NewRepository(written, name.StrictValidation)
	if err != nil {
		return r, wrong("--repository: %.160q is no repository with its host written out, such as registry.example.com/papers", written)
	}
	return r, nil
}

// unreached ends the program where a registry didn't do what was wanted, with a flag that may help.
func unreached(err error) error {
	var failed *verify.FetchError
	cure := ""
	if errors.As(err, &failed) {
		switch {
		case failed.Kind == verify.Forbidden, strings.Contains(err.Error(), http.ErrSchemeMismatch.Error()):
			cure = "\nnote: " + fmt.Sprintf(curePlainHTTP, failed.Host, failed.Host)
		case failed.Kind == verify.Unauthorized:
			cure = "\nnote: " + fmt.Sprintf(cureCredentials, failed.Host, failed.Host)
		}
	}
	return &exitError{code: exitUndetermined, err: fmt.Errorf("%w%s", err, cure)}
}

// attestor reads the key, for which it may ask at the terminal, and opens where papers are kept.
func (s *signing) attestor(ctx context.Context, notes io.Writer) (promote.Attestor, error) {
	key, err := promote.ParseSigningKey(s.pem, func() ([]byte, error) { return password(ctx, notes) })
	clear(s.pem)
	if err != nil {
		return promote.Attestor{}, wrong("--key: %w", err)
	}
	writer, err := s.shell.client.Writer(s.shell.creds, s.kept())
	if err != nil {
		return promote.Attestor{}, unreached(err)
	}
	return promote.Attestor{Key: key, Store: store{writer, s.kept()}, Stamps: s.stamps}, nil
}

// kept is the repository where papers of the image are kept.
func (s *signing) kept() name.Repository {
	if s.elsewhere != (name.Repository{}) {
		return s.elsewhere
	}
	return s.image.Repository
}

// store keeps papers in a registry.
type store struct {
	writer *registry.Writer
	at     name.Repository
}

// Attach implements promote.Store.
func (s store) Attach(ctx context.Context, image name.Digest, b promote.Bundle) (name.Digest, error) {
	h, err := s.writer.Attach(ctx, image, registry.Bundle(b.JSON, b.PredicateType, time.Now()))
	if err != nil {
		return name.Digest{}, err
	}
	return s.at.Digest(h.String()), nil
}

// made is a paper that was made, for programs.
type made struct {
	Image         string     `json:"image"`
	Subjects      []string   `json:"subjects"`
	PredicateType string     `json:"predicateType"`
	Key           string     `json:"key"`
	Paper         string     `json:"paper"`
	Stamped       *time.Time `json:"stamped,omitempty"`
	// Of an approval alone.
	Environment string      `json:"environment,omitempty"`
	ApprovedAt  *time.Time  `json:"approvedAt,omitempty"`
	Before      []time.Time `json:"before,omitempty"` // approvals of the same by the same key that were there
}

// attest makes a paper. Subjects are those beside the image.
func (s *signing) attest(ctx context.Context, a promote.Attestor, predicateType string, text []byte, subjects ...name.Digest) (made, error) {
	all := append([]name.Digest{s.image}, subjects...)
	paper, err := a.Attest(ctx, s.image, promote.Statement{Subjects: all, PredicateType: predicateType, Predicate: text})
	if err != nil {
		return made{}, unreached(err)
	}
	out := made{Image: s.image.String(), PredicateType: predicateType, Key: a.Key.Public().Fingerprint().String(), Paper: paper.At.String()}
	for _, subject := range all {
		out.Subjects = append(out.Subjects, subject.DigestStr())
	}
	if !paper.Stamped.IsZero() {
		out.Stamped = &paper.Stamped
	}
	return out, nil
}

// lines tells people what was made, and by which command it is looked at.
func (s *signing) lines(what, program string, m made) string {
	text := fmt.Sprintf("%s\n  by key %s, kept as %s\n", what, m.Key, m.Paper)
	if m.Stamped != nil {
		text = fmt.Sprintf("%s\n  by key %s at %s, kept as %s\n", what, m.Key, m.Stamped.Format(time.RFC3339), m.Paper)
	}
	text += fmt.Sprintf("  check: %s verify --explain -f POLICY.yaml", program)
	for _, host := range s.plainHTTP {
		text += " --plain-http " + host
	}
	return text + " " + m.Image + "  # or, by the policies of the cluster: -n NAMESPACE\n"
}
