package compile

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pratique-dev/pratique/api/v1alpha1"
	"github.com/pratique-dev/pratique/internal/trust"
)

// TrustRoot implements TrustRoots, from the files. Every source must be had: what lacks one could judge otherwise than the cluster.
func (b *Bundle) TrustRoot(ctx context.Context, name string) (TrustInForce, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	at := source{kind: KindTrustRoot, namespace: b.InstallNamespace, name: name} // whose Secrets may be others
	got, known := b.trusted[at]
	if !known {
		got = b.makeTrust(ctx, name)
		if b.trusted == nil {
			b.trusted = map[source]trusted{}
		}
		b.trusted[at] = got
	}
	return got.TrustInForce, got.err
}

func (b *Bundle) makeTrust(ctx context.Context, name string) trusted {
	t, ok := b.roots[name]
	switch {
	case !ok && name == DefaultTrustRoot:
		made, err := publicGood()
		return trusted{TrustInForce{Trust: made}, err}
	case !ok:
		return trusted{err: fmt.Errorf("TrustRoot %s: not among the files", name)}
	}
	reader := sourceReader{materials: b, namespace: b.InstallNamespace, mirror: b.Mirror}
	readings := reader.readAll(ctx, t.Spec.Sources)
	if problems := problemsOf(readings); problems != "" {
		return trusted{err: fmt.Errorf("TrustRoot %s: %s", name, problems)}
	}
	made := unite(readings, thresholdsOf(t.Spec.Thresholds))
	if made.err != nil {
		return trusted{err: fmt.Errorf("TrustRoot %s: %w", name, made.err)}
	}
	made.leaveOut(readings)
	if problems := problemsOf(readings); problems != "" {
		return trusted{err: fmt.Errorf("TrustRoot %s: %s", name, problems)}
	}
	return trusted{TrustInForce: TrustInForce{Trust: made.trust}}
}

// trustRoot reads a TrustRoot of a file. Whether a mirror may be asked by plain http is for whoever asks it.
func (l *loader) trustRoot(where string, raw []byte) error {
	obj, err := l.ours(where, raw)
	if err != nil {
		return err
	}
	t, ok := obj.(*v1alpha1.TrustRoot)
	if !ok {
		return fmt.Errorf("%w: %T", errNotTrustRoot, obj)
	}
	if len(l.bundle.roots) == MaxTrustRoots {
		return fmt.Errorf("over the bound of %d TrustRoots", MaxTrustRoots)
	}
	if errs := trustRootErrors(t, nil, true); len(errs) > 0 {
		return fmt.Errorf("TrustRoot %s: %w", t.Name, errs.ToAggregate())
	}
	l.bundle.roots[t.Name] = t
	return nil
}

// clusterRoots implements TrustRoots for the CLI: from the statuses, which publish the texts in force; where one has none, or is about an
// older generation, from what its sources have now.
type clusterRoots struct {
	q     ClusterQuery
	found map[string]trusted
	notes []string
}

// TrustRoot implements TrustRoots.
func (c *clusterRoots) TrustRoot(ctx context.Context, name string) (TrustInForce, error) {
	got, known := c.found[name]
	if !known {
		got = c.ask(ctx, name)
		c.found[name] = got
	}
	return got.TrustInForce, got.err
}

func (c *clusterRoots) ask(ctx context.Context, name string) trusted {
	u := newObject(KindTrustRoot)
	err := c.q.Reader.Get(ctx, client.ObjectKey{Name: name}, u)
	switch {
	case err == nil:
	case !apierrors.IsNotFound(err) && !meta.IsNoMatchError(err):
		return trusted{err: fmt.Errorf("TrustRoot %s: %w", name, err)}
	case name == DefaultTrustRoot:
		made, err := publicGood()
		return trusted{TrustInForce{Trust: made}, err}
	default:
		return trusted{err: errNoTrustRoot(name)}
	}
	raw, err := u.MarshalJSON()
	if err != nil {
		return trusted{err: fmt.Errorf("TrustRoot %s: %w", name, err)}
	}
	obj, err := Decode(raw)
	if err != nil {
		return trusted{err: fmt.Errorf("TrustRoot %s: %w", name, err)}
	}
	t, ok := obj.(*v1alpha1.TrustRoot)
	if !ok {
		return trusted{err: fmt.Errorf("TrustRoot %s: %w", name, errNotTrustRoot)}
	}
	if errs := trustRootErrors(t, nil, true); len(errs) > 0 {
		return trusted{err: fmt.Errorf("TrustRoot %s: %w", name, errs.ToAggregate())}
	}
	made, err := c.resolve(ctx, t)
	if err != nil {
		return trusted{err: fmt.Errorf("TrustRoot %s: %w", name, err)}
	}
	return trusted{TrustInForce: made}
}

