package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"

	"github.com/pratique-dev/pratique/test/interop"
)

// askTools serves the layouts as they were written, in fresh registries as the
// tests do, and asks both tools about every fixture. It notes their answers in
// fixtures and fails where a tool denies what it made itself, or accepts what
// nobody should.
func askTools(ctx context.Context, w *workbench, out string, fixtures []interop.Fixture) error {
	hosts := map[interop.Registry]string{}
	for _, kind := range []interop.Registry{interop.ReferrersAPI, interop.FallbackTag} {
		host, stop, err := serve(interop.NewRegistry(kind))
		if err != nil {
			return err
		}
		defer stop()
		hosts[kind] = host
	}
	written, err := interop.Read(os.DirFS(out))
	if err != nil {
		return err
	}
	for i, f := range written {
		host := hosts[f.Registry]
		if err := f.Push(ctx, http.DefaultClient, "http://"+host); err != nil {
			return err
		}
		if fixtures[i].Verifies, err = ask(ctx, w, f, host); err != nil {
			return fmt.Errorf("%s: %w", f.Name, err)
		}
		fmt.Println("ask ", f.Name, fixtures[i].Verifies)
	}
	return writeList(out, fixtures)
}

// ask returns the tools that accept f.
func ask(ctx context.Context, w *workbench, f interop.Fixture, host string) ([]interop.Tool, error) {
	key := "a"
	if f.State == interop.KeyType {
		key = f.Signers[0]
	}
	var accept []interop.Tool
	for _, tool := range tools() {
		err := w.cosign(ctx, tool, verifyCommand(tool, f, key, reference(host, f, f.Digest))...)
		if err == nil {
			accept = append(accept, tool)
		} else if ctx.Err() != nil {
			return nil, ctx.Err()
		} else if tool == f.Tool && good(f) {
			return nil, err
		}
	}
	if len(accept) > 0 && (f.State == interop.OtherKey || f.State == interop.OtherDigest) {
		return nil, fmt.Errorf("accepted by %v", accept)
	}
	if f.State == interop.SBOMInstead {
		return accept, checkSBOM(ctx, w, f, reference(host, f, f.Digest))
	}
	return accept, nil
}

// good tells whether f's own tool has to accept the image. Both tools sign with
// ed25519ph where the key is ed25519, and neither can verify that.
func good(f interop.Fixture) bool {
	switch f.State {
	case interop.Signed, interop.TwoSigners:
		return true
	case interop.KeyType:
		return f.Signers[0] != "ed25519"
	}
	return false
}

// checkSBOM has f's tool verify the attestation itself.
func checkSBOM(ctx context.Context, w *workbench, f interop.Fixture, image string) error {
	args := verifyCommand(f.Tool, f, "a", image)
	args[0] = "verify-attestation"
	return w.cosign(ctx, f.Tool, append([]string{args[0], "--type", "spdxjson"}, args[1:]...)...)
}

// writeList writes fixtures.json into dir.
func writeList(dir string, fixtures []interop.Fixture) error {
	body, err := json.MarshalIndent(fixtures, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "fixtures.json"), append(body, '\n'), 0o644)
}
