package conformance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// Main runs the client's command line and returns its exit code: 0 if the bundle was verified, and 1, with one line of reason, if it wasn't
// or if the command line can't be understood.
//
//	conformance verify-bundle [--staging] --bundle FILE
//	  (--certificate-identity NAME --certificate-oidc-issuer URL | --key FILE) [--trusted-root FILE] FILE_OR_DIGEST
//
// Without --trusted-root it is the public good instance's root that the release embeds. Nothing is fetched.
func Main(args []string, stderr io.Writer) int {
	err := run(context.Background(), args[1:], time.Now())
	if err == nil {
		return 0
	}
	fmt.Fprintln(stderr, "conformance:", oneLine(err.Error()))
	return 1
}

// oneLine keeps what libraries and strangers wrote on one line.
func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

func run(ctx context.Context, args []string, now time.Time) error {
	if len(args) == 0 {
		return errors.New("no command: want verify-bundle")
	}
	switch args[0] {
	case "verify-bundle":
		asked, err := parse(args[1:])
		if err != nil {
			return err
		}
		return asked.verify(ctx, now)
	case "sign-bundle":
		return errors.New("sign-bundle: pratique signs no bundles: run the suite with signing skipped")
	}
	return fmt.Errorf("%q is no command: want verify-bundle", args[0])
}
