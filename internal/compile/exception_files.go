package compile

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pratique-dev/pratique/api/v1alpha1"
	"github.com/pratique-dev/pratique/pkg/policy"
)

// exception reads an ImageException of a file.
func (l *loader) exception(where string, raw []byte) error {
	obj, err := l.ours(where, raw)
	if err != nil {
		return err
	}
	e, ok := obj.(*v1alpha1.ImageException)
	if !ok {
		return fmt.Errorf("%w: %T", errNotException, obj)
	}
	if errs := append(Validate(e), exceptionTooLong(e, time.Now())...); len(errs) > 0 {
		return fmt.Errorf("%s %s: %w", KindImageException, policy.Name{Namespace: e.Namespace, Name: e.Name}, errs.ToAggregate())
	}
	l.bundle.exceptions = append(l.bundle.exceptions, e)
	return nil
}

// exceptionsOf returns the exceptions of a namespace that are in force now. Those of files that name none are the namespace's.
func (b *Bundle) exceptionsOf(namespace string, now time.Time) []*policy.Exception {
	var own []*v1alpha1.ImageException
	for _, e := range b.exceptions {
		if e.Namespace == "" || e.Namespace == namespace {
			own = append(own, e)
		}
	}
	slices.SortFunc(own, func(a, b *v1alpha1.ImageException) int {
		return exceptionBefore(madeAt(a, now), madeAt(b, now), a.Name, b.Name)
	})
	found := exceptionsInForce{now: now}
	for _, e := range own {
		found.take(e.DeletionTimestamp != nil, func() compiledException {
			return exceptionOf(e, policy.Name{Namespace: namespace, Name: e.Name}, madeAt(e, now))
		})
	}
	return found.list
}

// exceptions asks the cluster for the exceptions of the namespace, and returns those that are in force now. Whoever may not read them is
// told: without them more is refused, and nothing more admitted. Of one that can't be used there is a note. A cluster of before there were
// exceptions has none.
func (q ClusterQuery) exceptions(ctx context.Context, now time.Time) (inForce []*policy.Exception, notes []string, err error) {
	all, err := list(ctx, q.Reader, KindImageException, client.InNamespace(q.Namespace))
	switch {
	case apierrors.IsForbidden(err):
		return nil, []string{"the ImageExceptions of the namespace may not be read, so that none of them counts here: " + line(err.Error(), maxProblem)}, nil
	case meta.IsNoMatchError(err), apierrors.IsNotFound(err):
		return nil, nil, nil
	case err != nil:
		return nil, nil, err
	}
	slices.SortFunc(all, func(a, b unstructured.Unstructured) int {
		return exceptionBefore(a.GetCreationTimestamp().Time, b.GetCreationTimestamp().Time, a.GetName(), b.GetName())
	})
	found := exceptionsInForce{now: now}
	for i := range all {
		u := &all[i]
		r := found.take(u.GetDeletionTimestamp() != nil, func() compiledException {
			raw, err := json.Marshal(u)
			if err != nil {
				raw = nil // which then can't be read, and excuses nothing
			}
			return compileException(ctx, raw, keyOf(u), u.GetCreationTimestamp().Time)
		})
		if r.Reason != ReasonInForce && r.Reason != ReasonExpired {
			notes = append(notes, fmt.Sprintf("%s %s: %s", KindImageException, keyOf(u), r.Message))
		}
	}
	return found.list, notes, nil
}
