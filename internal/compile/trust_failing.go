package compile

import (
	"context"
	"errors"

	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/pratique-dev/pratique/api/v1alpha1"
	"github.com/pratique-dev/pratique/internal/trust"
)

// failing says of each mirror of a TrustRoot, by its key, how asking it failed the last time: as a kind, since the words of errors change
// with each try.
type failing map[string]string

// failureOf is the kind of a mirror's failure; empty where there was none, or nobody has asked yet.
func failureOf(err error) string {
	mirror, isMirror := errors.AsType[*trust.MirrorError](err)
	switch {
	case err == nil, errors.Is(err, trust.ErrNotFetched):
		return ""
	case errors.Is(err, trust.ErrExpired):
		return "expired"
	case errors.Is(err, trust.ErrReplaced):
		return "replaced"
	case isMirror:
		return string(mirror.Result)
	}
	return "other"
}

// logFailures says once of each mirror that it fails, or fails in another way than before, and once that it no longer does.
func logFailures(ctx context.Context, name string, sources []v1alpha1.TrustRootSource, readings []rootReading, before failing) failing {
	now := failing{}
	for i, r := range readings {
		if r.kind != sourceTUF {
			continue
		}
		config := mirrorOf(sources[i].TUF)
		key, kind := config.Key(), failureOf(r.err)
		logger := log.FromContext(ctx).WithValues("trustRoot", name, "source", i, "mirror", config.URL)
		switch {
		case kind == before[key]:
		case kind != "":
			logger.Error(r.err, "asking a mirror failed", "kind", kind)
		case r.err == nil:
			logger.Info("the mirror is good again")
		}
		if kind != "" {
			now[key] = kind
		}
	}
	return now
}
