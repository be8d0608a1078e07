package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
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

// policies returns the policies in force: of the files, or else of the cluster. What they refer to and can't be had is named.
func (f *verifyFlags) policies(ctx context.Context, rule policy.UnmatchedRule, notes io.Writer) (policy.Set, error) {
	var set policy.Set
	var unresolved []compile.Unresolved
	if len(f.files) > 0 {
		bundle, err := f.load()
		if err != nil {
			return set, &exitError{code: exitUsage, err: err}
		}
		bundle.InstallNamespace, bundle.Mirror = f.cluster.install, f.mirrors()
		set, unresolved = bundle.Set(ctx, f.namespace, rule)
	} else {
		answer, err := f.cluster.ask(ctx, f.namespace, rule, f.mirrors())
		if err != nil {
			return set, &exitError{code: exitUsage, err: fmt.Errorf("no -f, and the cluster's policies can't be read: %w; give -f FILE, or --kubeconfig FILE", err)}
		}
		set, unresolved = answer.Set, answer.Unresolved
		for _, note := range answer.Notes {
			fmt.Fprintln(notes, "note:", note)
		}
	}
	if len(unresolved) > 0 {
		var lines []string
		for _, u := range unresolved {
			lines = append(lines, u.String())
		}
		return set, wrong("what policies refer to isn't there:\n  %s", strings.Join(lines, "\n  "))
	}
	if len(set.All()) == 0 {
		where := "the cluster's"
		if len(f.files) > 0 {
			where = "the files'"
		}
		fmt.Fprintf(notes, "note: none of %s policies is about namespace %s; -n NAMESPACE asks those of another (in files, its labels are those of its Namespace document)\n", where, f.namespace)
	}
	return set, nil
}

// mirrors asks a TUF mirror for the trusted root that it has now.
type mirrors = func(context.Context, trust.MirrorConfig) trust.State

// mirrors asks them anew at each run, where the webhook follows them: there is nobody here who could. Each is asked once.
func (f *verifyFlags) mirrors() mirrors {
	return compile.FetchMirror(trust.Options{PlainHTTP: f.plainHTTP, UserAgent: "pratique/" + version})
}

// load reads the files and the YAML and JSON files of directories.
func (f *verifyFlags) load() (*compile.Bundle, error) {
	var files []compile.File
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
			files = append(files, compile.File{Name: p, Reader: bytes.NewReader(data)})
		}
	}
	return compile.LoadFiles(files...)
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

// ask reads the policies of a namespace from the cluster.
func (c *clusterFlags) ask(ctx context.Context, namespace string, rule policy.UnmatchedRule, mirrors mirrors) (compile.ClusterAnswer, error) {
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
		Reader: reader, Namespace: namespace, InstallNamespace: cmp.Or(c.install, "pratique-system"), Unmatched: rule, Mirror: mirrors,
	})
}