// resolve makes the trust of an object that was read.
func (c *clusterRoots) resolve(ctx context.Context, t *v1alpha1.TrustRoot) (TrustInForce, error) {
	ready := meta.FindStatusCondition(t.Status.Conditions, ConditionReady)
	seen, now := t.Status.ObservedGeneration, t.Generation
	var readings []rootReading
	switch {
	case seen == now && ready != nil && ready.Status != metav1.ConditionTrue:
		return TrustInForce{}, errors.New("the cluster can't use it: " + line(ready.Message, maxMessage))
	case seen == now && ready != nil && len(t.Status.TrustedRoots) > 0:
		var err error
		if readings, err = c.published(ctx, t); err != nil {
			return TrustInForce{}, err
		}
	case seen == now && ready != nil:
		c.note(t, "its status has no room for its texts: its sources are read")
	case seen == 0:
		c.note(t, "no status yet: is the webhook running? Its sources are read")
	default:
		c.note(t, fmt.Sprintf("its status is stale (of generation %d, the object is at %d): its sources are read", seen, now))
	}
	if readings == nil {
		reader := sourceReader{materials: eachOnce(ClusterMaterials{Reader: c.q.Reader}), namespace: c.q.InstallNamespace, mirror: c.q.Mirror}
		readings = reader.readAll(ctx, t.Spec.Sources)
	}
	made := unite(readings, thresholdsOf(t.Spec.Thresholds))
	made.leaveOut(readings)
	return TrustInForce{Trust: made.trust, Note: left(readings), Kept: keptOf(t.Name, readings)}, made.err
}

func (c *clusterRoots) note(t *v1alpha1.TrustRoot, text string) {
	c.notes = append(c.notes, fmt.Sprintf("TrustRoot %s: %s", t.Name, text))
}

// published are the sources as the status has them. A mirror's text that has expired since is used no longer by the cluster, which by
// its status has not been at work since: the mirror is asked for what it has now, if anybody asks mirrors.
func (c *clusterRoots) published(ctx context.Context, t *v1alpha1.TrustRoot) ([]rootReading, error) {
	if len(t.Status.Sources) != len(t.Spec.Sources) {
		return nil, fmt.Errorf("its status is of %d sources, and it has %d", len(t.Status.Sources), len(t.Spec.Sources))
	}
	texts := map[string][]byte{}
	for _, text := range t.Status.TrustedRoots {
		texts[trust.Digest([]byte(text))] = []byte(text)
	}
	readings := make([]rootReading, 0, len(t.Spec.Sources))
	for i, s := range t.Status.Sources {
		one := rootReading{kind: s.Kind, digest: s.Digest, text: texts[s.Digest]}
		if s.Error != "" {
			one.err = errors.New(s.Error)
		}
		switch {
		case s.Digest == "":
			one.text = nil
		case one.text == nil:
			return nil, fmt.Errorf("its status has no text of the digest that sources[%d] (%s) had", i, s.Kind)
		case s.Expires != nil && !s.Expires.After(time.Now()):
			said := fmt.Sprintf("what sources[%d] (%s) had was to be used until %s", i, s.Kind, s.Expires.UTC().Format(time.RFC3339))
			if c.q.Mirror == nil || t.Spec.Sources[i].TUF == nil {
				return nil, errors.New(said + ": is the webhook running?")
			}
			c.note(t, said+": is the webhook running? Its mirror is asked")
			one = sourceReader{mirror: c.q.Mirror}.readAll(ctx, t.Spec.Sources[i:i+1])[0]
		}
		readings = append(readings, one)
	}
	return readings, nil
}
