package cluster

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// The programs of a control plane, by the names of their files.
const (
	etcdProgram              = "etcd"
	apiServerProgram         = "kube-apiserver"
	controllerManagerProgram = "kube-controller-manager"
	kubectlProgram           = "kubectl"
)

// module is the Go module whose root holds bin/k8s.
const module = "github.com/pratique-dev/pratique"

// ErrNoBinaries says that a program the cluster is made of was not found. The
// error that wraps it names the program and the command that provides it.
var ErrNoBinaries = errors.New("program not found")

// Binaries finds the directory that holds the named programs, by default those
// that every cluster needs: etcd, kube-apiserver and kubectl. It looks in
// bin/k8s of the module that the working directory belongs to, where
// hack/binaries puts them, and then in $KUBEBUILDER_ASSETS. One directory must
// hold them all.
func Binaries(names ...string) (dir string, err error) {
	if len(names) == 0 {
		names = []string{etcdProgram, apiServerProgram, kubectlProgram}
	}
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	dirs := []string{filepath.Join(root, "bin", "k8s")}
	if assets := os.Getenv("KUBEBUILDER_ASSETS"); assets != "" {
		dirs = append(dirs, assets)
	}
	for _, dir := range dirs {
		if err = complete(dir, names); err == nil {
			return dir, nil
		}
		if !errors.Is(err, ErrNoBinaries) {
			return "", err
		}
	}
	return "", fmt.Errorf("%w: run hack/binaries %s", err, strings.Join(names, " "))
}

// complete says whether dir has each of the programs, by an error that wraps
// ErrNoBinaries if one is not there.
func complete(dir string, names []string) error {
	missing := slices.DeleteFunc(slices.Clone(names), func(name string) bool {
		info, err := os.Stat(filepath.Join(dir, name))
		return err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0
	})
	if len(missing) > 0 {
		return fmt.Errorf("%w: %s in %s", ErrNoBinaries, strings.Join(missing, ", "), dir)
	}
	return nil
}

// moduleRoot walks up from the working directory, which go test sets to the
// directory of the package, to the root of our module.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for at := dir; ; at = filepath.Dir(at) {
		if name, err := moduleName(filepath.Join(at, "go.mod")); err == nil && name == module {
			return at, nil
		}
		if at == filepath.Dir(at) {
			return "", fmt.Errorf("%s is not inside the module %s, so bin/k8s can't be found: name a directory in Options.Binaries", dir, module)
		}
	}
}

// moduleName reads the module line of a go.mod.
func moduleName(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if name, ok := strings.CutPrefix(lines.Text(), "module "); ok {
			return strings.TrimSpace(name), nil
		}
	}
	return "", errors.Join(lines.Err(), fmt.Errorf("no module line in %s", file))
}
