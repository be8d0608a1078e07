package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/pratique-dev/pratique/test/interop"
	"github.com/pratique-dev/pratique/test/interop/internal/layout"
	"github.com/pratique-dev/pratique/test/keyless"
)

// lateness is how far ahead clocks are for what is signed too late: Fulcio's certificates last ten minutes.
const lateness = time.Hour

// studio is what the cells are made with.
type studio struct {
	*workbench
	stack *keyless.Stack
	late  *atomic.Bool // whether the clock of Rekor v1 and of the second timestamp authority is ahead
	hosts map[interop.Registry]string
}

// makeCells makes the second set, in out.
func makeCells(ctx context.Context, w *workbench, hosts map[interop.Registry]string, out string) (err error) {
	s := studio{workbench: w, late: new(atomic.Bool), hosts: hosts}
	s.stack, err = keyless.Start(ctx, keyless.Options{Clock: func() time.Time {
		if s.late.Load() {
			return time.Now().Add(lateness)
		}
		return time.Now()
	}})
	if err != nil {
		return err
	}
	defer s.stack.Close()
	if err := os.MkdirAll(filepath.Join(out, "layouts"), 0o755); err != nil {
		return err
	}
	if err := s.prepare(ctx, out); err != nil {
		return err
	}
	list := cells()
	for i := range list {
		fmt.Println("make", list[i].Name)
		if err := s.makeCell(ctx, out, &list[i]); err != nil {
			return fmt.Errorf("%s: %w", list[i].Name, err)
		}
	}
	text, err := json.MarshalIndent(list, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(out, "cells.json"), append(text, '\n'), 0o644)
}

// prepare gives the tools the stack's files and certificates, and out what is trusted.
func (s studio) prepare(ctx context.Context, out string) error {
	for _, tool := range tools() {
		if err := s.stack.Write(s.dirs[tool]); err != nil {
			return err
		}
	}
	for _, v := range keyless.Environ(s.dirs[interop.Cosign3]) {
		if strings.HasPrefix(v, "SIGSTORE_") {
			s.env = append(s.env, v)
		}
	}
	for from, to := range map[string]string{"a.pub": "key.pub", "b.pub": "other.pub", keyless.TrustedRootFile: keyless.TrustedRootFile} {
		text, err := os.ReadFile(filepath.Join(s.dirs[interop.Cosign3], from))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(out, to), text, 0o644); err != nil {
			return err
		}
	}
	return makePKI(ctx, s.workbench, out)
}

// makeCell makes the images of a cell, has its tool sign each, and does to some of the papers what no tool does.
func (s studio) makeCell(ctx context.Context, out string, c *interop.Cell) error {
	repo := layout.Repository{Client: http.DefaultClient, Base: "http://" + s.hosts[c.Registry], Name: c.Repository}
	if impossible(*c) {
		return s.noteRefusal(ctx, repo, c)
	}
	other, err := s.sign(ctx, repo, *c, another)
	if err != nil {
		return err
	}
	for _, state := range states(*c) {
		var sample interop.Sample
		if state == interop.OtherDigest || state == interop.Forged { // nobody signs this image
			sample = interop.Sample{State: state, OtherDigest: other.Digest, Commands: []string{strings.ReplaceAll(other.Commands[0], "$IMAGE", "$OTHER")}}
			sample.Digest, err = pushCellImage(ctx, repo, *c, state)
		} else {
			sample, err = s.sign(ctx, repo, *c, state)
		}
		if err != nil {
			return err
		}
		c.Samples = append(c.Samples, sample)
	}
	contents, err := repo.Pull(ctx)
	if err != nil {
		return err
	}
	for i, sample := range c.Samples {
		switch sample.State {
		case interop.OtherDigest, interop.Forged, interop.Tampered, interop.TamperedProof, interop.Swapped, interop.SwappedTimestamp:
			did, err := attack(*c, contents, sample.State, sample.Digest, other.Digest)
			if err != nil {
				return fmt.Errorf("%s: %w", sample.State, err)
			}
			c.Samples[i].Commands = append(sample.Commands, did)
		}
	}
	return contents.Write(filepath.Join(out, "layouts", c.Name))
}

// sign pushes the image of a state and has the cell's tool sign it.
func (s studio) sign(ctx context.Context, repo layout.Repository, c interop.Cell, state interop.State) (interop.Sample, error) {
	sample := interop.Sample{State: state}
	var err error
	if sample.Digest, err = pushCellImage(ctx, repo, c, state); err != nil {
		return sample, err
	}
	how := signing{cell: c, state: state, stack: s.stack}
	if kindOf(c.Signer).token {
		if how.token, err = s.stack.Token(claims(state)); err != nil {
			return sample, err
		}
	}
	args := how.args(s.hosts[c.Registry] + "/" + c.Repository + "@" + sample.Digest)
	s.late.Store(how.late())
	defer s.late.Store(false)
	sample.Commands = []string{how.shown(args)}
	return sample, s.cosign(ctx, c.Tool, args...)
}

// noteRefusal has the tool try what it can't do, and notes what it says.
func (s studio) noteRefusal(ctx context.Context, repo layout.Repository, c *interop.Cell) error {
	_, err := s.sign(ctx, repo, *c, interop.Signed)
	if err == nil {
		return fmt.Errorf("%s made it: it isn't impossible any more", c.Tool)
	}
	for line := range strings.Lines(err.Error()) {
		if said, ok := strings.CutPrefix(line, "Error: "); ok {
			if i := strings.LastIndex(said, "signing bundle: "); i >= 0 {
				said = said[i+len("signing bundle: "):] // the image before it is another at each run
			}
			c.Refused = strings.TrimSpace(said)
			return nil
		}
	}
	return fmt.Errorf("failed in another way than by refusing: %w", err)
}

// pushCellImage pushes an image of one config and no layer, which only its annotation tells from others, and tags it with the state.
func pushCellImage(ctx context.Context, repo layout.Repository, c interop.Cell, state interop.State) (string, error) {
	config := []byte(`{"architecture":"amd64","os":"linux","config":{},"rootfs":{"type":"layers","diff_ids":[]}}`)
	var body bytes.Buffer
	fmt.Fprintf(&body, `{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":%q,"digest":%q,"size":%d},"layers":[],"annotations":{"org.opencontainers.image.title":%q}}`,
		layout.MediaTypeManifest, "application/vnd.oci.image.config.v1+json", layout.Digest(config), len(config), c.Name+" "+string(state))
	m := layout.Manifest{MediaType: layout.MediaTypeManifest, Body: body.Bytes()}
	contents := layout.New()
	contents.AddBlob(config)
	contents.AddManifest(m, string(state))
	return m.Digest(), repo.Push(ctx, contents)
}
