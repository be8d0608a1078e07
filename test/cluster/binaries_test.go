package cluster_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pratique-dev/pratique/test/cluster"
)

func TestBinariesNamesTheCommandThatProvidesWhatIsMissing(t *testing.T) {
	t.Parallel()
	_, err := cluster.Binaries("kube-apiserver", "no-such-program")
	if !errors.Is(err, cluster.ErrNoBinaries) || !strings.HasSuffix(err.Error(), ": run hack/binaries kube-apiserver no-such-program") {
		t.Errorf("got %v", err)
	}
}

func TestBinariesTakesADirectoryOnlyIfItHasThemAll(t *testing.T) {
	assets := programs(t, "only-here", "and-here")
	t.Setenv("KUBEBUILDER_ASSETS", assets)
	if dir, err := cluster.Binaries("only-here", "and-here"); err != nil || dir != assets {
		t.Errorf("got %q, %v, want %q", dir, err, assets)
	}
	if dir, err := cluster.Binaries("only-here", "not-here"); !errors.Is(err, cluster.ErrNoBinaries) {
		t.Errorf("got %q, %v, want ErrNoBinaries", dir, err)
	}
}

func TestBinariesOutsideTheModuleAsksForADirectory(t *testing.T) {
	t.Chdir(t.TempDir())
	if dir, err := cluster.Binaries(); err == nil || !strings.Contains(err.Error(), "is not inside the module") {
		t.Errorf("got %q, %v", dir, err)
	}
}

func TestStartTellsWhichProgramIsMissing(t *testing.T) {
	t.Parallel()
	dir := programs(t, "etcd", "kubectl")
	_, err := cluster.Start(t.Context(), cluster.Options{Binaries: dir, Dir: filepath.Join(t.TempDir(), "state")})
	if !errors.Is(err, cluster.ErrNoBinaries) || !strings.Contains(err.Error(), "kube-apiserver in "+dir) {
		t.Errorf("got %v", err)
	}
}
