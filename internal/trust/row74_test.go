package trust_test

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/pratique-dev/pratique/internal/trust"
	"github.com/pratique-dev/pratique/internal/trust/trusttest"
)

func contextWithTimeout(t *testing.T, d time.Duration) (context.Context, context.CancelFunc) {
	t.Helper()
	return context.WithTimeout(t.Context(), d)
}

func TestRow74_AnOldTimestampIsRefused(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	old := b.repo.Save()
	b.repo.SetTarget(text(1))
	b.good(text(1))
	b.repo.Restore(old)
	b.bad(trust.ResultRefused, "rolled back: timestamp.json is version 1, and version 2 was seen before")
	b.serves(text(1), "rolled back")
}

func TestRow74_AnOldSnapshotOrTargetsUnderANewTimestampIsRefused(t *testing.T) {
	t.Parallel()
	for _, role := range []string{metadata.SNAPSHOT, metadata.TARGETS} {
		t.Run(role, func(t *testing.T) {
			t.Parallel()
			b := newBed(t)
			b.repo.SetTarget(text(1))
			b.repo.SetTarget(text(2))
			b.good(text(2))
			b.repo.SetVersion(role, 2)
			b.bad(trust.ResultRefused, "rolled back: "+role+".json is version 2, and version 3 was seen before")
			b.serves(text(2), "rolled back")
		})
	}
}

func TestRow74_ADelegatedRoleCannotBeRolledBackOrHidden(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		edit   func(*metadata.SnapshotType)
		phrase string
	}{
		"older":  {func(s *metadata.SnapshotType) { s.Meta["role.json"] = metadata.MetaFile(2) }, "role.json is version 2, and version 3"},
		"hidden": {func(s *metadata.SnapshotType) { delete(s.Meta, "role.json") }, "no longer lists role.json, of which version 3"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBed(t)
			b.repo.EditSnapshot(func(s *metadata.SnapshotType) { s.Meta["role.json"] = metadata.MetaFile(3) })
			b.good(text(0))
			b.repo.EditSnapshot(c.edit)
			b.bad(trust.ResultRefused, c.phrase)
			b.serves(text(0), c.phrase)
		})
	}
}

// Whoever has the timestamp key may sign another file under a number that was seen. It is not taken, and the one seen
// is not made younger by it.
func TestRow74_AnotherTextUnderTheSameVersionIsNotTaken(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	s := b.good(text(0))
	b.repo.SetTarget(text(1))
	b.repo.SetVersion(metadata.TIMESTAMP, 1)
	b.clock.pass(time.Hour)
	if now := b.good(text(0)); !now.Expires.Equal(s.Expires) {
		t.Errorf("expires %s, before %s", now.Expires, s.Expires)
	}
}

func TestRow74_AFrozenMirrorIsRefusedWhenItsTimestampExpires(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.good(text(0))
	b.clock.pass(trusttest.TimestampLasts - time.Hour)
	b.good(text(0))
	b.clock.pass(2 * time.Hour)
	b.bad(trust.ResultRefused, "timestamp.json is expired")
	s := b.serves(nil, "timestamp.json version 1 of mirror "+b.repo.URL()+" expired at 2026-11-08T12:00:00Z")
	if s.Digest != trust.Digest(text(0)) || s.Expires.IsZero() {
		t.Errorf("the State no longer tells what expired: %+v", s)
	}
	if !strings.Contains(s.Err.Error(), "have whoever keeps the mirror") {
		t.Errorf("no cure in %v", s.Err)
	}
	// A process that starts only now takes nothing from it.
	b.mirror = b.newMirror()
	b.bad(trust.ResultRefused, "timestamp.json is expired")
	b.serves(nil, "timestamp.json is expired")
}

func TestRow74_AnExpiredRootIsNotServed(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.repo.Expire(metadata.ROOT, b.clock.Now().Add(time.Hour))
	b.good(text(0))
	b.clock.pass(time.Hour + time.Second)
	b.serves(nil, "root.json version 2 of mirror")
	b.bad(trust.ResultRefused, "final root.json is expired")
	b.serves(nil, "final root.json is expired")
	b.repo.Expire(metadata.ROOT, b.clock.Now().Add(time.Hour))
	b.good(text(0))
}

