package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pratique-dev/pratique/internal/compile"
	"github.com/pratique-dev/pratique/internal/trust"
	"github.com/pratique-dev/pratique/pkg/policy"
)

// clusterFlags say which cluster is asked where no files are given.
type clusterFlags struct {
	kubeconfig string
	context    string
	install    string
}

func (c *clusterFlags) bind(f *pflag.FlagSet) {
	f.StringVar(&c.kubeconfig, "kubeconfig", "", "kubeconfig file of the cluster that is asked where -f isn't given (default: as kubectl)")
	f.StringVar(&c.context, "context", "", "context of the kubeconfig")
	f.StringVar(&c.install, "install-namespace", "", "the install's own namespace, where ClusterImagePolicies' Secrets and ConfigMaps are (default: in a cluster pratique-system, in files whichever has them)")
}

// inForce is the policies in force, as they were written and as they were compiled.
type inForce struct {
	set     policy.Set
	objects *objects
	// unknown is what kept policies from being compiled and may be otherwise the next time; unusable is what only somebody can mend.
	unknown, unusable []string
	// note is what has to be known of the whole answer; empty if there is nothing.
	note string
}

// policies returns the policies in force: of the files, or else of the cluster. One that can't be used is among them, and refuses what it
// matches, so that the others are judged all the same.
func (f *verifyFlags) policies(ctx context.Context, rule policy.UnmatchedRule, notes io.Writer) (inForce, error) {
	in := inForce{objects: newObjects(f.namespace)}
	ask := f.mirrors(notes)
	var unresolved []compile.Unresolved
	if len(f.files) > 0 {
		bundle, err := f.load(in.objects)
		if err != nil {
			return in, &exitError{code: exitUsage, err: err}
		}
		bundle.InstallNamespace, bundle.Mirror = f.cluster.install, ask.mirror
		in.set, unresolved = bundle.Set(ctx, f.namespace, rule)
	} else {
		answer, err := f.cluster.ask(ctx, f.namespace, rule, ask.mirror, in.objects)
		if err != nil {
			return in, &exitError{code: exitUsage, err: fmt.Errorf("no -f, and the cluster's policies can't be read: %w; give -f FILE, or --kubeconfig FILE", err)}
		}
		in.set, unresolved = answer.Set, answer.Unresolved
		for _, note := range answer.Notes {
			fmt.Fprintln(notes, "note:", note)
		}
	}
	for _, u := range unresolved {
		switch {
		case u.Authority == "": // which policies are about the namespace isn't known
			return in, wrong("it isn't known which policies are about namespace %s:\n  %s", f.namespace, u)
		case ask.failed(in.objects.mirrors(in.objects.trustRoot(u.Policy, u.Authority))):
			in.unknown = append(in.unknown, u.String())
		case !in.objects.policies[u.Policy].unusable: // of those that are, the verdicts tell what the cluster says
			in.unusable = append(in.unusable, u.String())
		}
	}
	if len(f.files) > 0 {
		in.unusable = append(in.unusable, unfit(in.set, unresolved)...)
	}
	in.note = f.nothingAsked(in)
	return in, nil
}

// unfit are the policies that nothing is missing of, and that can't be used all the same, such as by a TrustRoot without the log that is demanded.
func unfit(set policy.Set, unresolved []compile.Unresolved) (out []string) {
	for _, p := range set.All() {
		if p.Unusable == "" || slices.ContainsFunc(unresolved, func(u compile.Unresolved) bool { return u.Policy == p.Name }) {
			continue
		}
		kind := compile.KindImagePolicy
		if p.Name.Namespace == "" {
			kind = compile.KindClusterImagePolicy
		}
		out = append(out, fmt.Sprintf("%s %s: %s", kind, p.Name, p.Unusable))
	}
	return out
}

// nothingAsked says that no policy is about the namespace, and which are about others: whoever forgot -n must not take it for an answer.
func (f *verifyFlags) nothingAsked(in inForce) string {
	if len(in.set.All()) > 0 {
		return ""
	}
	where, others := "the cluster's", map[string]bool{}
	if len(f.files) > 0 {
		where = "the files'"
		for name := range in.objects.policies {
			if name.Namespace != "" {
				others[name.Namespace] = true
			}
		}
	}
	asked := "namespace " + f.namespace
	if !f.namespaced {
		asked += ", which is asked where no -n is given"
	}
	text := fmt.Sprintf("NOTHING WAS CHECKED: none of %s policies is about %s", where, asked)
	if names := slices.Sorted(maps.Keys(others)); len(names) > 0 {
		text += "; there are policies about " + strings.Join(names[:min(len(names), maxNamed)], ", ")
		if len(names) > maxNamed {
			text += fmt.Sprintf(" and %d more", len(names)-maxNamed)
		}
	}
	return text + ": give -n NAMESPACE (in files, its labels are those of its Namespace document)"
}

