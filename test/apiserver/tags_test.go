package apiserver

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// tagHold is for how long the webhook holds what a tag names, and a little.
const tagHold = 2100 * time.Millisecond

// move makes a tag name another image of the same repository.
func (s *scene) move(tag string, to name.Digest) {
	s.t.Helper()
	img, err := remote.Image(to, s.reg.Options()...)
	s.want("reading "+to.String(), err)
	s.want("moving the tag", remote.Write(to.Context().Tag(tag), img, s.reg.Options()...))
}

func TestRow27_ATagIsRefusedWithTheDigestToUse(t *testing.T) {
	s := parallelScene(t, "row27")
	s.policy(signedBy, with{"tags": "Deny"})
	good := s.signed("shop/api:v1")
	repo := good.Context().Name()
	s.refuses(pod("tag", repo+":v1"), "TagNotAllowed", fmt.Sprintf("use %s:v1@%s", repo, good.DigestStr()))
	s.admits(pod("digest", good.String()))
	s.admits(pod("both", repo+":v1@"+good.DigestStr()))

	s.move("latest", good)
	s.refuses(pod("none", repo), "TagNotAllowed", fmt.Sprintf("use %s:latest@%s", repo, good.DigestStr()))

	// The outcome is the same wherever the tag points: only the digest told differs.
	bad := s.unsigned("shop/api:v1")
	time.Sleep(tagHold)
	s.refuses(pod("moved", repo+":v1"), "TagNotAllowed", fmt.Sprintf("use %s:v1@%s", repo, bad.DigestStr()), "NoTrustedSignature")
	s.refuses(pod("nowhere", repo+":v9"), "TagNotAllowed", "ImageNotFound")
}

func TestRow27_ATagIsPinnedWhereThePolicySaysNothingOfTags(t *testing.T) {
	s := parallelScene(t, "row27b")
	s.policy(`
apiVersion: pratique.dev/v1alpha1
kind: ImagePolicy
metadata: {name: silent, namespace: {{.ns}}}
spec:
  images: {include: ["{{.host}}/**"]}
  authorities: [{name: release, key: {data: {{.release}}}}]
  require: {signature: {by: [release]}}
`)
	good := s.signed("shop/api:v1")
	s.wantPinned(s.admits(pod("tag", good.Context().Name()+":v1")), good.Context().Name()+":v1@"+good.DigestStr())
	s.wantPinned(s.admits(pod("digest", good.String())), good.String())
}

func TestRow88_AMovedTagIsJudgedByWhatItNamesNow(t *testing.T) {
	s := parallelScene(t, "row88")
	s.policy(signedBy)
	good := s.signed("shop/api:v1")
	tag := good.Context().Tag("v1").String()
	s.admits(pod("cold", tag))
	s.admits(pod("warm", tag))
	if got := s.warnings.take(); len(got) == 0 {
		t.Error("no warning that a tag may move")
	}
	bad := s.unsigned("shop/api:v1") // the tag moves
	s.refuses(pod("digest", bad.String()), "NoTrustedSignature")
	time.Sleep(tagHold)
	s.refuses(pod("tag", tag), tag+"@"+bad.DigestStr(), "NoTrustedSignature")
	s.admits(pod("old", good.String()))

	s.move("v1", good)
	time.Sleep(tagHold)
	s.admits(pod("back", tag))
}
