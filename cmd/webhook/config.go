package main

import (
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/pratique-dev/pratique/internal/server"
	"github.com/pratique-dev/pratique/pkg/policy"
)

// config is what the flags say.
type config struct {
	namespace  string
	host       string
	port       int
	certDir    string
	certHosts  list
	certSecret string
	service    string
	webhook    string
	mutating   string
	exempt     list
	provided   bool
	metrics    string
	probes     string
	plainHTTP  list
	registries string
	private    bool
	pin        bool
	rollout    string
	unmatched  string
	elect      bool
	drain      time.Duration
	cacheBytes int64
	level      slog.Level
	version    bool

	rule policy.UnmatchedRule
}

// The rollouts.
const (
	rolloutEnforce = "enforce"
	rolloutAudit   = "audit"
)

// list is a flag that may be given several times.
type list []string

// String implements flag.Value.
func (l *list) String() string { return strings.Join(*l, ",") }

// Set implements flag.Value.
func (l *list) Set(s string) error {
	if s == "" {
		return errors.New("it is empty")
	}
	*l = append(*l, s)
	return nil
}

func (c *config) bind(f *flag.FlagSet) {
	f.StringVar(&c.namespace, "namespace", os.Getenv("POD_NAMESPACE"), "the install's own namespace, where ClusterImagePolicies' Secrets and ConfigMaps are read (default $POD_NAMESPACE, else pratique-system)")
	f.StringVar(&c.host, "host", "", "address to serve at; empty: all")
	f.IntVar(&c.port, "port", 9443, "port to serve at")
	f.StringVar(&c.certDir, "cert-dir", "", "directory of the serving certificate (tls.crt, tls.key); outside a cluster a CA and a certificate are made there, and renewed")
	f.Var(&c.certHosts, "cert-host", "name or address, besides localhost, that the made certificate is for (repeatable)")
	f.StringVar(&c.certSecret, "cert-secret", "", "in a cluster: the Secret of --namespace that keeps the serving certificate")
	f.StringVar(&c.service, "service", "", "in a cluster: the Service by which the API server calls, for which the certificate has to be")
	f.StringVar(&c.webhook, "webhook-configuration", "", "in a cluster: the ValidatingWebhookConfiguration, whose caBundle is kept beside --cert-secret, and which is watched for edits")
	f.StringVar(&c.mutating, "mutating-webhook-configuration", "", "in a cluster: the MutatingWebhookConfiguration, likewise, where there is one")
	f.Var(&c.exempt, "exempt-namespace", "namespace that the webhook objects may exempt; that they exempt another is told (repeatable)")
	f.BoolVar(&c.provided, "cert-provided", false, "the certificate in --cert-dir is made and renewed by somebody else, such as cert-manager: wait for it and follow it, make none")
	f.StringVar(&c.metrics, "metrics-bind-address", ":8080", "address of the metrics; 0 turns them off")
	f.StringVar(&c.probes, "health-probe-bind-address", ":8081", "address of /healthz and /readyz; 0 turns them off")
	f.Var(&c.plainHTTP, "plain-http", "registry or TUF mirror HOST[:PORT] that is spoken to by plain http, and may be at any address (repeatable; without a port, every port)")
	f.StringVar(&c.registries, "registries", "", "YAML `FILE` of how registries are read: credentials, mirrors, CAs; read again when it changes")
	f.BoolVar(&c.private, "deny-private", false, "connect to no registry at a private address (RFC 1918, RFC 6598, IPv6 unique local) that isn't let through by name")
	f.BoolVar(&c.pin, "pin", true, "the install has the webhook that rewrites tags to digests; without it, a tag is refused where a policy wants it pinned")
	f.StringVar(&c.rollout, "rollout", rolloutEnforce, "whether the API server refuses Pods while the webhook doesn't answer: enforce, or audit, which policies' statuses tell")
	f.StringVar(&c.unmatched, "unmatched-images", "Allow", "what becomes of images in a namespace that no enforcing policy closes: Deny, Warn or Allow")
	f.BoolVar(&c.elect, "leader-elect", false, "elect which replica writes the policies' status; admission needs no leader")
	f.DurationVar(&c.drain, "drain-delay", server.DefaultDrainDelay, "how long to serve on after SIGTERM")
	f.Int64Var(&c.cacheBytes, "evidence-cache-bytes", 0, "memory for verified evidence; 0: 256 MiB")
	f.TextVar(&c.level, "log-level", slog.LevelInfo, "least level of the operational log, on stderr: debug, info, warn or error (decisions go to stdout, always)")
	f.BoolVar(&c.version, "version", false, "print the version and exit")
}

// complete checks what was given and fills in what was not.
func (c *config) complete() error {
	if c.namespace == "" {
		c.namespace = "pratique-system"
	}
	rule, err := policy.ParseUnmatchedRule(c.unmatched)
	if err != nil {
		return fmt.Errorf("--unmatched-images: %w", err)
	}
	c.rule = rule
	if c.port < 1 || c.port > 65535 {
		return fmt.Errorf("--port: %d is no port", c.port)
	}
	if c.cacheBytes < 0 || c.drain < 0 {
		return errors.New("--evidence-cache-bytes and --drain-delay: want no less than 0")
	}
	if c.certDir == "" {
		return errors.New("--cert-dir: name the directory of the serving certificate")
	}
	if (c.service == "") != (c.webhook == "") || c.certSecret != "" && c.service == "" {
		return errors.New("--cert-secret, --service and --webhook-configuration go together; without --cert-secret, the last two do")
	}
	if c.rollout != rolloutEnforce && c.rollout != rolloutAudit {
		return fmt.Errorf("--rollout: %q: want %s or %s", c.rollout, rolloutEnforce, rolloutAudit)
	}
	if c.webhook == "" && (c.mutating != "" || len(c.exempt) > 0) {
		return errors.New("--mutating-webhook-configuration and --exempt-namespace go with --webhook-configuration: give that too, or leave them out")
	}
	if c.provided && (c.certSecret != "" || len(c.certHosts) > 0) {
		return errors.New("--cert-provided: somebody else makes the certificate; leave out --cert-secret and --cert-host")
	}
	if c.certSecret != "" && len(c.certHosts) > 0 {
		return errors.New("--cert-host is for a certificate made outside a cluster: leave it out beside --cert-secret")
	}
	return nil
}

// inCluster tells that the certificate is kept in a Secret.
func (c *config) inCluster() bool { return c.certSecret != "" }

// mutatingNames are the MutatingWebhookConfigurations whose caBundle is kept.
func (c *config) mutatingNames() []string {
	if c.mutating == "" {
		return nil
	}
	return []string{c.mutating}
}
