package conformance

import (
	"errors"
	"fmt"
	"strings"
)

// arguments are what verify-bundle was asked.
type arguments struct {
	bundle, identity, issuer, key, root string // empty: not given
	staging                             bool
	artifact                            string // a path or a digest
}

// parse reads the arguments in any order, flags as --name value or --name=value. Whatever is given twice, given empty, missing or
// contradictory is an error: each would leave it open what was verified.
func parse(args []string) (arguments, error) {
	var a arguments
	texts := map[string]*string{
		"--bundle": &a.bundle, "--certificate-identity": &a.identity, "--certificate-oidc-issuer": &a.issuer,
		"--key": &a.key, "--trusted-root": &a.root,
	}
	var rest []string
	for i := 0; i < len(args); i++ {
		name, value, joined := strings.Cut(args[i], "=")
		switch field := texts[name]; {
		case args[i] == "--staging":
			a.staging = true
			continue
		case args[i] == "--":
			rest = append(rest, args[i+1:]...)
			i = len(args)
			continue
		case field == nil && strings.HasPrefix(args[i], "-"):
			return a, fmt.Errorf("%s is no flag of verify-bundle", name)
		case field == nil:
			rest = append(rest, args[i])
			continue
		case *field != "":
			return a, fmt.Errorf("%s is given twice", name)
		case !joined && i+1 == len(args):
			return a, fmt.Errorf("%s has no value", name)
		case !joined:
			i++
			value = args[i]
			fallthrough
		default:
			if value == "" {
				return a, fmt.Errorf("%s is empty", name)
			}
			*field = value
		}
	}
	if len(rest) != 1 || rest[0] == "" {
		return a, fmt.Errorf("%d artifacts: want one file, or sha256: and its digest", len(rest))
	}
	a.artifact = rest[0]
	return a, a.check()
}

func (a arguments) check() error {
	named := a.identity != "" || a.issuer != ""
	switch {
	case a.bundle == "":
		return errors.New("--bundle is missing")
	case a.key != "" && named:
		return errors.New("--key and --certificate-identity exclude each other: a bundle is signed by one or the other")
	case a.key == "" && !named:
		return errors.New("neither --key nor --certificate-identity: anybody's signature would do")
	case a.key == "" && a.identity == "":
		return errors.New("--certificate-identity is missing beside --certificate-oidc-issuer")
	case a.key == "" && a.issuer == "":
		return errors.New("--certificate-oidc-issuer is missing beside --certificate-identity")
	case a.staging && a.root == "":
		return errors.New("--staging: the staging instance's trusted root isn't embedded: give it by --trusted-root")
	}
	return nil
}
