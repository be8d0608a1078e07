package main

import (
	"context"
	"fmt"
	"io"
	"time"
)

// warm asks both webhooks in turn about Pods whose images' evidence is held.
func (v *service) warm(ctx context.Context, s settings, out io.Writer) error {
	fmt.Fprintf(out, "\nwarm: /validate, %d at once, %d a round, by TLS 1.3 and HTTP/1.1 kept alive; both webhooks in turn\n", concurrency, s.requests)
	fmt.Fprintf(out, "  %-13s %-9s %10s %9s %9s %12s %8s %8s\n", "Pod", "webhook", "requests/s", "p50", "p99", "CPU/request", "ratio", "by CPU")
	for _, n := range containers() {
		var images []string
		for range n {
			image, _ := v.push()
			images = append(images, image.String())
		}
		pod, err := v.pod(ctx, images...)
		if err != nil {
			return err
		}
		review, err := reviewOf(pod)
		if err != nil {
			return err
		}
		if err := v.compare(ctx, s, out, n, request(review)); err != nil {
			return err
		}
	}
	fmt.Fprintln(out, "  ratio: requests/s to those of noop, at least 0.80; by CPU: the same for what one processor of the webhook's own serves")
	return nil
}

func (v *service) compare(ctx context.Context, s settings, out io.Writer, n int, request []byte) error {
	both := []target{v.noop, v.ours}
	rounds := make([][]measured, len(both))
	for i := range s.rounds + 1 {
		for w, t := range both {
			requests := s.requests
			if i == 0 {
				requests /= 10 // to warm up, not counted
			}
			m, err := t.round(ctx, requests, request)
			if err != nil {
				return err
			}
			if i > 0 {
				rounds[w] = append(rounds[w], m)
			}
		}
	}
	pod := fmt.Sprintf("%d containers", n)
	if n == 1 {
		pod = "1 container"
	}
	noop := summary(rounds[0])
	for w, t := range both {
		m := summary(rounds[w])
		fmt.Fprintf(out, "  %-13s %-9s %10.0f %9s %9s %12s", pod, t.name, m.perSecond, round(m.p50), round(m.p99), round(m.cpu))
		if w > 0 {
			fmt.Fprintf(out, " %8.2f %8.2f", m.perSecond/noop.perSecond, float64(noop.cpu)/float64(m.cpu))
		}
		fmt.Fprintln(out)
	}
	return nil
}

// summary is the median of each number by itself.
func summary(rounds []measured) measured {
	var perSecond []float64
	var p50, p99, cpu []time.Duration
	for _, m := range rounds {
		perSecond, p50, p99, cpu = append(perSecond, m.perSecond), append(p50, m.p50), append(p99, m.p99), append(cpu, m.cpu)
	}
	return measured{perSecond: median(perSecond), p50: median(p50), p99: median(p99), cpu: median(cpu)}
}
