package cluster_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// What hack/binaries does is told here against a go command that only writes
// down what it is asked to build.

const fakeGo = `#!/bin/sh
case $1 in
  env) echo linux; exit ;;
  install) cp "$FAKE_ENVTEST" "$GOBIN/setup-envtest"; exit ;;
esac
[ ! "$FAKE_FAILS" ] || exit 1
while [ "$1" != -o ]; do shift; done
echo "$3" >>"$BUILT"
sleep 0.2
echo '#!/bin/sh' >"$2"
chmod +x "$2"
`

// fakeEnvtest has two releases to offer and none installed at first.
const fakeEnvtest = `#!/bin/sh
case "$1 $2" in
  "list --os") echo "(available)  v1.36.0  linux/amd64"; echo "(available)  v1.36.2  linux/amd64" ;;
  "use -i") [ -e "$0.installed" ] && echo "$ENVTEST_ANSWER" ;;
  "use -p") touch "$0.installed"; echo "$ENVTEST_ANSWER" ;;
  *) exit 2 ;;
esac
`

// checkout is a copy of what hack/binaries reads, with a cache of its own.
type checkout struct {
	t                       *testing.T
	root, cache, bin, built string
	env                     []string
}

func newCheckout(t *testing.T) *checkout {
	t.Helper()
	if _, err := exec.LookPath("bash"); err != nil {
		t.Skipf("hack/binaries is a bash script: %v", err)
	}
	dir := t.TempDir()
	c := &checkout{
		t: t, root: filepath.Join(dir, "root"), cache: filepath.Join(dir, "cache"),
		bin: filepath.Join(dir, "bin"), built: filepath.Join(dir, "built"),
	}
	for from, to := range map[string]string{
		"../../hack/binaries": "hack/binaries",
		"binaries/go.mod":     "test/cluster/binaries/go.mod",
		"helm/go.mod":         "test/cluster/helm/go.mod",
	} {
		text, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		c.write(filepath.Join(c.root, to), string(text))
	}
	c.write(filepath.Join(c.bin, "go"), fakeGo)
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); name != "KUBEBUILDER_ASSETS" {
			c.env = append(c.env, v)
		}
	}
	c.set("PATH", c.bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	c.set("XDG_CACHE_HOME", c.cache)
	c.set("BUILT", c.built)
	c.set("PRATIQUE_NO_ENVTEST", "1")
	return c
}

func (c *checkout) set(name, value string) { c.env = append(c.env, name+"="+value) }

func (c *checkout) write(file, text string) {
	c.t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, []byte(text), 0o700)); err != nil {
		c.t.Fatal(err)
	}
}

// run calls hack/binaries and returns what it said.
func (c *checkout) run(names ...string) (string, error) {
	cmd := exec.Command("bash", append([]string{filepath.Join(c.root, "hack", "binaries")}, names...)...)
	cmd.Env = c.env
	said, err := cmd.CombinedOutput()
	return string(said), err
}

// must calls hack/binaries, which has to succeed.
func (c *checkout) must(names ...string) string {
	c.t.Helper()
	said, err := c.run(names...)
	if err != nil {
		c.t.Fatalf("hack/binaries %v: %v\n%s", names, err, said)
	}
	return said
}

// linked says what bin/k8s/NAME leads to.
func (c *checkout) linked(name string) string {
	c.t.Helper()
	file, err := os.Readlink(filepath.Join(c.root, "bin", "k8s", name))
	if err != nil {
		c.t.Fatal(err)
	}
	if _, err := os.Stat(file); err != nil {
		c.t.Fatal(err)
	}
	return file
}

// builds is the packages built so far.
func (c *checkout) builds() []string {
	text, err := os.ReadFile(c.built)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		c.t.Fatal(err)
	}
	return strings.Fields(string(text))
}

func TestProgramsAreBuiltOnceForEachVersion(t *testing.T) {
	t.Parallel()
	c := newCheckout(t)
	all := []string{"kube-apiserver", "etcd", "kubectl", "kube-controller-manager", "helm"}
	said := c.must(all...)
	if len(c.builds()) != len(all) || strings.Count(said, "building") != len(all) {
		t.Errorf("built %v, said\n%s", c.builds(), said)
	}
	for name, want := range map[string]string{
		"kube-apiserver": "pratique/v1.36.3/kube-apiserver",
		"etcd":           "pratique/etcd-v3.6.8/etcd",
		"helm":           "pratique/helm-v3.22.0/helm",
	} {
		if got := c.linked(name); got != filepath.Join(c.cache, want) {
			t.Errorf("%s leads to %s, want %s in the cache", name, got, want)
		}
	}
	if said := c.must(all...); said != "" || len(c.builds()) != len(all) {
		t.Errorf("the second time it built %v and said\n%s", c.builds()[len(all):], said)
	}

	file := filepath.Join(c.root, "test/cluster/binaries/go.mod")
	mod, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	c.write(file, strings.Replace(string(mod), "k8s.io/kubernetes v1.36.3", "k8s.io/kubernetes v1.36.4", 1))
	c.must("kube-apiserver", "etcd")
	if got := c.linked("kube-apiserver"); !strings.HasSuffix(got, "/v1.36.4/kube-apiserver") || len(c.builds()) != len(all)+1 {
		t.Errorf("after a new version in go.mod it leads to %s; built %v", got, c.builds()[len(all):])
	}
}

