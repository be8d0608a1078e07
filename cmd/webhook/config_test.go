package main

import (
	"flag"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pratique-dev/pratique/pkg/policy"
)

// parse reads flags as run does.
func parse(t *testing.T, args ...string) (config, error) {
	t.Helper()
	flags := flag.NewFlagSet("webhook", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	var c config
	c.bind(flags)
	if err := flags.Parse(args); err != nil {
		return c, err
	}
	return c, c.complete()
}

func TestTheFlagsHaveDefaultsThatServe(t *testing.T) {
	t.Setenv("POD_NAMESPACE", "")
	c, err := parse(t, "--cert-dir", "certs")
	if err != nil {
		t.Fatal(err)
	}
	if c.namespace != "pratique-system" || c.port != 9443 || c.metrics != ":8080" || c.probes != ":8081" || c.level != slog.LevelInfo {
		t.Errorf("defaults %+v", c)
	}
	if c.rule != policy.UnmatchedAllow || c.elect || c.inCluster() || c.cacheBytes != 0 || len(c.plainHTTP) != 0 || !c.pin || c.rollout != "enforce" || c.private || c.provided {
		t.Errorf("defaults %+v", c)
	}
}

func TestTheNamespaceIsThePodsUnlessItIsGiven(t *testing.T) {
	t.Setenv("POD_NAMESPACE", "security")
	for _, tt := range []struct {
		name string
		args []string
		want string
	}{
		{"the Pod's", nil, "security"},
		{"the one given", []string{"--namespace", "other"}, "other"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := parse(t, append(tt.args, "--cert-dir", "certs")...)
			if err != nil || c.namespace != tt.want {
				t.Errorf("namespace %q, %v", c.namespace, err)
			}
		})
	}
}

func TestFlagsThatAreGivenAreRead(t *testing.T) {
	t.Parallel()
	c, err := parse(t, "--cert-dir", "certs", "--unmatched-images", "Deny", "--log-level", "warn", "--drain-delay", "0s", "--leader-elect",
		"--plain-http", "a.example", "--plain-http", "b.example:5000", "--cert-host", "webhook.example", "--evidence-cache-bytes", "1024")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(c.plainHTTP, list{"a.example", "b.example:5000"}) || !slices.Equal(c.certHosts, list{"webhook.example"}) {
		t.Errorf("repeatable flags: %v, %v", c.plainHTTP, c.certHosts)
	}
	if c.plainHTTP.String() != "a.example,b.example:5000" {
		t.Errorf("a list is printed as %q", c.plainHTTP.String())
	}
	if c.rule != policy.UnmatchedDeny || c.level != slog.LevelWarn || c.drain != 0 || !c.elect || c.cacheBytes != 1024 {
		t.Errorf("%+v", c)
	}
	c, err = parse(t, "--cert-dir", "certs", "--cert-secret", "tls", "--service", "webhook", "--webhook-configuration", "pratique")
	if err != nil || !c.inCluster() {
		t.Errorf("in a cluster: %v, %v", c.inCluster(), err)
	}
	if c, err = parse(t, "--cert-dir", "certs", "--drain-delay", "90s"); err != nil || c.drain != 90*time.Second {
		t.Errorf("drain delay %s, %v", c.drain, err)
	}
}

func TestFlagsThatContradictAreRefusedByName(t *testing.T) {
	t.Parallel()
	certs := []string{"--cert-dir", "certs"}
	for _, tt := range []struct {
		name string
		args []string
		want string
	}{
		{"no directory for the certificate", nil, "--cert-dir"},
		{"an unknown rule", append(certs, "--unmatched-images", "allow"), `--unmatched-images: "allow": want Deny, Warn or Allow`},
		{"port 0", append(certs, "--port", "0"), "--port: 0 is no port"},
		{"a port beyond all ports", append(certs, "--port", "65536"), "--port: 65536 is no port"},
		{"a cache of less than nothing", append(certs, "--evidence-cache-bytes", "-1"), "--evidence-cache-bytes"},
		{"a drain that ends before it begins", append(certs, "--drain-delay", "-1s"), "--drain-delay"},
		{"a Secret without the rest", append(certs, "--cert-secret", "tls"), "--cert-secret, --service and --webhook-configuration go together"},
		{"a Service without the rest", append(certs, "--service", "webhook"), "go together"},
		{"a webhook object without the rest", append(certs, "--webhook-configuration", "pratique"), "go together"},
		{"a Secret and a Service without the webhook object", append(certs, "--cert-secret", "tls", "--service", "webhook"), "go together"},
		{"names for a certificate that is made elsewhere", append(certs, "--cert-secret", "tls", "--service", "webhook", "--webhook-configuration", "p", "--cert-host", "a.example"), "--cert-host"},
		{"a mutating object without the validating one", append(certs, "--mutating-webhook-configuration", "p"), "--webhook-configuration"},
		{"an exempt namespace of no webhook object", append(certs, "--exempt-namespace", "p"), "--exempt-namespace"},
		{"a certificate of two makers", append(certs, "--cert-provided", "--cert-secret", "tls", "--service", "webhook", "--webhook-configuration", "p"), "--cert-provided"},
		{"names for a certificate that somebody else makes", append(certs, "--cert-provided", "--cert-host", "a.example"), "--cert-provided"},
		{"an unknown rollout", append(certs, "--rollout", "Audit"), `--rollout: "Audit": want enforce or audit`},
		{"an empty host", append(certs, "--plain-http", ""), "it is empty"},
		{"an unknown level", append(certs, "--log-level", "loud"), "log-level"},
		{"an unknown flag", append(certs, "--no-such-flag"), "no-such-flag"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if _, err := parse(t, tt.args...); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
		})
	}
}

// It runs by itself: --kubeconfig is controller-runtime's, which binds it to the process's own flags.
func TestTheProgramEndsWhereItCanNotServe(t *testing.T) {
	nowhere := filepath.Join(t.TempDir(), "kubeconfig")
	for _, tt := range []struct {
		name string
		args []string
		want string
	}{
		{"an argument", []string{"serve"}, `"serve": the webhook takes flags only`},
		{"a contradiction", []string{"--port", "-1", "--cert-dir", "certs"}, "--port: -1 is no port"},
		{"no cluster", []string{"--cert-dir", t.TempDir(), "--kubeconfig", nowhere}, "no cluster to serve: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := run(tt.args); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
		})
	}
}
