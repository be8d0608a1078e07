// Command keyless starts a keyless Sigstore on loopback, writes into a directory
// what scripts need to sign and verify with it, and runs until it is stopped.
//
//	go run ./test/keyless/cmd/keyless -dir /tmp/stack &
//	until [ -e /tmp/stack/env ]; do sleep 0.1; done
//	. /tmp/stack/env
//	cosign3 sign --identity-token "$(curl -s "$TOKEN_URL?email=dev@example.com")" \
//	  --signing-config "$STACK/signing-config-rekor2.json" --trusted-root "$STACK/trusted_root.json" -y IMAGE@DIGEST
//
// env is written last, when everything answers, and removed at the end. It has
// FULCIO_URL, REKOR1_URL, REKOR2_URL, TIMESTAMP_URL and OFF_TIMESTAMP_URL (empty
// for a part left out), TOKEN_URL, CLOCK_URL and STACK, the directory.
//
// A GET of TOKEN_URL answers an identity token, for one of: ?email=ADDRESS,
// ?subject=URI, ?github=OWNER/NAME (with file, ref, event, commit, runner,
// visibility, environment, signer: the fields of keyless.Workflow),
// ?gitlab=OWNER/NAME; issuer=URL names another issuer of that kind.
//
// A POST to CLOCK_URL?ahead=DURATION sets the clock of Rekor v1 and of the
// timestamp authority at OFF_TIMESTAMP_URL: what they do from then on is done so
// much later, or with a minus earlier, than it is.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pratique-dev/pratique/test/keyless"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		log.Fatal("keyless: ", err)
	}
}

// run starts the stack and returns when ctx ends.
func run(ctx context.Context, args []string) (err error) {
	var dir string
	var options keyless.Options
	flags := flag.NewFlagSet("keyless", flag.ExitOnError)
	flags.StringVar(&dir, "dir", "", "directory to write into (it is made if need be)")
	flags.Func("without", fmt.Sprintf("a part to leave out (repeatable): %s", keyless.Parts()), func(s string) error {
		options.Without = append(options.Without, keyless.Part(s))
		return nil
	})
	flags.Func("issuer", "KIND=URL: an issuer more (repeatable); the kinds are email, github-workflow, gitlab-pipeline and uri", func(s string) error {
		kind, url, ok := strings.Cut(s, "=")
		if !ok {
			return errors.New("it is KIND=URL")
		}
		options.Issuers = append(options.Issuers, keyless.Issuer{URL: url, Kind: keyless.Kind(kind)})
		return nil
	})
	if err := flags.Parse(args); err != nil {
		return err
	}
	if dir == "" || flags.NArg() != 0 {
		return errors.New("give -dir, and nothing but flags")
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	var ahead atomic.Int64 // nanoseconds
	options.Clock = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	options.Dir = filepath.Join(dir, "run")
	s, err := keyless.Start(ctx, options)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := s.Write(dir); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	desk := &http.Server{Handler: newDesk(s, &ahead), ReadHeaderTimeout: 10 * time.Second}
	defer desk.Close()
	go desk.Serve(listener)

	env := filepath.Join(dir, "env")
	here := "http://" + listener.Addr().String()
	text := s.Shell() + fmt.Sprintf("TOKEN_URL='%s/token'\nCLOCK_URL='%s/clock'\nSTACK='%s'\n", here, here, dir)
	if err := os.WriteFile(env+".new", []byte(text), 0o644); err != nil {
		return err
	}
	if err := os.Rename(env+".new", env); err != nil {
		return err
	}
	defer os.Remove(env)
	fmt.Print(text)
	<-ctx.Done()
	return nil
}

// newDesk hands out tokens and sets the clock.
func newDesk(s *keyless.Stack, ahead *atomic.Int64) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /token", func(w http.ResponseWriter, r *http.Request) {
		token, err := s.Token(claims(r))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		fmt.Fprint(w, token)
	})
	mux.HandleFunc("POST /clock", func(w http.ResponseWriter, r *http.Request) {
		d, err := time.ParseDuration(r.URL.Query().Get("ahead"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		ahead.Store(int64(d))
	})
	return mux
}

// claims reads whom a token is asked for.
func claims(r *http.Request) keyless.Claims {
	get := r.URL.Query().Get
	c := keyless.Claims{Issuer: get("issuer"), Email: get("email"), Subject: get("subject")}
	if repository := get("github"); repository != "" {
		c.GitHub = &keyless.Workflow{
			Repository: repository, File: get("file"), Ref: get("ref"), Event: get("event"), Commit: get("commit"),
			Runner: get("runner"), Visibility: get("visibility"), Environment: get("environment"), Signer: get("signer"),
		}
	}
	if project := get("gitlab"); project != "" {
		c.Extra = keyless.GitLab(project)
		if c.Issuer == "" {
			c.Issuer = keyless.GitLabIssuer
		}
	}
	return c
}
