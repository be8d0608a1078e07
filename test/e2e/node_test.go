package e2e

import (
	"os"
	"testing"
)

// TestOnARealNode is the story, a step each. A step relies on those before it; where one fails, the later ones that can still
// be told are.
func TestOnARealNode(t *testing.T) {
	if os.Getenv("E2E") == "" {
		t.Skip("it needs a cluster with a real node: make e2e")
	}
	s := openStage(t)
	for _, step := range []struct {
		name string
		do   func(*stage, *testing.T)
		must bool // nothing can be told without it
	}{
		{"before Pratique any image runs", (*stage).before, true},
		{"helm installs it and three Pods are ready on one node", (*stage).install, true},
		{"its image runs under restricted Pod security with a read-only root", (*stage).restricted, false},
		{"without a policy any image runs", (*stage).withoutPolicy, false},
		{"policies are in force", (*stage).policies, true},
		{"a signed Deployment by tag runs pinned and its template is untouched", (*stage).signedDeployment, false},
		{"an unsigned Deployment and an unsigned Pod are refused at once", (*stage).unsignedRefused, false},
		{"a private image runs with a pull secret and is refused without", (*stage).privateImages, false},
		{"a moved tag is refused and what runs stays on its digest", (*stage).movedTag, false},
		{"kubectl debug runs a signed image and not an unsigned one", (*stage).debug, false},
		{"what real clients signed without a key runs when Sigstore is gone, and a fork's is refused", (*stage).keyless, false},
		{"all webhook Pods deleted at once come back by themselves", (*stage).allPodsDeleted, false},
		{"with no webhook the cluster goes on and new Pods wait", (*stage).scaledToZero, false},
		{"an upgrade keeps nobody out", (*stage).upgrade, false},
		{"with pinning off nothing mutates and a tag is refused with the digest to use", (*stage).withoutPin, false},
		{"a rollback turns pinning on again", (*stage).rollback, false},
		{"after the uninstall Pods start again and policies are kept", (*stage).uninstall, false},
		{"through all of it no unsigned image was admitted and no signed one kept out", (*stage).verdict, false},
	} {
		if ok := t.Run(step.name, func(t *testing.T) { step.do(s, t) }); !ok && step.must {
			t.Fatalf("the story ends here: %s", step.name)
		}
	}
}

func (s *stage) verdict(t *testing.T) { s.loop.judge(t) }