func TestAssetsComeFirstAndWhatTheyLackIsBuilt(t *testing.T) {
	t.Parallel()
	c := newCheckout(t)
	c.must("kube-apiserver")
	assets := t.TempDir()
	c.write(filepath.Join(assets, "kube-apiserver"), "#!/bin/sh\necho Kubernetes v1.36.1\n")
	c.write(filepath.Join(assets, "kubectl"), "#!/bin/sh\necho Client Version: v1.30.0\n")
	c.set("KUBEBUILDER_ASSETS", assets)
	said := c.must("kube-apiserver", "kubectl", "kube-controller-manager")
	if got := c.linked("kube-apiserver"); got != filepath.Join(assets, "kube-apiserver") {
		t.Errorf("kube-apiserver leads to %s, want the one in KUBEBUILDER_ASSETS", got)
	}
	if !strings.Contains(said, "passing over "+assets+"/kubectl: it is v1.30.0, not v1.36") {
		t.Errorf("said\n%s", said)
	}
	for _, name := range []string{"kubectl", "kube-controller-manager"} {
		if got := c.linked(name); !strings.HasPrefix(got, c.cache) {
			t.Errorf("%s leads to %s, want the cache", name, got)
		}
	}
}

func TestSetupEnvtestIsAskedBeforeABuild(t *testing.T) {
	t.Parallel()
	c := newCheckout(t)
	assets := programs(t, "kube-apiserver", "etcd")
	fake := filepath.Join(c.bin, "fake-envtest")
	c.write(fake, fakeEnvtest)
	c.set("FAKE_ENVTEST", fake)
	c.set("PRATIQUE_NO_ENVTEST", "")
	c.set("ENVTEST_ANSWER", assets)
	said := c.must("etcd", "kube-apiserver", "kubectl", "kube-controller-manager")
	if !strings.Contains(said, "fetching Kubernetes v1.36.2 with setup-envtest") {
		t.Errorf("said\n%s", said)
	}
	for _, name := range []string{"etcd", "kube-apiserver"} {
		if got := c.linked(name); got != filepath.Join(assets, name) {
			t.Errorf("%s leads to %s, want setup-envtest's", name, got)
		}
	}
	if got := strings.Join(c.builds(), " "); got != "k8s.io/kubernetes/cmd/kubectl k8s.io/kubernetes/cmd/kube-controller-manager" {
		t.Errorf("built %s", got)
	}
	if said := c.must("etcd", "kube-apiserver"); said != "" {
		t.Errorf("the second time it said\n%s", said)
	}
}

func TestABuildThatFailsLeavesNothing(t *testing.T) {
	t.Parallel()
	c := newCheckout(t)
	c.set("FAKE_FAILS", "1")
	said, err := c.run("etcd")
	if err == nil || !strings.Contains(said, "etcd did not build") {
		t.Errorf("got %v, said\n%s", err, said)
	}
	if entries, _ := os.ReadDir(filepath.Join(c.cache, "pratique", "etcd-v3.6.8")); len(entries) > 0 {
		t.Errorf("left %v", entries)
	}
}

func TestTwoRunsBuildAProgramOnce(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("flock"); err != nil {
		t.Skipf("without flock(1) both may build: %v", err)
	}
	c := newCheckout(t)
	var runs sync.WaitGroup
	for range 2 {
		runs.Go(func() {
			if said, err := c.run("etcd"); err != nil {
				t.Errorf("%v\n%s", err, said)
			}
		})
	}
	runs.Wait()
	if got := c.builds(); len(got) != 1 {
		t.Errorf("built %v", got)
	}
}

func TestUnknownProgramsAreRefusedBeforeAnythingIsBuilt(t *testing.T) {
	t.Parallel()
	c := newCheckout(t)
	for _, names := range [][]string{{}, {"etcd", "kubelet"}} {
		if said, err := c.run(names...); err == nil {
			t.Errorf("hack/binaries %v succeeded, said\n%s", names, said)
		}
	}
	if got := c.builds(); len(got) > 0 {
		t.Errorf("built %v", got)
	}
}
