package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/go-logr/logr"
	"github.com/open-policy-agent/cert-controller/pkg/rotator"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
)

const (
	// clusterLeafLife and clusterLookahead are as in a CertDir: 90 days, renewed when two thirds of them are over.
	clusterLeafLife  = leafLife
	clusterLookahead = leafLife / 3
	// awaitSecret is how often to look for the pair while there is none, and readSecret how often once there is: within
	// that time of the Secret's change all replicas serve the new one.
	awaitSecret = 500 * time.Millisecond
	readSecret  = 10 * time.Second
)

// InCluster keeps the certificate of a webhook that runs in a cluster, behind a Service.
//
// The CA and the certificate live in one Secret that all replicas share; whichever comes first fills it, by Kubernetes'
// optimistic locking, and whichever sees it due renews it, under the same CA. The CA's certificate is written into the
// caBundle of the webhook objects, and again if something else is written there. That is cert-controller's work. Ours is
// to copy the pair from the Secret into the directory that is served from, seconds after it changes: a Secret volume
// would follow within a minute or two, and its directory be empty for as long at the very first start.
//
// The Secret must exist, and may be empty. Needed are get, list and watch on Secrets in its namespace (the library
// watches them all) and update on this one, list and watch on validatingwebhookconfigurations and update on those named,
// and the same on mutatingwebhookconfigurations if any is named: without the list the process ends after some minutes.
type InCluster struct {
	// Namespace and Secret name the Secret.
	Namespace, Secret string
	// Service is the Service, in the same namespace, by whose name the API server calls.
	Service string
	// ClusterDomain is the cluster's DNS domain; empty means cluster.local.
	ClusterDomain string
	// WebhookConfigurations name the ValidatingWebhookConfiguration objects whose caBundle is kept. One that isn't there
	// yet gets its caBundle when it comes, and keeps nobody from being ready until then: what isn't there calls nobody.
	WebhookConfigurations []string
	// MutatingWebhookConfigurations name the MutatingWebhookConfiguration objects, likewise. There may be none.
	MutatingWebhookConfigurations []string
	// CertDir is the directory to put the pair into: a writable one, in memory at best.
	CertDir string
	// Log gets what happens to the files, and why something could not be.
	Log logr.Logger

	controller string // its name, unique in the process; empty means the library's
}

// AddTo adds the keeper to the manager. The channel is closed when the pair is in the directory and its CA in those of
// the webhook objects that are there. The manager ends with an error if that takes more than some minutes.
func (c InCluster) AddTo(mgr manager.Manager) (ready <-chan struct{}, err error) {
	if c.Namespace == "" || c.Secret == "" || c.Service == "" || c.CertDir == "" || len(c.WebhookConfigurations) == 0 {
		return nil, errors.New("serving in a cluster needs a namespace, a Secret, a Service, a certificate directory and a webhook configuration")
	}
	if slices.Contains(c.WebhookConfigurations, "") || slices.Contains(c.MutatingWebhookConfigurations, "") {
		return nil, errors.New("a webhook configuration whose caBundle is to be kept has no name")
	}
	if err := os.MkdirAll(c.CertDir, privateDir); err != nil {
		return nil, fmt.Errorf("certificate directory: %w", err)
	}
	key := types.NamespacedName{Namespace: c.Namespace, Name: c.Secret}
	domain := c.ClusterDomain
	if domain == "" {
		domain = "cluster.local"
	}
	host := c.Service + "." + c.Namespace + ".svc"
	keeper := &rotator.CertRotator{
		SecretKey:          key,
		CertDir:            c.CertDir,
		CAName:             "pratique-ca",
		CAOrganization:     "pratique",
		DNSName:            host, // by which the API server calls, and verifies
		ExtraDNSNames:      []string{host + "." + domain},
		IsReady:            make(chan struct{}),
		FieldOwner:         "pratique",
		CaCertDuration:     authorityLife,
		ServerCertDuration: clusterLeafLife,
		LookaheadInterval:  clusterLookahead,
		ControllerName:     c.controller,
	}
	for _, name := range c.WebhookConfigurations {
		keeper.Webhooks = append(keeper.Webhooks, rotator.WebhookInfo{Name: name, Type: rotator.Validating})
	}
	for _, name := range c.MutatingWebhookConfigurations {
		keeper.Webhooks = append(keeper.Webhooks, rotator.WebhookInfo{Name: name, Type: rotator.Mutating})
	}
	if err := rotator.AddRotator(mgr, keeper); err != nil {
		return nil, fmt.Errorf("adding the certificate's keeper: %w", err)
	}
	copier := &secretCopier{reader: mgr.GetAPIReader(), secret: key, dir: c.CertDir, log: c.Log}
	if err := mgr.Add(copier); err != nil {
		return nil, fmt.Errorf("adding the certificate's copier: %w", err)
	}
	return keeper.IsReady, nil
}

// secretCopier copies the pair from a Secret into a directory.
type secretCopier struct {
	reader client.Reader
	secret types.NamespacedName
	dir    string
	log    logr.Logger
}

// NeedLeaderElection implements LeaderElectionRunnable: every replica serves.
func (s *secretCopier) NeedLeaderElection() bool { return false }

// Start copies until the context is done. What can't be read leaves the pair that is there in service.
func (s *secretCopier) Start(ctx context.Context) error {
	said := ""
	wait := awaitSecret
	for {
		err := s.copy(ctx)
		switch {
		case err == nil:
			said, wait = "", readSecret
		case ctx.Err() == nil && err.Error() != said:
			said = err.Error()
			s.log.Info("no new certificate", "secret", s.secret.String(), "why", said)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// copy writes the Secret's pair, if it is one and not there already.
func (s *secretCopier) copy(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readSecret)
	defer cancel()
	secret := &corev1.Secret{}
	if err := s.reader.Get(ctx, s.secret, secret); err != nil {
		return fmt.Errorf("reading the Secret: %w", err)
	}
	fresh := pair{cert: secret.Data[certFile], key: secret.Data[keyFile]}
	if err := fresh.fits(); err != nil {
		return fmt.Errorf("the Secret has no pair of a certificate and its key: %w", err)
	}
	have, err := readPair(s.dir, certFile, keyFile)
	if err != nil {
		return err
	}
	if have.equal(fresh) {
		return nil
	}
	if err := writeLeaf(s.dir, fresh); err != nil {
		return err
	}
	s.log.Info("took up a certificate", "secret", s.secret.String(), "directory", s.dir)
	return nil
}
