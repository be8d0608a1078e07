package trust_test

import (
	"bytes"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/pratique-dev/pratique/internal/trust"
	"github.com/pratique-dev/pratique/internal/trust/trusttest"
)

// stolen is a bed that serves what a thief of all keys but the root's signed, to last for long.
func stolen(t *testing.T) *bed {
	t.Helper()
	b := newBed(t)
	b.repo.SetTarget(text(7))
	for _, role := range []string{metadata.TIMESTAMP, metadata.SNAPSHOT, metadata.TARGETS} {
		b.repo.Expire(role, b.clock.Now().Add(170*24*time.Hour))
	}
	b.good(text(7))
	return b
}

// The publisher strikes the thief's keys off. Whoever holds the mirror shows the root that says so, and nothing else.
func TestRow74_ATextByKeysThatANewerRootReplacedIsNotServed(t *testing.T) {
	t.Parallel()
	for _, role := range []string{metadata.TIMESTAMP, metadata.SNAPSHOT, metadata.TARGETS} {
		t.Run(role, func(t *testing.T) {
			t.Parallel()
			b := stolen(t)
			b.repo.RotateRole(role)
			b.repo.SetTarget(text(0))
			b.repo.Answer("timestamp.json", http.NotFoundHandler())
			b.clock.pass(time.Hour)
			learnt := b.clock.Now()
			b.bad(trust.ResultUnreachable, "status 404")
			s := b.serves(nil, "root.json version 2 of mirror "+b.repo.URL()+" names other keys for "+role+".json than signed what was held")
			for _, phrase := range []string{"nothing signed by the new ones was shown", "have whoever keeps it publish", "status 404"} {
				if !errors.Is(s.Err, trust.ErrReplaced) || !strings.Contains(s.Err.Error(), phrase) {
					t.Errorf("State.Err is %v, want ErrReplaced with %q", s.Err, phrase)
				}
			}
			if !s.Expires.Equal(learnt) || s.Digest != trust.Digest(text(7)) {
				t.Errorf("ended %s, want %s; digest %s, want that of what was held", s.Expires, learnt, s.Digest)
			}
			// Another refresh learns no newer root, and takes nothing back.
			b.clock.pass(time.Hour)
			b.bad(trust.ResultUnreachable, "status 404")
			if s := b.serves(nil, "keys were replaced"); !s.Expires.Equal(learnt) {
				t.Errorf("ended %s, want %s", s.Expires, learnt)
			}
			b.repo.Down(true)
			b.bad(trust.ResultUnreachable, "status 503")
			b.serves(nil, "keys were replaced")
			b.repo.Down(false)
			b.repo.Answer("timestamp.json", nil)
			b.good(text(0))
		})
	}
}

// Before the first good refresh there is nothing that a newer root could end.
func TestANewerRootIsLearntBeforeTheFirstGoodRefresh(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.repo.RotateRole(metadata.TIMESTAMP)
	b.repo.Answer("timestamp.json", http.NotFoundHandler())
	b.bad(trust.ResultUnreachable, "status 404")
	b.serves(nil, "status 404")
	b.repo.Answer("timestamp.json", nil)
	b.good(text(0))
	if asked := b.repo.Asked(); asked[0] != "2.root.json" || asked[3] != "3.root.json" {
		t.Errorf("asked for %v, want the second refresh to begin behind the root that the first has learnt", asked)
	}
}

// What was verified of a chain counts too where the mirror's answer to the rest crashes the parser.
func TestRow74_ARootThatCrashesTheParserVouchesForNothing(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	panics := 0
	m, err := trust.NewMirror(trust.MirrorConfig{URL: b.repo.URL(), Root: b.repo.Root()}, trust.Options{
		PlainHTTP: []string{b.repo.Host()}, Clock: b.clock.Now, OnPanic: func(any, []byte) { panics++ },
	})
	if err != nil {
		t.Fatal(err)
	}
	b.mirror = m
	b.good(text(0))
	var before *metadata.Role
	b.repo.EditRoot(func(r *metadata.RootType) { before, r.Roles[metadata.TIMESTAMP] = r.Roles[metadata.TIMESTAMP], nil })
	b.bad(trust.ResultRefused, "crashed the parser")
	b.serves(nil, "keys were replaced")
	if panics != 1 {
		t.Errorf("told of %d panics, want the parser's alone", panics)
	}
	b.repo.EditRoot(func(r *metadata.RootType) { r.Roles[metadata.TIMESTAMP] = before })
	b.good(text(0))
}

// Keys may come back by a root that is newer still. What a failed refresh took away only a good one gives back.
func TestRow74_AFailedRefreshGivesNothingBack(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.good(text(0))
	notFound := http.NotFoundHandler()
	b.repo.Answer("timestamp.json", notFound)
	var before metadata.Role
	b.repo.EditRoot(func(r *metadata.RootType) {
		before = *r.Roles[metadata.SNAPSHOT]
		r.Roles[metadata.SNAPSHOT] = &metadata.Role{KeyIDs: r.Roles[metadata.TARGETS].KeyIDs, Threshold: 1}
	})
	b.bad(trust.ResultUnreachable, "status 404")
	b.serves(nil, "names other keys for snapshot.json")
	b.repo.EditRoot(func(r *metadata.RootType) { r.Roles[metadata.SNAPSHOT] = &before })
	b.bad(trust.ResultUnreachable, "status 404")
	b.serves(nil, "names other keys for snapshot.json")
	b.repo.Answer("timestamp.json", nil)
	if s := b.good(text(0)); !s.Expires.Equal(newClock().Now().Add(trusttest.TimestampLasts)) {
		t.Errorf("expires %s, want when the timestamp does", s.Expires)
	}
}

