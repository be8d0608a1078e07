package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/spf13/cobra"

	"github.com/pratique-dev/pratique/internal/registry"
	"github.com/pratique-dev/pratique/pkg/admission"
	"github.com/pratique-dev/pratique/pkg/policy"
	"github.com/pratique-dev/pratique/pkg/verify"
)

// verifyTimeout bounds one run: more patience than an admission has, and an end all the same.
const verifyTimeout = 2 * time.Minute

// verifyFlags are the flags of `pratique verify`.
type verifyFlags struct {
	files     []string
	namespace string
	output    string
	manifest  string
	plainHTTP []string
	unmatched string
	config    string
	cluster   clusterFlags
}

func verifyCommand() *cobra.Command {
	var f verifyFlags
	cmd := &cobra.Command{
		Use:   "verify [-f FILE]... [-n NAMESPACE] [--manifest FILE] [IMAGE]...",
		Short: "Say whether images may run in a namespace, and why",
		Long: `Say whether images may run in a namespace, by the engine that the webhook runs.

With -f, the policies are those of the files, with whatever they refer to: Secrets, ConfigMaps and Namespaces. Without, they are
those of the current kubeconfig's cluster, and their public keys are read from the policies' status.

Exit status: 0 every image is allowed; 1 an image violates a policy; 2 none does, but something could not be found out; 3 used wrongly.`,
		Example: `  pratique verify -f policy.yaml registry.example.com/payments/api:1.4.2
  kubectl pratique verify -n payments registry.example.com/payments/api@sha256:...
  pratique verify -f policies/ -n payments --manifest deployment.yaml -o json`,
		RunE: func(cmd *cobra.Command, images []string) error {
			return f.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr(), images)
		},
	}
	flags := cmd.Flags()
	flags.StringArrayVarP(&f.files, "filename", "f", nil, "file or directory of policies and of what they refer to; - is standard input (repeatable)")
	flags.StringVarP(&f.namespace, "namespace", "n", "default", "the namespace whose policies are asked")
	flags.StringVarP(&f.output, "output", "o", "text", "text or json")
	flags.StringVar(&f.manifest, "manifest", "", "file of Pods and workloads whose images are judged too")
	flags.StringArrayVar(&f.plainHTTP, "plain-http", nil, "registry HOST[:PORT] that is spoken to by plain http (repeatable; without a port, every port)")
	flags.StringVar(&f.unmatched, "unmatched-images", "Allow", "what the install does with images in a namespace that no enforcing policy closes: Deny, Warn or Allow")
	flags.StringVar(&f.config, "registry-config", "", "docker config.json with the credentials of registries (default: $DOCKER_CONFIG/config.json or ~/.docker/config.json, where there is one; credential helpers are not called)")
	f.cluster.bind(flags)
	return cmd
}

func (f *verifyFlags) run(ctx context.Context, out, notes io.Writer, written []string) error {
	ctx, cancel := context.WithTimeout(ctx, verifyTimeout)
	defer cancel()
	if f.output != "text" && f.output != "json" {
		return wrong("-o %s: want text or json", f.output)
	}
	rule, err := policy.ParseUnmatchedRule(f.unmatched)
	if err != nil {
		return wrong("--unmatched-images: %w", err)
	}
	images, err := f.images(written)
	if err != nil {
		return err
	}
	set, err := f.policies(ctx, rule, notes)
	if err != nil {
		return err
	}
	evaluator, err := f.evaluator(set)
	if err != nil {
		return err
	}
	d := evaluator.Decide(ctx, admission.Query{Namespace: f.namespace, Images: images})
	if f.output == "json" {
		err = printJSON(out, d)
	} else {
		_, err = io.WriteString(out, report(d))
	}
	if err != nil {
		return err
	}
	if code := exitCode(d); code != exitAllowed {
		return &exitError{code: code}
	}
	return nil
}

