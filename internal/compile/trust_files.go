package compile

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pratique-dev/pratique/api/v1alpha1"
	"github.com/pratique-dev/pratique/pkg/verify"
)

// TrustRoot implements TrustRoots, from the files. Every source must be had: what lacks one could judge otherwise than the cluster.
func (b *Bundle) TrustRoot(ctx context.Context, name string) (*verify.Trust, string, error) {
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
	return got.trust, got.note, got.err
}

func (b *Bundle) makeTrust(ctx context.Context, name string) trusted {
	t, ok := b.roots[name]
	switch {
	case !ok && name == DefaultTrustRoot:
		made, err := publicGood()
		return trusted{trust: made, err: err}
	case !ok:
		return trusted{err: fmt.Errorf("TrustRoot %s: not among the files", name)}
	}
	reader := sourceReader{materials: b, namespace: b.InstallNamespace, mirror: b.Mirror}
	readings := reader.readAll(ctx, t.Spec.Sources)
	if problems := problemsOf(readings); problems != "" {
		return trusted{err: fmt.Errorf("TrustRoot %s: %s", name, problems)}
	}
	made, err := unite(readings, thresholdsOf(t.Spec.Thresholds))
	if err != nil {
		return trusted{err: fmt.Errorf("TrustRoot %s: %w", name, err)}
	}
	return trusted{trust: made}
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
func (c *clusterRoots) TrustRoot(ctx context.Context, name string) (*verify.Trust, string, error) {
	got, known := c.found[name]
	if !known {
		got = c.ask(ctx, name)
		c.found[name] = got
	}
	return got.trust, got.note, got.err
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
		return trusted{trust: made, err: err}
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
	made, note, err := c.resolve(ctx, t)
	if err != nil {
		return trusted{err: fmt.Errorf("TrustRoot %s: %w", name, err)}
	}
	return trusted{trust: made, note: note}
}

// resolve makes the trust of an object that was read.
func (c *clusterRoots) resolve(ctx context.Context, t *v1alpha1.TrustRoot) (*verify.Trust, string, error) {
	thresholds := thresholdsOf(t.Spec.Thresholds)
	ready := meta.FindStatusCondition(t.Status.Conditions, ConditionReady)
	seen, now := t.Status.ObservedGeneration, t.Generation
	switch {
	case seen == now && ready != nil && len(t.Status.TrustedRoots) > 0:
		texts := make([][]byte, 0, len(t.Status.TrustedRoots))
		for _, text := range t.Status.TrustedRoots {
			texts = append(texts, []byte(text))
		}
		made, err := verify.NewTrust(texts, thresholds)
		return made, "", err
	case seen == now && ready != nil:
		return nil, "", errors.New("the cluster can't use it: " + line(ready.Message, maxMessage))
	case seen == 0:
		c.notes = append(c.notes, fmt.Sprintf("TrustRoot %s: no status yet: is the webhook running? Its sources are read", t.Name))
	default:
		c.notes = append(c.notes, fmt.Sprintf("TrustRoot %s: its status is stale (of generation %d, the object is at %d): its sources are read", t.Name, seen, now))
	}
	reader := sourceReader{materials: eachOnce(ClusterMaterials{Reader: c.q.Reader}), namespace: c.q.InstallNamespace, mirror: c.q.Mirror}
	readings := reader.readAll(ctx, t.Spec.Sources)
	made, err := unite(readings, thresholds)
	return made, left(readings), err
}
