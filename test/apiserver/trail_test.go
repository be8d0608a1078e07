package apiserver

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/pratique-dev/pratique/test/cluster"
)

// audited returns our annotations of the API server's audit event of the newest creation of a Pod, without our prefix.
func (s *scene) audited(name string) map[string]string {
	s.t.Helper()
	const prefix = "images.pratique.dev/"
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	event, err := s.bed.Cluster.WaitForAuditEvent(ctx, func(e cluster.AuditEvent) bool {
		return e.Verb == "create" && e.ObjectRef.Namespace == s.ns && e.ObjectRef.Resource == "pods" && e.ObjectRef.Name == name
	})
	s.want("the audit event of Pod "+name, err)
	ours := map[string]string{}
	for key, value := range event.Annotations {
		if k, ok := strings.CutPrefix(key, prefix); ok {
			ours[k] = value
		}
	}
	return ours
}

// counter reads one counter of the webhook's metrics: its name with labels, as Prometheus writes them.
func (s *scene) counter(name string) float64 {
	s.t.Helper()
	metrics, err := s.bed.Metrics(s.ctx)
	s.want("reading metrics", err)
	for line := range strings.Lines(metrics) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			s.want("reading "+name, err)
			return n
		}
	}
	s.t.Fatalf("there is no metric %s", name)
	return 0
}

func TestEveryDecisionLeavesItsTrail(t *testing.T) {
	s := parallelScene(t, "trail")
	status := s.policy(signedBy)
	good, bad := s.signed("shop/api").String(), s.unsigned("shop/api").String()
	const (
		allowed  = `pratique_decisions_total{decision="allowed",webhook="images.pratique.dev"}`
		refused  = `pratique_decisions_total{decision="refused",webhook="images.pratique.dev"}`
		unsigned = `pratique_refusals_total{reason="NoTrustedSignature"}`
	)
	s.admits(pod("first", good)) // so that every counter is there
	s.refuses(pod("zeroth", bad))
	before := map[string]float64{allowed: s.counter(allowed), refused: s.counter(refused), unsigned: s.counter(unsigned)}
	s.admits(pod("good", good))
	s.refuses(pod("bad", bad))
	for name, was := range before {
		if now := s.counter(name); now < was+1 {
			t.Errorf("%s was %g and is %g", name, was, now)
		}
	}

	for _, c := range []struct{ pod, decision, reasons, image string }{
		{"good", "allowed", "Verified", good}, {"bad", "refused", "NoTrustedSignature", bad},
	} {
		got := s.audited(c.pod)
		want := map[string]string{
			"decision": c.decision, "reasons": c.reasons, "images": "container/c0=" + c.image, "policies": "trail/signed=" + status.PolicyDigest,
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("the audit log says of Pod %s:\n%v\nwant\n%v", c.pod, got, want)
		}
		var found *record
		for _, d := range s.decisions() {
			if d.Name == c.pod {
				found = &d
			}
		}
		if found == nil {
			t.Fatalf("the decision log has nothing of Pod %s", c.pod)
		}
		if found.Msg != "decision" || found.Decision != c.decision || strings.Join(found.Reasons, ",") != c.reasons ||
			found.Webhook != "images.pratique.dev" || found.Operation != "CREATE" || found.Resource != "pods" || found.User != "admin" ||
			found.UID == "" || found.Duration <= 0 || found.Time.IsZero() || len(found.Images) != 1 {
			t.Fatalf("the decision log says of Pod %s: %+v", c.pod, *found)
		}
		img := found.Images[0]
		if img.Image != c.image || !strings.HasSuffix(c.image, "@"+img.Digest) || img.Refused != (c.decision == "refused") || len(img.Verdicts) != 1 ||
			img.Verdicts[0].Policy != "trail/signed" || img.Verdicts[0].PolicyDigest != status.PolicyDigest || len(img.Verdicts[0].Results) != 1 {
			t.Errorf("the decision log says of Pod %s's image: %+v", c.pod, img)
		}
	}
}

// Nobody can make the trail, or the answer, longer than its bound, or put control characters into a terminal.
func TestALongRefusalStaysWithinItsBounds(t *testing.T) {
	s := parallelScene(t, "trail-long")
	s.policy(signedBy)
	p := pod("long")
	for i := range 60 {
		p.Spec.Containers = append(p.Spec.Containers, pod("", s.unsigned("shop/"+strings.Repeat("a", 60)+"/"+strconv.Itoa(i)).String()).Spec.Containers[0])
		p.Spec.Containers[i].Name = "c" + strconv.Itoa(i)
	}
	_, err := s.create(p)
	s.wantRefused(err, "60 of 60 images refused", "more refused", "explain: kubectl pratique verify -n trail-long ")
	if n := len(err.Error()); n > 4<<10+100 { // and the API server's own words before it
		t.Errorf("the refusal has %d bytes", n)
	}
	for key, value := range s.audited("long") {
		if len(value) > 8<<10 {
			t.Errorf("annotation %s has %d bytes", key, len(value))
		}
	}
}