// maxNamed bounds the namespaces that are named in a note: what doesn't fit a line or two isn't read.
const maxNamed = 8

// asker asks TUF mirrors for the trusted root that they have now, and keeps which could not be reached.
type asker struct {
	fetch       func(context.Context, trust.MirrorConfig) trust.State
	notes       io.Writer
	unreachable map[string]bool // by URL
}

// mirrors asks them anew at each run, where the webhook follows them: there is nobody here who could. Each is asked once.
func (f *verifyFlags) mirrors(notes io.Writer) *asker {
	return &asker{compile.FetchMirror(trust.Options{PlainHTTP: f.plainHTTP, UserAgent: "pratique/" + version}), notes, map[string]bool{}}
}

// mirror asks one. What is long of its failure is told apart: verdicts have a line for it, where the end would be lost, and the cure with it.
func (a *asker) mirror(ctx context.Context, c trust.MirrorConfig) trust.State {
	const most = 168 // what is left of a line that begins with the authority, the TrustRoot and the source
	state := a.fetch(ctx, c)
	var failed *trust.MirrorError
	if errors.Is(state.Err, context.DeadlineExceeded) || errors.As(state.Err, &failed) && failed.Result == trust.ResultUnreachable {
		a.unreachable[c.URL] = true
	}
	if state.Err != nil && len(state.Err.Error()) > most {
		fmt.Fprintln(a.notes, "note:", ascii(state.Err.Error()))
		state.Err = errors.New(middle(state.Err.Error(), most))
	}
	return state
}

// failed tells whether any of some mirrors could not be reached.
func (a *asker) failed(urls []string) bool {
	return slices.ContainsFunc(urls, func(url string) bool { return a.unreachable[url] })
}

// middle is a text in at most so many bytes, without what is in the middle of it: how errors begin and end tells most.
func middle(text string, most int) string {
	const gap = " ... "
	if len(text) <= most {
		return text
	}
	half := (most - len(gap)) / 2
	return text[:half] + gap + text[len(text)-half:]
}

// load reads the files and the YAML and JSON files of directories, and keeps what is written in them.
func (f *verifyFlags) load(into *objects) (*compile.Bundle, error) {
	var files []compile.File
	var texts [][]byte
	for _, path := range f.files {
		paths, err := expand(path)
		if err != nil {
			return nil, fmt.Errorf("-f %s: %w", path, err)
		}
		for _, p := range paths {
			data, err := readInput(p)
			if err != nil {
				return nil, fmt.Errorf("-f: %w", err)
			}
			files, texts = append(files, compile.File{Name: p, Reader: bytes.NewReader(data)}), append(texts, data)
		}
	}
	bundle, err := compile.LoadFiles(files...)
	if err != nil {
		return nil, err
	}
	for i, file := range files {
		into.file(file.Name, texts[i])
	}
	return bundle, nil
}

func expand(path string) ([]string, error) {
	if path == "-" {
		return []string{path}, nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, e := range entries {
		if !e.IsDir() && slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(e.Name())) {
			out = append(out, filepath.Join(path, e.Name()))
		}
	}
	if len(out) == 0 {
		return nil, errors.New("the directory has no .yaml, .yml or .json file")
	}
	return out, nil
}

// ask reads the policies of a namespace from the cluster, and keeps what is written in them.
func (c *clusterFlags) ask(
	ctx context.Context, namespace string, rule policy.UnmatchedRule, mirror func(context.Context, trust.MirrorConfig) trust.State, into *objects,
) (compile.ClusterAnswer, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = c.kubeconfig
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: c.context}).ClientConfig()
	if err != nil {
		return compile.ClusterAnswer{}, err
	}
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		return compile.ClusterAnswer{}, err
	}
	reader, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		return compile.ClusterAnswer{}, err
	}
	return compile.FromCluster(ctx, compile.ClusterQuery{
		Reader: remembering{reader, into}, Namespace: namespace, InstallNamespace: cmp.Or(c.install, "pratique-system"), Unmatched: rule, Mirror: mirror,
	})
}
