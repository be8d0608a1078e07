package conformance_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	prototrustroot "github.com/sigstore/protobuf-specs/gen/pb-go/trustroot/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/pratique-dev/pratique/test/conformance"
)

// suiteCase is one case of the published suite, or of ours in its manner. A name that ends in _fail says that the bundle must be refused.
type suiteCase struct {
	name string
	make func(in *instance) material
	// says is what the refusal must say: a case that is refused for another reason than its own shows nothing.
	says string
}

// material is what a case gives the client.
type material struct {
	bundle   *protobundle.Bundle
	edit     func(text []byte) []byte // of the bundle's JSON
	artifact []byte
	root     *prototrustroot.TrustedRoot
	rootText []byte    // in place of root
	key      []byte    // PEM; nil: the identity is asked for
	both     bool      // the identity, too
	digest   string    // in place of the artifact's
	who      [2]string // identity and issuer; empty: identity and issuer of the instance's certificates
}

var artifact = []byte("what was signed\n")

// run has the client verify the case's artifact, as a file or as a digest.
func (m material) run(t *testing.T, byDigest bool) (code int, says string) {
	t.Helper()
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	text := jsonOf(t, m.bundle)
	if m.edit != nil {
		text = m.edit(text)
	}
	args := []string{"conformance", "verify-bundle", "--bundle", write("bundle.sigstore.json", text)}
	if m.key != nil {
		args = append(args, "--key", write("key.pub", m.key))
	}
	who := m.who
	if who == [2]string{} {
		who = [2]string{identity, issuer}
	}
	if m.key == nil || m.both {
		args = append(args, "--certificate-identity", who[0], "--certificate-oidc-issuer", who[1])
	}
	rootText := m.rootText
	if m.root != nil {
		rootText = jsonOf(t, m.root)
	}
	if rootText != nil {
		args = append(args, "--trusted-root", write("trusted_root.json", rootText))
	}
	about := m.artifact
	if about == nil {
		about = artifact
	}
	switch sum := sha256.Sum256(about); {
	case m.digest != "":
		args = append(args, m.digest)
	case byDigest:
		args = append(args, "sha256:"+hex.EncodeToString(sum[:]))
	default:
		args = append(args, write("artifact", about))
	}
	return client(args...)
}

// client runs the client.
func client(args ...string) (code int, says string) {
	var stderr bytes.Buffer
	code = conformance.Main(args, &stderr)
	return code, stderr.String()
}

func jsonOf(t *testing.T, m proto.Message) []byte {
	t.Helper()
	text, err := protojson.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// judge runs cases, all of which README.md must list.
func judge(t *testing.T, cases []suiteCase) {
	t.Helper()
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		if !bytes.Contains(readme, []byte("`"+c.name+"`")) {
			t.Errorf("README.md doesn't list %s", c.name)
		}
		t.Run(c.name, c.judge)
	}
}

// judge runs a case in both ways.
func (c suiteCase) judge(t *testing.T) {
	t.Parallel()
	in := newInstance(t)
	m := c.make(in)
	if m.root == nil && m.rootText == nil {
		m.root = in.trustedRoot()
	}
	for name, byDigest := range map[string]bool{"PATH": false, "DIGEST": true} {
		code, says := m.run(t, byDigest)
		if strings.Count(says, "\n") > 1 {
			t.Errorf("%s: it says more than a line: %s", name, says)
		}
		switch refused := strings.HasSuffix(c.name, "_fail"); {
		case !refused && code != 0:
			t.Errorf("%s: refused: %s", name, says)
		case refused && code != 1:
			t.Errorf("%s: verified (exit %d): %s", name, code, says)
		case refused && (c.says == "" || !strings.Contains(says, c.says)):
			t.Errorf("%s: it says %q, want %q", name, says, c.says)
		}
	}
}

// by is what somebody with a certificate signed.
func (in *instance) by(spec leafSpec, payload []byte) *signed {
	in.t.Helper()
	cert, key := in.leaf(spec)
	return (&signed{key: key, cert: cert, artifact: artifact, payload: payload}).sign(in.t)
}

// byKey is what the holder of a bare key signed.
func (in *instance) byKey(payload []byte) *signed {
	in.t.Helper()
	return (&signed{key: newKey(in.t), artifact: artifact, payload: payload}).sign(in.t)
}

func one(e *protorekor.TransparencyLogEntry) []*protorekor.TransparencyLogEntry {
	return []*protorekor.TransparencyLogEntry{e}
}

const (
	inTotoV1  = "https://in-toto.io/Statement/v1"
	inTotoV01 = "https://in-toto.io/Statement/v0.1"
)

// happy1 is a good bundle with an entry of Rekor v1.
func (in *instance) happy1(mediaType string) (*signed, *protobundle.Bundle) {
	s := in.by(leafSpec{}, nil)
	return s, s.bundle(mediaType, one(in.logged1(s.hashedrekord1(in.t), in.at)))
}

// dsse1 is a good bundle of a Statement with an entry of Rekor v1.
func (in *instance) dsse1() (*signed, *protobundle.Bundle) {
	s := in.by(leafSpec{}, statement(inTotoV1, artifact))
	return s, s.bundle(v03, one(in.logged1(s.dsse1(in.t), in.at)))
}

// happy2 is a good bundle with an entry of Rekor v2 and a timestamp.
func (in *instance) happy2(payload []byte) (*signed, *protobundle.Bundle) {
	s := in.by(leafSpec{}, payload)
	return s, s.bundle(v03, one(in.logged2(s.hashedrekord2(in.t))), in.tsa.stamp(in.t, s.signature, in.at, false))
}

// first is the bundle's first log entry.
func first(b *protobundle.Bundle) *protorekor.TransparencyLogEntry {
	return b.GetVerificationMaterial().GetTlogEntries()[0]
}

// plain is a case of nothing but a bundle.
func plain(b *protobundle.Bundle) material { return material{bundle: b} }
