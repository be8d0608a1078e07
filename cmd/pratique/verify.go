package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/pratique-dev/pratique/internal/registry"
	"github.com/pratique-dev/pratique/pkg/admission"
	"github.com/pratique-dev/pratique/pkg/policy"
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
	list      string
	unmatched string
	pin       bool
	explain   bool
	config    string
	cluster   clusterFlags

	namespaced bool // -n was given
}

func verifyCommand() *cobra.Command {
	var f verifyFlags
	cmd := &cobra.Command{
		Use:   "verify [-f FILE]... [-n NAMESPACE] [--manifest FILE] [IMAGE]...",
		Short: "Say whether images may run in a namespace, and why",
		Long: `Say whether images may run in a namespace, by the engine that the webhook runs.

With -f, the policies are those of the files, with whatever they refer to: Secrets, ConfigMaps, TrustRoots and Namespaces. Without,
they are those of the current kubeconfig's cluster, and their public keys and trusted roots are read from the objects' statuses.

Exit status: 0 every image is allowed; 1 an image violates a policy; 2 none does, but something could not be found out; 3 used wrongly,
or a policy can't be used as it is written.`,
		Example: `  pratique verify -f policy.yaml registry.example.com/payments/api:1.4.2
  kubectl pratique verify -n payments --explain registry.example.com/payments/api@sha256:...
  pratique verify -f policies/ -n payments --manifest deployment.yaml -o json`,
		DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, images []string) error {
			f.namespaced = cmd.Flags().Changed("namespace")
			return f.run(cmd.Context(), cmd.Root().DisplayName(), cmd.OutOrStdout(), cmd.ErrOrStderr(), images)
		},
	}
	flags := cmd.Flags()
	f.bindPolicies(flags)
	f.bindRegistries(flags)
	flags.BoolVar(&f.explain, "explain", false, "after the verdicts, tell for each authority what was looked for, where, what was there, and why it was not accepted")
	flags.StringVar(&f.manifest, "manifest", "", "`FILE` of Pods and workloads whose images are judged too; - is standard input")
	flags.StringVar(&f.unmatched, "unmatched-images", "Allow", "what the install does with images in a namespace that no enforcing policy closes: Deny, Warn or Allow")
	flags.BoolVar(&f.pin, "pin", true, "the install rewrites tags to digests where policies want it; with --pin=false such a tag is refused, with the digest to use")
	return cmd
}

// bindPolicies binds the flags that say whose policies are asked, and how the answer is printed.
func (f *verifyFlags) bindPolicies(flags *pflag.FlagSet) {
	flags.StringArrayVarP(&f.files, "filename", "f", nil, "`FILE` or directory of policies and of what they refer to; - is standard input (repeatable)")
	flags.StringVarP(&f.namespace, "namespace", "n", "default", "the `NAMESPACE` whose policies are asked")
	flags.StringVarP(&f.output, "output", "o", "text", "text or json")
	f.cluster.bind(flags)
}

// bindRegistries binds the flags that say how registries are spoken to.
func (f *verifyFlags) bindRegistries(flags *pflag.FlagSet) {
	flags.StringArrayVar(&f.plainHTTP, "plain-http", nil, "registry or TUF mirror `HOST[:PORT]` that is spoken to by plain http, and may be at any address (repeatable; without a port, every port)")
	flags.StringVar(&f.list, "registries", "", "YAML `FILE` of how registries are read, as the install has it: mirrors, CAs, plain http; where it names a secretRef, which is the install's, give credentials of your own")
	flags.StringVar(&f.config, "registry-config", "", "docker config.json `FILE` with the credentials of registries (default: $DOCKER_CONFIG/config.json or ~/.docker/config.json, where there is one; credential helpers are not called)")
}

func (f *verifyFlags) run(ctx context.Context, program string, out, notes io.Writer, written []string) error {
	ctx, cancel := context.WithTimeout(ctx, verifyTimeout)
	defer cancel()
	rule, err := f.check()
	if err != nil {
		return err
	}
	images, err := f.images(written)
	if err != nil {
		return err
	}
	in, err := f.policies(ctx, rule, notes)
	if err != nil {
		return err
	}
	for _, w := range in.objects.warnings {
		fmt.Fprintln(notes, "warning:", w)
	}
	evaluator, err := f.evaluator(in.set)
	if err != nil {
		return err
	}
	d := decide(ctx, evaluator, f.namespace, images)
	var explanations []explained
	if f.explain {
		explanations = explainer{evaluator, in, f.namespace, program, f.plainHTTP}.all(ctx, d)
	}
	if f.output == "json" {
		err = printJSON(out, d, in.objects.warnings, explanations)
	} else {
		_, err = io.WriteString(out, report(d)+explainText(explanations))
	}
	if err != nil {
		return err
	}
	for _, cure := range cures(d) {
		fmt.Fprintln(notes, "note:", cure)
	}
	if in.note != "" {
		fmt.Fprintln(notes, "\nWARNING:", in.note)
	}
	return in.exit(d)
}