func TestRow74_TheLastGoodRootIsKeptUntilItExpiresWhileTheMirrorIsDown(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.good(text(0))
	b.repo.Down(true)
	b.bad(trust.ResultUnreachable, "status 503")
	b.serves(text(0), "see that this machine may reach it")
	b.clock.pass(trusttest.TimestampLasts)
	b.bad(trust.ResultUnreachable, "status 503")
	b.serves(text(0), "status 503")
	b.clock.pass(time.Second)
	b.serves(nil, "nothing newer was had since: mirror "+b.repo.URL()+" could not be read")
	b.repo.Down(false)
	b.repo.Expire(metadata.TIMESTAMP, b.clock.Now().Add(time.Hour))
	b.good(text(0))
}

func TestRow74_WhatIsNotSignedAsTheRootSaysIsRefused(t *testing.T) {
	t.Parallel()
	now := newClock().Now()
	stranger := trusttest.At(t, text(9), now)
	for i := range 4 {
		stranger.SetTarget(text(9 - i))
	}
	strange := stranger.Save()
	serve := func(body []byte) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(body) })
	}
	tampered := func(from []byte) []byte {
		out := bytes.Replace(from, []byte(`"spec_version":"1.0`), []byte(`"spec_version":"1.1`), 1)
		if bytes.Equal(out, from) {
			t.Fatalf("nothing to tamper with in %s", from)
		}
		return out
	}
	for name, c := range map[string]struct {
		lie    func(*trusttest.Repository)
		phrase string
	}{
		"a timestamp by another's key": {func(r *trusttest.Repository) {
			r.Answer("timestamp.json", serve(strange["timestamp.json"]))
		}, "timestamp failed"},
		"a snapshot by another's key": {func(r *trusttest.Repository) {
			r.Answer("2.snapshot.json", serve(strange["2.snapshot.json"]))
		}, "snapshot failed"},
		"targets by another's key": {func(r *trusttest.Repository) {
			r.Answer("2.targets.json", serve(strange["2.targets.json"]))
		}, "targets failed"},
		"a next root by another's key": {func(r *trusttest.Repository) {
			other := trusttest.At(t, text(0), now)
			other.RotateRoot()
			r.Answer("2.root.json", serve(other.Save()["2.root.json"]))
		}, "root failed"},
		"a next root that is the first again": {func(r *trusttest.Repository) {
			r.Answer("2.root.json", serve(r.Root()))
		}, "bad version number"},
		"a timestamp changed after it was signed": {func(r *trusttest.Repository) {
			r.Answer("timestamp.json", serve(tampered(r.Save()["timestamp.json"])))
		}, "timestamp failed"},
		"targets changed after they were signed": {func(r *trusttest.Repository) {
			r.Answer("2.targets.json", serve(tampered(r.Save()["2.targets.json"])))
		}, "targets failed"},
		"a target of another hash": {func(r *trusttest.Repository) {
			r.Answer(r.TargetPath(), serve(append(text(0), ' ')))
		}, "hash verification failed"},
		"a target of another length": {func(r *trusttest.Repository) {
			r.Answer(r.TargetPath(), serve(text(0)[1:]))
		}, "length/hash verification error"},
		"metadata that are no JSON": {func(r *trusttest.Repository) {
			r.Answer("timestamp.json", serve([]byte("<html>sign in</html>")))
		}, "invalid character"},
		"metadata of another role": {func(r *trusttest.Repository) {
			r.Answer("timestamp.json", serve(r.Save()["2.snapshot.json"]))
		}, "expected metadata type timestamp, got - snapshot"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBed(t)
			b.good(text(0))
			b.repo.SetTarget(text(1))
			c.lie(b.repo)
			b.bad(trust.ResultRefused, c.phrase)
			b.serves(text(0), c.phrase)
		})
	}
}

func TestRow74_ATargetWithoutAHashIsRefused(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.good(text(0))
	b.repo.EditTarget(func(f *metadata.TargetFiles) { f.Hashes = metadata.Hashes{} })
	b.bad(trust.ResultRefused, "hashes must not be empty")
	b.serves(text(0), "hashes must not be empty")
}