// images gathers what is asked about.
func (f *verifyFlags) images(written []string) ([]admission.Image, error) {
	var images []admission.Image
	for _, w := range written {
		images = append(images, admission.Image{List: "image", Name: "", Reference: w})
	}
	if f.manifest != "" {
		data, err := readInput(f.manifest)
		if err != nil {
			return nil, wrong("--manifest: %w", err)
		}
		found, err := manifestImages(data)
		if err != nil {
			return nil, wrong("--manifest %s: %w", f.manifest, err)
		}
		images = append(images, found...)
	}
	if len(images) == 0 {
		return nil, wrong("no image: name one, or give --manifest FILE")
	}
	return images, nil
}

// evaluator makes the webhook's engine over one set of policies.
func (f *verifyFlags) evaluator(set policy.Set) (*admission.Evaluator, error) {
	client, err := registry.New(registry.Options{
		PlainHTTP: f.plainHTTP, UserAgent: "pratique/" + version, Guard: registry.NewGuard(registry.GuardOptions{}),
	})
	if err != nil {
		return nil, wrong("--plain-http: %w", err)
	}
	creds, err := f.credentials()
	if err != nil {
		return nil, err
	}
	verifier, err := verify.NewVerifier(verify.Options{})
	if err != nil {
		return nil, err
	}
	return &admission.Evaluator{Policies: fixed{set}, Registries: shell{client, creds}, Verifier: verifier}, nil
}

// credentials reads the docker config: the one named, or else docker's own if it is there.
func (f *verifyFlags) credentials() (registry.Credentials, error) {
	path := f.config
	if path == "" {
		dir := os.Getenv("DOCKER_CONFIG")
		if home, err := os.UserHomeDir(); dir == "" && err == nil {
			dir = filepath.Join(home, ".docker")
		}
		path = filepath.Join(dir, "config.json")
		if _, err := os.Stat(path); err != nil {
			return registry.Credentials{}, nil
		}
	}
	data, err := readInput(path)
	if err != nil {
		return registry.Credentials{}, wrong("--registry-config: %w", err)
	}
	creds, err := registry.ParseDockerConfig(data)
	if err != nil {
		return registry.Credentials{}, wrong("--registry-config %s: %w", path, err)
	}
	return creds, nil
}

// fixed is the one set of policies that is asked.
type fixed struct{ set policy.Set }

// Set implements admission.PolicySource.
func (f fixed) Set(context.Context, string) (policy.Set, error) { return f.set, nil }

// shell opens registries with the credentials of whoever runs the CLI.
type shell struct {
	client *registry.Client
	creds  registry.Credentials
}

// Registry implements admission.Registries.
func (s shell) Registry(_ context.Context, _ string, _ []string, repository name.Repository) (admission.Registry, error) {
	return s.client.With(s.creds.For(repository)), nil
}

// readInput reads a file, or standard input by the name -, within a bound.
func readInput(path string) ([]byte, error) {
	const most = 16 << 20 // manifests of a whole cluster fit; a disk image doesn't
	var in io.Reader = os.Stdin
	if path != "-" {
		file, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer file.Close() //nolint:errcheck // only read
		in = file
	}
	data, err := io.ReadAll(io.LimitReader(in, most+1))
	if err != nil {
		return nil, err
	}
	if len(data) > most {
		return nil, fmt.Errorf("%s is over %d MiB", path, most>>20)
	}
	return data, nil
}

// exitCode is the verdict as a number: a violation before what could not be found out.
func exitCode(d admission.Decision) int {
	if d.Allowed() {
		return exitAllowed
	}
	for _, j := range d.Images {
		for _, v := range j.Verdicts {
			if v.Mode == policy.Enforce && v.Outcome() == policy.Violated {
				return exitViolated
			}
		}
	}
	return exitUndetermined
}

// printJSON prints the decision for programs.
func printJSON(out io.Writer, d admission.Decision) error {
	doc := struct {
		Namespace string                  `json:"namespace"`
		Decision  string                  `json:"decision"`
		Reasons   []policy.Reason         `json:"reasons"`
		Detail    string                  `json:"detail,omitempty"`
		Images    []admission.ImageRecord `json:"images"`
	}{Namespace: d.Namespace, Decision: d.Word(), Reasons: d.Reasons(), Images: d.Describe()}
	if d.Refusal != nil {
		doc.Detail = d.Refusal.Detail
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(doc); err != nil {
		return err
	}
	_, err := out.Write(b.Bytes())
	return err
}
