package bed

import (
	"encoding/json"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/pkg/verify/verifytest"
	"github.com/pratique-dev/pratique/test/evilregistry/papers"
)

// GitHub is the issuer of the identities of GitHub's workflows.
const GitHub = "https://token.actions.githubusercontent.com"

// Workflow is the identity of the release workflow of a repository of GitHub, on its main branch, as Fulcio writes it.
func Workflow(repository string) verifytest.Person {
	return verifytest.Person{Issuer: GitHub, Subject: "https://github.com/" + repository + "/.github/workflows/release.yml@refs/heads/main"}
}

// SignKeyless signs an image without a key, as cosign v3 does and in memory: an instance of Sigstore certifies the person for a key that
// is then forgotten, its Rekor v1 logs the signature, and the bundle becomes a referrer of the image.
func SignKeyless(tb testing.TB, by *verifytest.Sigstore, who verifytest.Person, image name.Digest, opts ...papers.Option) {
	tb.Helper()
	SignAs(tb, by, verifytest.Signing{Person: &who, Logs: []verifytest.Log{verifytest.RekorV1}}, image, opts...)
}

// SignAs signs an image in any way that an instance of Sigstore in memory knows, and pushes the bundle as a referrer of the image.
func SignAs(tb testing.TB, by *verifytest.Sigstore, signing verifytest.Signing, image name.Digest, opts ...papers.Option) {
	tb.Helper()
	digest, err := v1.NewHash(image.DigestStr())
	if err != nil {
		tb.Fatal(err)
	}
	bundle, err := json.Marshal(by.Envelope(tb, signing, verifytest.Statement(digest, verify.CosignSign)))
	if err != nil {
		tb.Fatal(err)
	}
	papers.PushBundle(tb, image, verify.CosignSign, bundle, opts...)
}
