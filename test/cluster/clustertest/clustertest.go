// Package clustertest gives a test a cluster that ends with it.
//
//	func TestAdmission(t *testing.T) {
//		c := clustertest.ForTest(t, cluster.Options{})
//		t.Run("an unsigned Pod is refused", func(t *testing.T) { ... c ... })
//	}
package clustertest

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/pratique-dev/pratique/test/cluster"
)

// ForTest starts a cluster and stops it when the test and its subtests have
// ended. Missing programs fail the test, with the command that provides them;
// under go test -short they skip it. Under go test -artifacts the logs are
// kept, unless o names another place for them.
func ForTest(t testing.TB, o cluster.Options) *cluster.Cluster {
	t.Helper()
	if o.LogDir == "" {
		o.LogDir = filepath.Join(t.ArtifactDir(), "cluster")
	}
	c, err := cluster.Start(t.Context(), o)
	if errors.Is(err, cluster.ErrNoBinaries) && testing.Short() {
		t.Skipf("-short, and no API server to test against: %v", err)
	}
	if err != nil {
		t.Fatalf("starting a cluster: %v", err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Errorf("stopping the cluster: %v", err)
		}
	})
	return c
}
