package registry

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pratique-dev/pratique/pkg/verify"
)

func TestSecretsThatCouldNotBeSentAreRefused(t *testing.T) {
	t.Parallel()
	for _, field := range []string{"password", "identitytoken", "registrytoken", "username"} {
		for size, want := range map[int]bool{maxAuthorization: true, maxAuthorization + 1: false} {
			config, err := json.Marshal(map[string]any{"auths": map[string]any{"a.example": map[string]string{field: strings.Repeat("x", size)}}})
			if err != nil {
				t.Fatal(err)
			}
			_, err = ParseDockerConfig(config)
			if (err == nil) != want {
				t.Errorf("%s of %d bytes: %v", field, size, err)
			}
			if err != nil && (!strings.Contains(err.Error(), "a.example") || strings.Contains(err.Error(), "xxx")) {
				t.Errorf("%v", err)
			}
		}
	}
}

func TestAccessesAreBoundedByBytes(t *testing.T) {
	t.Parallel()
	c := testClient(t, Options{})
	one := c.With(credentialsFor(t, "kept.example", "u", "p"))
	for i := range 2 * maxAccessBytes / (15 << 10) {
		creds := credentialsFor(t, "evil.example", "u", fmt.Sprint(i, strings.Repeat("x", 15<<10)))
		c.With(creds)
		if c.With(credentialsFor(t, "kept.example", "u", "p")) != one {
			t.Fatal("one that is in use is let go of")
		}
	}
	held := 0
	for _, a := range c.accesses.lru.Values() {
		held += a.creds.held()
	}
	if held > maxAccessBytes || held < maxAccessBytes/2 || held != c.accesses.bytes {
		t.Errorf("%d bytes are held, counted as %d, over the bound of %d", held, c.accesses.bytes, maxAccessBytes)
	}
	for i := range 2 * maxAccesses {
		c.With(credentialsFor(t, "evil.example", "u", fmt.Sprint(i)))
	}
	if n := c.accesses.lru.Len(); n != maxAccesses {
		t.Errorf("%d accesses are held", n)
	}
}

func TestAccessesThatNobodyAsksForAreLetGoOf(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_700_000_000, 0)
	c := testClient(t, Options{Clock: func() time.Time { return now }})
	gone, kept := credentialsFor(t, "a.example", "u", "gone"), credentialsFor(t, "a.example", "u", "kept")
	c.With(gone)
	was := c.With(kept)
	now = now.Add(accessUnused - time.Second)
	if c.With(kept) != was || c.accesses.lru.Len() != 2 {
		t.Error("let go of too soon")
	}
	now = now.Add(2 * time.Second)
	if c.With(kept) != was {
		t.Error("one that is in use is let go of")
	}
	if c.accesses.lru.Contains(gone.ID()) || c.accesses.bytes != kept.held() {
		t.Error("one that nobody asks for is held")
	}
}

func TestWhatIsKeptOfAnAccessIsBoundedOverAll(t *testing.T) {
	t.Parallel()
	c := testClient(t, Options{})
	for i := range 3 * maxTags {
		c.tags.Add(tagKey{verify.Access{byte(i)}, fmt.Sprint(i)}, resolved{})
	}
	for i := range 3 * maxOpened {
		c.opened.Add(openedKey{verify.Access{byte(i)}, fmt.Sprint(i)}, secret{username: "u"}.id())
	}
	if c.tags.Len() != maxTags || c.opened.Len() != maxOpened {
		t.Errorf("%d tags, %d repositories", c.tags.Len(), c.opened.Len())
	}
}
