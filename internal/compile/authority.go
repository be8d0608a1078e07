package compile

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/pratique-dev/pratique/api/v1alpha1"
	"github.com/pratique-dev/pratique/pkg/policy"
	"github.com/pratique-dev/pratique/pkg/verify"
)

// resolver finds out who the authorities of one policy are.
type resolver struct {
	materials Materials
	namespace string // where the policy's Secrets and ConfigMaps are
	roots     TrustRoots
	asked     map[string]trusted // by name: each TrustRoot is asked for once
}

// trusted is what a TrustRoot turned out to be.
type trusted struct {
	TrustInForce
	err error
}

// problem is why there is no authority.
type problem struct {
	reason string
	err    error
}

// authority finds out who one authority is, and says so in a report.
func (r *resolver) authority(ctx context.Context, a *v1alpha1.Authority) (AuthorityReport, verify.Authority) {
	report := AuthorityReport{Name: a.Name}
	terms, bad := r.terms(ctx, a, &report)
	var who verify.Authority
	if bad == nil {
		switch {
		case a.Keyless != nil:
			who, bad = keyless(a, terms)
		case a.Certificate != nil:
			who, bad = certificate(a, terms)
		default:
			who, bad = r.key(ctx, a, terms, &report)
		}
	}
	if bad != nil {
		report.Reason, report.Problem = bad.reason, line(bad.err.Error(), maxProblem)
		return report, verify.Authority{}
	}
	report.resolved(who)
	return report, who
}

// terms reads what must come with the authority's signatures, and from where.
func (r *resolver) terms(ctx context.Context, a *v1alpha1.Authority, report *AuthorityReport) (verify.Terms, *problem) {
	t := verify.Terms{Log: demandOf(a.Log), Timestamp: demandOf(a.Timestamp)}
	if a.Repository != "" {
		repository, err := parseRepository(a.Repository)
		if err != nil {
			return t, &problem{ReasonInvalidField, fmt.Errorf("repository: %w", err)}
		}
		t.Repository = repository
	}
	root, ok := trustRootOf(a)
	if !ok {
		return t, nil
	}
	report.TrustRoot = root
	got, known := r.asked[root]
	if !known {
		got.TrustInForce, got.err = r.roots.TrustRoot(ctx, root)
		if got.err == nil && got.Trust == nil {
			got.err = errNoTrustRoot(root)
		}
		r.asked[root] = got
	}
	if got.err != nil {
		report.TrustRootMissing = true
		return t, &problem{ReasonTrustRootUnavailable, got.err}
	}
	report.TrustRootNote, report.TrustRootKept, t.Trust = got.Note, got.Kept, got.Trust
	report.TrustRootDigest = trustDigest(got.Trust)
	return t, nil
}

func (r *resolver) key(ctx context.Context, a *v1alpha1.Authority, terms verify.Terms, report *AuthorityReport) (verify.Authority, *problem) {
	none := verify.Authority{}
	if a.Key == nil {
		return none, &problem{ReasonInvalidField, errors.New("it is neither key nor keyless nor certificate")}
	}
	text, prefix := []byte(a.Key.Data), ""
	if src, ok := sourceOf(a.Key, r.namespace); ok {
		report.Source, prefix = src.String(), src.String()+": "
		data, err := src.read(ctx, r.materials)
		switch {
		case err != nil && data == nil:
			return none, &problem{ReasonKeyUnavailable, err}
		case err != nil:
			report.NotReadAgain = line(err.Error(), maxProblem)
		}
		text = data
	}
	keys, err := parseKeys(text)
	if err == nil && len(keys) > verify.MaxKeys {
		err = fmt.Errorf("%d keys, at most %d in one authority", len(keys), verify.MaxKeys)
	}
	if err != nil {
		return none, &problem{ReasonInvalidKey, fmt.Errorf("%s%w", prefix, err)}
	}
	who, err := verify.NewKeyAuthority(a.Name, keys, terms)
	if err != nil {
		return none, unfit(report.TrustRoot, a, terms.Trust, err)
	}
	return who, nil
}

