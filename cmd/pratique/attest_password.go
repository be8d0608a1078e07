package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/term"
)

// passwordVariable holds the password of a cosign key, as it does for cosign. One that is set and empty is a password too.
const passwordVariable = "COSIGN_PASSWORD"

// password is the password of a key: of the environment, or else what somebody types. It is shown nowhere.
func password(ctx context.Context, notes io.Writer) ([]byte, error) {
	if text, ok := os.LookupEnv(passwordVariable); ok {
		return []byte(text), nil
	}
	stdin := int(os.Stdin.Fd())
	if !term.IsTerminal(stdin) {
		return nil, errors.New("the key is encrypted, and there is no terminal to ask for its password: set " + passwordVariable + " (for a key without a password, to nothing)")
	}
	before, err := term.GetState(stdin)
	if err != nil {
		return nil, fmt.Errorf("the terminal can't be asked for the password: %w; set %s", err, passwordVariable)
	}
	fmt.Fprint(notes, "Password of the key: ")
	type answer struct {
		text []byte
		err  error
	}
	typed := make(chan answer, 1)
	go func() {
		text, err := term.ReadPassword(stdin)
		typed <- answer{text, err}
	}()
	select {
	case a := <-typed:
		fmt.Fprintln(notes)
		return a.text, a.err
	case <-ctx.Done(): // the reading goes on until the program ends, without an echo if nobody restored it
		fmt.Fprintln(notes)
		return nil, errors.Join(errors.New("no password was given"), term.Restore(stdin, before))
	}
}
