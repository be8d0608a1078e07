package keyless_test

import (
	"errors"
	"testing"

	"github.com/pratique-dev/pratique/test/keyless"
)

// start starts a stack that ends with the test, or skips the test where its
// programs aren't built.
func start(t *testing.T, o keyless.Options) *keyless.Stack {
	t.Helper()
	s, err := keyless.Start(t.Context(), o)
	if errors.Is(err, keyless.ErrNoPrograms) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// token is a token that must be had.
func token(t *testing.T, s *keyless.Stack, c keyless.Claims) string {
	t.Helper()
	text, err := s.Token(c)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
