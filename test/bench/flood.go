package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/pratique-dev/pratique/test/evilregistry"
)

// crowd is how many Pods of one image arrive at once.
const crowd = 1000

// flood asks about many Pods of an image that nobody has asked about, and about one Pod of another such image.
func (v *service) flood(ctx context.Context, out io.Writer) error {
	known, _ := v.push()
	pod, err := v.pod(ctx, known.String())
	if err != nil {
		return err
	}
	if _, _, err := v.rush(ctx, 1, pod, false); err != nil { // so that the repository is known
		return err
	}
	v.bed.Registry.SetDelay(registryDelay)
	defer v.bed.Registry.SetDelay(0)
	fmt.Fprintf(out, "\nflood: requests to the registry, which answers after %s, for Pods of an image that is new\n", registryDelay)
	fmt.Fprintf(out, "  %-7s %9s %11s %14s %14s\n", "by", "one Pod", fmt.Sprintf("%d Pods", crowd), "first answer", "last answer")
	for _, byTag := range []bool{false, true} {
		one, _, err := v.rush(ctx, 1, pod, byTag)
		if err != nil {
			return err
		}
		many, took, err := v.rush(ctx, crowd, pod, byTag)
		if err != nil {
			return err
		}
		by := "digest"
		if byTag {
			by = "tag"
		}
		fmt.Fprintf(out, "  %-7s %9d %11d %14s %14s\n", by, one, many, round(slices.Min(took)), round(slices.Max(took)))
		if many < one || one == 0 {
			return fmt.Errorf("%d requests for one Pod and %d for %d: the count is wrong", one, many, crowd)
		}
	}
	return nil
}

// rush pushes a new image, asks about so many Pods of it at once and returns how many requests the registry had.
func (v *service) rush(ctx context.Context, pods int, pod *corev1.Pod, byTag bool) (requests int, took []time.Duration, err error) {
	image, tag := v.push()
	pod.Spec.Containers[0].Image = image.String()
	if byTag {
		pod.Spec.Containers[0].Image = tag.String()
	}
	review, err := reviewOf(pod)
	if err != nil {
		return 0, nil, err
	}
	conns := make([]*conn, pods)
	for i := range conns {
		if conns[i], err = v.ours.dial(ctx); err != nil {
			return 0, nil, err
		}
		defer conns[i].tls.Close() //nolint:errcheck // nothing is lost with it
	}
	v.bed.Registry.Reset()
	took, errs := make([]time.Duration, pods), make([]error, pods)
	var wg sync.WaitGroup
	begin := time.Now()
	for i, c := range conns {
		wg.Go(func() {
			errs[i] = c.ask(request(review))
			took[i] = time.Since(begin)
		})
	}
	wg.Wait()
	return v.bed.Registry.Count(evilregistry.Kind(0)), took, errors.Join(errs...)
}