func TestRow74_ANewerRootsEarlierExpiryIsHeeded(t *testing.T) {
	t.Parallel()
	b := stolen(t)
	sooner := b.clock.Now().Add(48 * time.Hour)
	b.repo.Expire(metadata.ROOT, sooner)
	b.repo.Answer("timestamp.json", http.NotFoundHandler())
	b.bad(trust.ResultUnreachable, "status 404")
	if s := b.serves(text(7), "status 404"); !s.Expires.Equal(sooner) {
		t.Errorf("expires %s, want the newer root's %s", s.Expires, sooner)
	}
	// A root that is newer still and lasts for longer makes nothing younger until a refresh is good.
	b.repo.Expire(metadata.ROOT, sooner.Add(time.Hour))
	b.bad(trust.ResultUnreachable, "status 404")
	if s := b.serves(text(7), "status 404"); !s.Expires.Equal(sooner) {
		t.Errorf("expires %s, want still %s", s.Expires, sooner)
	}
	b.clock.pass(48*time.Hour + time.Second)
	b.serves(nil, "root.json version 2 of mirror")
	b.repo.Answer("timestamp.json", nil)
	if s := b.good(text(7)); !s.Expires.Equal(sooner.Add(time.Hour)) {
		t.Errorf("after a good refresh: expires %s, want the newest root's", s.Expires)
	}
}

// Only keys that are replaced end what they signed: a new key for the root, or another beside the old one, doesn't.
func TestANewerRootThatKeepsTheKeysEndsNothing(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*trusttest.Repository){
		"another root key": (*trusttest.Repository).RotateRoot,
		"a second key beside the first": func(r *trusttest.Repository) {
			r.EditRoot(func(root *metadata.RootType) {
				one := root.Roles[metadata.TIMESTAMP]
				one.KeyIDs = append(one.KeyIDs, root.Roles[metadata.TARGETS].KeyIDs...)
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBed(t)
			want := b.good(text(0)).Expires
			change(b.repo)
			b.repo.Answer("timestamp.json", http.NotFoundHandler())
			b.bad(trust.ResultUnreachable, "status 404")
			if s := b.serves(text(0), "status 404"); !s.Expires.Equal(want) {
				t.Errorf("expires %s, want %s", s.Expires, want)
			}
		})
	}
}

// A thief of the targets' key who holds the timestamp's too could sign its number anew for ever: what is held under that
// number is vouched for only as long as all of it is.
func TestRow74_ATimestampThatIsRepeatedVouchesForNothingByReplacedKeys(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.repo.SetTarget(text(7))
	b.good(text(7))
	b.repo.RotateRole(metadata.TARGETS)
	b.repo.SetTarget(text(0))
	b.repo.SetVersion(metadata.TIMESTAMP, 2)
	b.good(text(0))
}

// A mirror may be asked while it is being published to: the new root is there, and what it vouches for comes a moment
// later. However long the pauses had become, it is asked again in a minute.
func TestRow74_AfterKeysWereReplacedTheMirrorIsAskedAgainSoon(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		repo, w := trusttest.New(t, text(0)), &watched{}
		k := start(t, w.options(repo.Transport()))
		c := config(repo)
		k.Set([]trust.MirrorConfig{c})
		if err := k.WaitFirst(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		repo.Down(true)
		time.Sleep(48 * time.Hour)
		synctest.Wait()
		if s := k.State(c); !bytes.Equal(s.TrustedRoot, text(0)) {
			t.Fatalf("while it is down: %v", s.Err)
		}
		repo.RotateRole(metadata.TIMESTAMP)
		repo.Answer("timestamp.json", http.NotFoundHandler())
		repo.Down(false)
		w.take()
		for begin := time.Now(); k.State(c).TrustedRoot != nil; time.Sleep(time.Second) {
			if time.Since(begin) > 48*time.Hour {
				t.Fatal("served on for two days after its keys were replaced")
			}
		}
		synctest.Wait()
		if _, changes := w.take(); changes != 1 {
			t.Errorf("told of %d changes, want the one", changes)
		}
		repo.Answer("timestamp.json", nil)
		time.Sleep(75 * time.Second)
		synctest.Wait()
		if s := k.State(c); !bytes.Equal(s.TrustedRoot, text(0)) || s.Err != nil {
			t.Errorf("75 seconds later: %v", s.Err)
		}
	})
}

// However long a mirror was down, it is found again soon after it is up: an outage doesn't outlast its cause by a day.
func TestAMirrorWithoutWhichNothingIsServedIsAskedAgainWithin20Minutes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		repo, w := trusttest.New(t, text(0)), &watched{}
		k := start(t, w.options(repo.Transport()))
		c := config(repo)
		repo.Down(true)
		k.Set([]trust.MirrorConfig{c})
		time.Sleep(50 * time.Hour)
		repo.Down(false)
		time.Sleep(20 * time.Minute)
		synctest.Wait()
		if s := k.State(c); s.TrustedRoot == nil {
			t.Errorf("20 minutes later: %v", s.Err)
		}
	})
}
