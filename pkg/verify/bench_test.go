package verify_test

import (
	"encoding/hex"
	"slices"
	"syscall"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	sgverify "github.com/sigstore/sigstore-go/pkg/verify"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/pkg/verify/verifytest"
)

// benched is one keyless bundle, and three ways to verify it. Each returns an error unless it verified.
type benched struct {
	ours, examined, theirs func() error
}

func bench(t testing.TB, logs []verifytest.Log, stamps []int) benched {
	t.Helper()
	s, image, someone := verifytest.NewSigstore(t), verifytest.Digest("image"), verifytest.Someone()
	paper := s.Sign(t, verifytest.Signing{Person: &someone, Logs: logs, Stamps: stamps}, image)
	a := s.Authority(t, "ci", someone.Issuer, someone.Subject)
	sum, err := hex.DecodeString(image.Hex)
	if err != nil {
		t.Fatal(err)
	}
	id, err := sgverify.NewShortCertificateIdentity(someone.Issuer, "", someone.Subject, "")
	if err != nil {
		t.Fatal(err)
	}
	material, about := verify.Material(s.Trust(t, verify.DefaultThresholds())), verify.ArtifactDigest([32]byte(sum))
	b := benched{
		ours: func() error {
			_, err := a.Bundle(t.Context(), paper.Payload, about, then())
			return err
		},
		examined: func() error { return examined(t, a, image, paper) },
		theirs: func() error {
			var pb protobundle.Bundle
			if err := protojson.Unmarshal(paper.Payload, &pb); err != nil {
				return err
			}
			b, err := bundle.NewBundle(&pb)
			if err != nil {
				return err
			}
			v, err := sgverify.NewVerifier(material, sgverify.WithSignedCertificateTimestamps(1), sgverify.WithTransparencyLog(1),
				sgverify.WithObserverTimestamps(1), sgverify.WithoutStatementPredicate())
			if err != nil {
				return err
			}
			_, err = v.Verify(b, sgverify.NewPolicy(sgverify.WithArtifactDigest("sha256", sum), sgverify.WithCertificateIdentity(id)))
			return err
		},
	}
	for _, f := range []func() error{b.ours, b.examined, b.theirs} {
		if err := f(); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

func examined(t testing.TB, a verify.Authority, image v1.Hash, paper verify.Candidate) error {
	ev, _, err := verify.Examine(t.Context(), verify.Signatures(a), image, paper, then())
	if err == nil && ev == (verify.Evidence{}) {
		t.Fatal("no evidence")
	}
	return err
}

// layouts are the two that clients write.
func layouts() map[string]func(testing.TB) benched {
	return map[string]func(testing.TB) benched{
		"v1": func(t testing.TB) benched { return bench(t, []verifytest.Log{verifytest.RekorV1}, nil) },
		"v2": func(t testing.TB) benched { return bench(t, []verifytest.Log{verifytest.RekorV2}, []int{0}) },
	}
}

func run(b *testing.B, what func(benched) func() error) {
	for _, name := range []string{"v1", "v2"} {
		b.Run(name, func(b *testing.B) {
			f := what(layouts()[name](b))
			b.ReportAllocs()
			for b.Loop() {
				if err := f(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkKeylessBundle is Authority.Bundle of one keyless bundle.
func BenchmarkKeylessBundle(b *testing.B) { run(b, func(k benched) func() error { return k.ours }) }

// BenchmarkKeylessBundleExamined is the same as a Verifier does it, of a paper about an image.
func BenchmarkKeylessBundleExamined(b *testing.B) {
	run(b, func(k benched) func() error { return k.examined })
}

// BenchmarkKeylessBundleSigstoreGo is sigstore-go's own verification of the same bundle, read anew as well.
func BenchmarkKeylessBundleSigstoreGo(b *testing.B) {
	run(b, func(k benched) func() error { return k.theirs })
}

// BenchmarkKeylessBundleRatio is the ratio of the processor's time that ours takes to sigstore-go's: the medians of many short turns
// of each, one after the other, so that whatever else runs slows both. It is to be at most 1.5.
func BenchmarkKeylessBundleRatio(b *testing.B) {
	for _, name := range []string{"v1", "v2"} {
		b.Run(name, func(b *testing.B) {
			k := layouts()[name](b)
			var took [3][]float64
			for b.Loop() {
				for i, f := range []func() error{k.theirs, k.ours, k.examined} {
					begin := processorTime(b)
					for range 20 {
						if err := f(); err != nil {
							b.Fatal(err)
						}
					}
					took[i] = append(took[i], float64(processorTime(b)-begin))
				}
			}
			b.ReportMetric(median(took[1])/median(took[0]), "ratio")
			b.ReportMetric(median(took[2])/median(took[0]), "ratio-examined")
			b.ReportMetric(0, "ns/op") // of three things at once, it says nothing
		})
	}
}

func median(of []float64) float64 {
	slices.Sort(of)
	return of[len(of)/2]
}

// processorTime is what this process has used of the processor.
func processorTime(t testing.TB) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestAKeylessBundleCostsAtMostHalfAsMuchAgainAsSigstoreGosOwn counts what doesn't depend on the machine: allocations.
func TestAKeylessBundleCostsAtMostHalfAsMuchAgainAsSigstoreGosOwn(t *testing.T) {
	for name, layout := range layouts() {
		k := layout(t)
		count := func(f func() error) float64 {
			return testing.AllocsPerRun(20, func() {
				if err := f(); err != nil {
					t.Fatal(err)
				}
			})
		}
		theirs := count(k.theirs)
		for what, f := range map[string]func() error{"Authority.Bundle": k.ours, "a Verifier": k.examined} {
			if ours := count(f); ours > 1.5*theirs {
				t.Errorf("%s: %s allocates %.0f times, sigstore-go %.0f", name, what, ours, theirs)
			}
		}
	}
}