func TestRow74_BodiesWithoutEndAreRefused(t *testing.T) {
	t.Parallel()
	endless := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		chunk := bytes.Repeat([]byte(" "), 32<<10)
		for {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	})
	announced := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1099511627776")
		_, _ = w.Write([]byte("{"))
	})
	for path, bound := range map[string]string{
		"2.root.json": "512000", "timestamp.json": "16384", "2.snapshot.json": "1048576", "2.targets.json": "2097152", "": "7788",
	} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			b := newBed(t)
			b.good(text(0))
			b.repo.SetTarget(text(1001))
			if path == "" {
				path = b.repo.TargetPath()
			}
			b.repo.Answer(path, endless)
			b.bad(trust.ResultRefused, "longer than the "+bound+" bytes that it may be")
			b.repo.Answer(path, announced)
			b.bad(trust.ResultRefused, "1099511627776 bytes long, more than the "+bound)
			b.serves(text(0), bound)
		})
	}
}

// A chain of roots that are each allowed and together too much is cut off. What was verified of it is kept.
func TestRow74_AChainOfRootsWithoutEndIsBounded(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	for range 100 {
		b.repo.RotateRoot()
	}
	b.good(text(0))
	n := 0
	for _, path := range b.repo.Asked() {
		if strings.HasSuffix(path, ".root.json") {
			n++
		}
	}
	if n != 64 {
		t.Errorf("one refresh asked for %d roots, want 64", n)
	}
	before := len(b.repo.Asked())
	b.good(text(0))
	if first := b.repo.Asked()[before]; first != "66.root.json" {
		t.Errorf("the next refresh begins with %s, want 66.root.json", first)
	}
}

func TestRow74_RedirectsStayWithinTheMirror(t *testing.T) {
	t.Parallel()
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("another host was asked")
	}))
	t.Cleanup(elsewhere.Close)
	for name, c := range map[string]struct {
		to     func(path string) string
		phrase string
	}{
		"to another host":   {func(path string) string { return elsewhere.URL + "/" + path }, "mirrors are followed within themselves only"},
		"to itself forever": {func(path string) string { return "/" + path }, "more than 5 redirects"},
		"to a file":         {func(string) string { return "file:///etc/passwd" }, "mirrors are followed within themselves only"},
		"with credentials": {func(path string) string { return "http://a:b@" + strings.TrimPrefix(elsewhere.URL, "http://") },
			"a redirect with credentials"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBed(t)
			b.repo.Answer("timestamp.json", http.RedirectHandler(c.to("timestamp.json"), http.StatusFound))
			b.bad(trust.ResultRefused, c.phrase)
			hops := 0
			for _, path := range b.repo.Asked() {
				if path == "timestamp.json" {
					hops++
				}
			}
			if hops > 6 {
				t.Errorf("asked %d times, want once and five times more", hops)
			}
		})
	}
	t.Run("a path of its own is followed", func(t *testing.T) {
		t.Parallel()
		b := newBed(t)
		was := b.repo.Save()["timestamp.json"]
		b.repo.Answer("timestamp.json", http.RedirectHandler("/moved", http.StatusFound))
		b.repo.Answer("moved", http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if req.Header.Get("Referer") != "" || req.Header.Get("Authorization") != "" {
				t.Errorf("sent on with %v", req.Header)
			}
			_, _ = w.Write(was)
		}))
		b.good(text(0))
	})
}

func TestRow74_CompressedBodiesAreRefused(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.repo.Answer("timestamp.json", http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if e := req.Header.Get("Accept-Encoding"); e != "identity" {
			t.Errorf("asked for encoding %q", e)
		}
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write([]byte{0x1f, 0x8b})
	}))
	b.bad(trust.ResultRefused, "came compressed")
}

// Storage that doesn't list its files to strangers says 403 of what isn't there: that ends the chain of roots, and
// nothing else.
func TestAForbiddenNextRootEndsTheChain(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	forbidden := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) })
	b.repo.Answer("2.root.json", forbidden)
	b.good(text(0))
	b.repo.Answer("timestamp.json", forbidden)
	b.bad(trust.ResultUnreachable, "status 403")
}
