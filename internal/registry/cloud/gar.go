package cloud

import (
	"context"
	"net/http"
	"time"
)

// garScope lets a token read images and nothing else, where the metadata server heeds it: GKE's does, and Compute Engine
// gives the scopes that the machine was made with.
const garScope = "https://www.googleapis.com/auth/devstorage.read_only"

// gceAddress is where Google tells who a machine is, or on GKE a Pod.
const gceAddress = "169.254.169.254"

// NewGAR returns the Login for Google Artifact Registry: REGION-docker.pkg.dev, and gcr.io with us., eu. and asia. before
// it. The user is oauth2accesstoken; the password is an access token of the default service account, good for an hour at
// most. On GKE with Workload Identity Federation that is the Pod's ServiceAccount, else the node's service account.
// It needs roles/artifactregistry.reader.
func NewGAR(o Options) Login {
	c := newCaller(o)
	l := newLogins(c.now)
	return func(ctx context.Context, host string) (string, string, time.Time, error) {
		if err := CheckGAR(host); err != nil {
			return "", "", time.Time{}, err
		}
		// One token is for all registries.
		return l.login(ctx, host, "", c.googleToken)
	}
}

// googleToken asks the metadata server for an access token.
func (c *caller) googleToken(ctx context.Context) (grant, error) {
	var out struct {
		AccessToken string `json:"access_token"`
		ExpiresIn   int64  `json:"expires_in"` // seconds
	}
	start := c.now()
	err := c.ask(ctx, step{
		client: c.metadata, method: http.MethodGet,
		url:    "http://" + gceAddress + "/computeMetadata/v1/instance/service-accounts/default/token?" + values("scopes", garScope),
		header: map[string]string{"Metadata-Flavor": "Google"},
		who:    "Google's metadata server (" + gceAddress + ")",
		silent: "it is on GKE and Compute Engine, where Pods may reach it; elsewhere use auth.secretRef",
		declined: "the node needs a service account, or this ServiceAccount Workload Identity Federation, " +
			"with roles/artifactregistry.reader",
		code: func([]byte) string { return "" }, // its errors are pages for people
		read: func(answer []byte) error { return object(answer, &out) },
	})
	if err != nil {
		return grant{}, err
	}
	life := max(0, min(out.ExpiresIn, int64(maxLife/time.Second))) // so that it stays a Duration
	return grant{username: "oauth2accesstoken", password: out.AccessToken, expires: start.Add(time.Duration(life) * time.Second)}, nil
}
