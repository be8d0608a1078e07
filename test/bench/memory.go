package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/pkg/verify/verifytest"
)

// imagesPerRepository spreads the images as real ones are: some releases of each of many programs.
const imagesPerRepository = 20

// signing is a registry where every image has one signature, a bundle made when it is asked for, so that it takes no memory.
type signing struct{ by verifytest.Signer }

func (s signing) bundle(image name.Digest) (verify.Candidate, error) {
	h, err := v1.NewHash(image.DigestStr())
	if err != nil {
		return verify.Candidate{}, err
	}
	return verifytest.Bundle(s.by, h, verify.CosignSign, "0.3"), nil
}

// List implements verify.Fetcher.
func (s signing) List(_ context.Context, image name.Digest, _ []string) (verify.Listing, error) {
	c, err := s.bundle(image)
	return verify.Listing{Papers: []verify.Paper{c.Paper}}, err
}

// Fetch implements verify.Fetcher.
func (s signing) Fetch(_ context.Context, image name.Digest, _ verify.Paper, _ int64) (verify.Candidate, error) {
	return s.bundle(image)
}

// Present implements verify.Fetcher.
func (s signing) Present(context.Context, name.Digest) error { return nil }

// Elsewhere implements verify.Fetcher.
func (s signing) Elsewhere(name.Repository) (verify.Fetcher, error) { return s, nil }

// Access implements verify.Fetcher.
func (s signing) Access() verify.Access { return verify.Access{} }

// memory fills a verifier with evidence and tells the heap that it takes.
func memory(ctx context.Context, s settings, out io.Writer) (err error) {
	defer guard(&err)
	signer := verifytest.NewSigner(maker{}, 1)
	authority := verifytest.Authority(maker{}, "release", signer)
	verifier, err := verify.NewVerifier(verify.Options{})
	if err != nil {
		return err
	}
	before, begin := heap(), time.Now()
	if err := fill(ctx, verifier, signing{signer}, authority, s.images); err != nil {
		return err
	}
	took, after := time.Since(begin), heap()
	counted, entries := verifier.Size()
	runtime.KeepAlive(verifier)
	if entries != s.images {
		return fmt.Errorf("%d images were verified and %d are held", s.images, entries)
	}
	fmt.Fprintf(out, "\nmemory: the evidence of %d images, one signature each\n", s.images)
	fmt.Fprintf(out, "  heap in use          %6.1f MiB   at most 256\n", float64(after-before)/(1<<20))
	fmt.Fprintf(out, "  by our own count     %6.1f MiB   what --evidence-cache-bytes bounds\n", float64(counted)/(1<<20))
	fmt.Fprintf(out, "  verified             %6.0f /s    both CPUs, the making of the signatures included\n", float64(s.images)/took.Seconds())
	return nil
}

// heap is what is in use after everything that is garbage is gone.
func heap() int64 {
	runtime.GC()
	runtime.GC() // what finalizers let go of
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse)
}

// fill verifies images, each once.
func fill(ctx context.Context, v *verify.Verifier, f verify.Fetcher, by verify.Authority, images int) error {
	var next atomic.Int64
	var wg sync.WaitGroup
	errs := make([]error, runtime.NumCPU())
	for w := range errs {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(images) && ctx.Err() == nil; i = next.Add(1) - 1 {
				if err := verifyOne(ctx, v, f, by, i); err != nil {
					errs[w] = err
					return
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(append(errs, ctx.Err())...)
}

func verifyOne(ctx context.Context, v *verify.Verifier, f verify.Fetcher, by verify.Authority, i int64) error {
	sum := sha256.Sum256(fmt.Append(nil, i))
	repo, err := name.NewRepository(fmt.Sprintf("registry.example.com/team-%d/service-%d", i/1000, i/imagesPerRepository))
	if err != nil {
		return err
	}
	image := repo.Digest("sha256:" + hex.EncodeToString(sum[:]))
	found := v.Findings(ctx, f, image, verify.SignaturesBy(by), verify.Held)
	if len(found) != 1 || len(found[0].Evidence) != 1 {
		return fmt.Errorf("%s: %+v, want one signature", image, found)
	}
	return nil
}