func keyless(a *v1alpha1.Authority, terms verify.Terms) (verify.Authority, *problem) {
	root, _ := trustRootOf(a)
	ids := make([]verify.Identity, 0, len(a.Keyless.Identities))
	for i := range a.Keyless.Identities {
		id, err := identityOf(&a.Keyless.Identities[i])
		if err != nil {
			return verify.Authority{}, &problem{ReasonInvalidField, fmt.Errorf("keyless.identities[%d]: %w", i, err)}
		}
		ids = append(ids, id)
	}
	who, err := verify.NewKeylessAuthority(a.Name, terms.Trust, ids, terms)
	if err != nil {
		return verify.Authority{}, unfit(root, a, terms.Trust, err)
	}
	return who, nil
}

func identityOf(id *v1alpha1.Identity) (verify.Identity, error) {
	return verify.NewIdentity(verify.IdentitySpec{
		Issuer: id.Issuer, IssuerPattern: id.IssuerPattern, Subject: id.Subject, SubjectPattern: id.SubjectPattern, Extensions: id.Extensions,
	})
}

func certificate(a *v1alpha1.Authority, terms verify.Terms) (verify.Authority, *problem) {
	none := verify.Authority{}
	roots, err := verify.ParseRoots([]byte(a.Certificate.Roots))
	if err != nil {
		return none, &problem{ReasonInvalidKey, fmt.Errorf("certificate.roots: %w", err)}
	}
	ids := make([]verify.CertificateIdentity, 0, len(a.Certificate.Identities))
	for i, id := range a.Certificate.Identities {
		one, err := verify.NewCertificateIdentity(id.Subject, id.SubjectPattern)
		if err != nil {
			return none, &problem{ReasonInvalidField, fmt.Errorf("certificate.identities[%d]: %w", i, err)}
		}
		ids = append(ids, one)
	}
	who, err := verify.NewCertificateAuthority(a.Name, roots, ids, terms)
	switch root, referring := trustRootOf(a); {
	case err != nil && referring:
		return none, unfit(root, a, terms.Trust, err)
	case err != nil:
		return none, &problem{ReasonInvalidField, fmt.Errorf("certificate: %w", err)}
	}
	return who, nil
}

// demandOf reads a demand. Validate has refused what is none; here it asks for most.
func demandOf(d v1alpha1.Demand) verify.Demand {
	switch d {
	case "":
		return verify.Unsaid
	case v1alpha1.DemandOptional:
		return verify.Optional
	case v1alpha1.DemandRequired:
	}
	return verify.Required
}

// parseRepository reads where papers are kept: a repository with its host written out, without tag or digest.
func parseRepository(text string) (name.Repository, error) {
	const cure = "write HOST/PATH, for instance registry.example.com/papers"
	host, path, _ := strings.Cut(text, "/")
	switch {
	case strings.Contains(text, "://"):
		return name.Repository{}, errors.New("it begins with a scheme: " + cure + "; registries are asked by https, and by http where --plain-http says so")
	case strings.Contains(text, "@"):
		return name.Repository{}, errors.New("it names a digest (@): papers are found by the digest of the image that they are about; " + cure)
	case strings.Contains(path, ":"):
		return name.Repository{}, errors.New("it names a tag (:): papers are found by the digest of the image that they are about; " + cure)
	case path == "" || strings.HasSuffix(path, "/") || host != "localhost" && !strings.ContainsAny(host, ".:"):
		return name.Repository{}, fmt.Errorf("%.80q is no repository with its host written out: %s", text, cure)
	}
	ref, err := policy.ParseReference(text)
	if err != nil {
		return name.Repository{}, fmt.Errorf("%w: %s", err, cure)
	}
	return ref.Repository(), nil
}
