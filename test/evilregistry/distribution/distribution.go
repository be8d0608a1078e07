// Package distribution is the CNCF registry, github.com/distribution/distribution,
// in process and in memory, as a backend for evilregistry:
//
//	reg := evilregistry.New(t, evilregistry.WithBackend(distribution.New(t)))
//
// It is what most private registries run. It differs from ggcr's in ways that
// clients meet: it has no referrers API (404, so that papers lie under the
// fallback tag), it refuses a manifest whose parts are not there, it checks
// digests on the way in, and to a client whose Accept does not name an OCI
// manifest's type it says 404, as if there were none.
//
// It stands in a package of its own because it brings some hundred packages
// along, Redis and OpenTelemetry among them; tests that can do with ggcr's
// registry should not have to build them.
package distribution

import (
	"net/http"
	"testing"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/handlers"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/inmemory" // the driver named below
	"github.com/sirupsen/logrus"
)

// New starts an empty registry that ends with the test. It quiets logrus's
// standard logger, which distribution writes to, for the whole test binary.
func New(t testing.TB) http.Handler {
	t.Helper()
	logrus.SetLevel(logrus.PanicLevel)
	config := &configuration.Configuration{Storage: configuration.Storage{
		"inmemory":    configuration.Parameters{},
		"delete":      configuration.Parameters{"enabled": true},
		"maintenance": configuration.Parameters{"uploadpurging": map[any]any{"enabled": false}},
	}}
	config.HTTP.Secret = "one process, so nobody to share it with" // signs the state of uploads
	app := handlers.NewApp(t.Context(), config)
	t.Cleanup(func() {
		if err := app.Shutdown(); err != nil {
			t.Errorf("distribution: %v", err)
		}
	})
	return app
}