// exit ends the program with what came of it: what can't be used first, for until that is mended nothing more is known.
func (in inForce) exit(d admission.Decision) error {
	lines := func(all []string) string { return strings.Join(all, "\n  ") }
	code := exitCode(d)
	switch {
	case len(in.unusable) > 0:
		return wrong("policies can't be used, for what they refer to isn't there or isn't fit:\n  %s", lines(append(in.unusable, in.unknown...)))
	case len(in.unknown) > 0:
		return &exitError{code: cmp.Or(code, exitUndetermined), err: fmt.Errorf("policies can't be used now, for what they refer to could not be reached:\n  %s", lines(in.unknown))}
	case code != exitAllowed:
		return &exitError{code: code}
	}
	return nil
}

// check looks at what can be wrong with the flags by themselves.
func (f *verifyFlags) check() (policy.UnmatchedRule, error) {
	rule, err := policy.ParseUnmatchedRule(f.unmatched)
	if err != nil {
		return rule, wrong("--unmatched-images: %w", err)
	}
	if f.output != "text" && f.output != "json" {
		return rule, wrong("-o %s: want text or json", f.output)
	}
	for flag, namespace := range map[string]string{"-n": f.namespace, "--install-namespace": cmp.Or(f.cluster.install, "unset")} {
		if len(validation.IsDNS1123Label(namespace)) > 0 {
			return rule, wrong("%s %q: not the name of a namespace", flag, namespace)
		}
	}
	for _, host := range f.plainHTTP {
		if _, err := registry.ParseHostPort(host); err != nil {
			return rule, wrong("--plain-http: %w", err)
		}
	}
	stdin := 0
	for _, path := range slices.Concat(f.files, []string{f.manifest, f.config}) {
		if path == "-" {
			stdin++
		}
	}
	if stdin > 1 {
		return rule, wrong("- is given %d times, and standard input can be read once: write the rest to files", stdin)
	}
	if len(f.files) > 0 && (f.cluster.kubeconfig != "" || f.cluster.context != "") {
		return rule, wrong("-f takes the policies from files, --kubeconfig and --context from a cluster: leave out one or the other")
	}
	return rule, nil
}

// images gathers what is asked about.
func (f *verifyFlags) images(written []string) ([]admission.Image, error) {
	var images []admission.Image
	for i, w := range written {
		images = append(images, admission.Image{List: argument, Name: fmt.Sprint(i + 1), Reference: w})
	}
	if f.manifest == "" {
		if len(images) == 0 {
			return nil, wrong("no image: name one, or give --manifest FILE")
		}
		return images, nil
	}
	data, err := readInput(f.manifest)
	if err != nil {
		return nil, wrong("--manifest: %w", err)
	}
	found, err := manifestImages(data, f.namespace)
	if err != nil {
		return nil, wrong("--manifest %s, %w", f.manifest, err)
	}
	if len(found) == 0 {
		return nil, wrong("--manifest %s: no Pod and no workload in it", f.manifest)
	}
	return append(images, found...), nil
}

// argument is the place of an image that the command line names.
const argument admission.List = "argument"

// decide asks about each distinct image once, however many there are: what bounds a Pod doesn't bound the manifests of a
// whole cluster.
func decide(ctx context.Context, e *admission.Evaluator, namespace string, images []admission.Image) admission.Decision {
	places := map[string][]admission.Image{}
	var distinct []admission.Image
	for _, img := range images {
		if len(places[img.Reference]) == 0 {
			distinct = append(distinct, img)
		}
		places[img.Reference] = append(places[img.Reference], img)
	}
	var all admission.Decision
	for some := range slices.Chunk(distinct, admission.MaxImages) {
		d := e.Decide(ctx, admission.Query{Namespace: namespace, Images: some, Ahead: true})
		if d.Refusal != nil {
			return d
		}
		all.Namespace, all.Images = d.Namespace, append(all.Images, d.Images...)
	}
	for i := range all.Images {
		all.Images[i].Images = places[all.Images[i].Written]
	}
	return all
}

// readInput reads a file, or standard input by the name -, within a bound.
func readInput(path string) ([]byte, error) {
	return readUpTo(path, 16<<20) // manifests of a whole cluster fit; a disk image doesn't
}

// readUpTo reads a file of at most so many bytes, or standard input by the name -.
func readUpTo(path string, most int64) ([]byte, error) {
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
	if int64(len(data)) > most {
		return nil, fmt.Errorf("%s is over %d MiB", path, most>>20)
	}
	return data, nil
}
