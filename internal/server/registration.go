package server

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-logr/logr"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	// readRegistration is how often the webhook objects are read: with a scrape every 30 s, an alert knows within a minute.
	readRegistration = 30 * time.Second
	// unreadRegistration is how long what was read last is taken for true while nothing can be read: some readings, so that
	// a restart of the API server is no alarm. After that nobody knows, and so we are not registered.
	unreadRegistration = 4 * readRegistration
	// registrationTimeout bounds one reading.
	registrationTimeout = 10 * time.Second
)

// RegistrationConfig says what to read, what to expect there and whom to tell.
type RegistrationConfig struct {
	// Reader reads webhook objects by their names, from the API server and not from a cache that lists them all.
	Reader client.Reader
	// Validating and Mutating are the names of the ValidatingWebhookConfiguration and of the MutatingWebhookConfiguration.
	// An empty Mutating means that there is none.
	Validating, Mutating string
	// Service is the Service that has to be called. The zero value means that it isn't looked at.
	Service types.NamespacedName
	// Webhooks are those that have to be there.
	Webhooks []ExpectedWebhook
	// Report is called after every reading with each webhook's name and whether it is registered as expected. Nil means
	// that nobody counts.
	Report func(webhook string, registered bool)
	// Log gets a line when what is wrong with a webhook changes.
	Log logr.Logger
}

// Registration watches what the API server has been told of our webhooks.
//
// The API server asks no webhook about webhook objects: whoever may write them can have us passed over, and only the
// chart's guards, where they are in force, refuse it. So it is told, as a metric and in the log, within readRegistration. Nothing
// else comes of it: neither admission nor readiness knows the answer, for to stop serving would help nobody.
type Registration struct {
	config RegistrationConfig
	every  time.Duration

	said map[string]string // what was said last of each webhook; only check uses it
	read time.Time         // when the objects were last read
}

// NewRegistration returns the watch, for the manager to run. It is an error to expect nothing, or what can't be checked.
func NewRegistration(c RegistrationConfig) (*Registration, error) {
	if c.Reader == nil || c.Validating == "" || len(c.Webhooks) == 0 {
		return nil, errors.New("watching the registration needs a reader, the name of a ValidatingWebhookConfiguration and webhooks to expect")
	}
	seen := map[string]bool{}
	for _, w := range c.Webhooks {
		if err := w.validate(); err != nil {
			return nil, fmt.Errorf("watching the registration of %q: %w", w.Name, err)
		}
		if seen[w.Name] {
			return nil, fmt.Errorf("watching the registration of %q: it is expected twice", w.Name)
		}
		seen[w.Name] = true
		if w.Mutating && c.Mutating == "" {
			return nil, fmt.Errorf("watching the registration of %q: name the MutatingWebhookConfiguration", w.Name)
		}
	}
	return &Registration{config: c, every: readRegistration, said: map[string]string{}}, nil
}

// NeedLeaderElection implements LeaderElectionRunnable: every replica tells.
func (r *Registration) NeedLeaderElection() bool { return false }

// Start reads until the context is done. It is a Runnable of controller-runtime's manager, and never fails.
func (r *Registration) Start(ctx context.Context) error {
	due := time.NewTicker(r.every)
	defer due.Stop()
	for {
		r.check(ctx, time.Now())
		select {
		case <-ctx.Done():
			return nil
		case <-due.C:
		}
	}
}

// check reads the objects and tells what it found.
func (r *Registration) check(ctx context.Context, now time.Time) {
	found, err := r.find(ctx)
	if ctx.Err() != nil {
		return
	}
	if err == nil {
		r.read = now
	}
	if err != nil && now.Sub(r.read) < unreadRegistration {
		return // all is as it was, for all we know
	}
	for _, want := range r.config.Webhooks {
		wrong := "the webhook objects can't be read"
		if err == nil {
			wrong = strings.Join(found.wrong(want), "; ")
		}
		r.tell(want.Name, wrong, err)
	}
}

// tell reports one webhook, and says so where that is news. It is no news that all is well at the start.
func (r *Registration) tell(webhook, wrong string, why error) {
	if r.config.Report != nil {
		r.config.Report(webhook, wrong == "")
	}
	if wrong == r.said[webhook] {
		return
	}
	r.said[webhook] = wrong
	if wrong == "" {
		r.config.Log.Info("the webhook is registered as it should be again", "webhook", webhook)
		return
	}
	if why == nil {
		why = errNotRegistered
	}
	r.config.Log.Error(why, "the API server may pass over the webhook, or fail to call it", "webhook", webhook, "wrong", wrong)
}

var errNotRegistered = errors.New("the webhook is not registered as it should be")

// registered is what the API server holds: our webhooks, by what kind of object they are in.
type registered struct {
	config     RegistrationConfig
	validating object
	mutating   object
}

// object is a webhook object, or that there is none.
type object struct {
	kind, name string
	there      bool
	webhooks   map[string]hook
}

// find reads the objects. One that isn't there is an answer, not an error.
func (r *Registration) find(ctx context.Context) (registered, error) {
	ctx, cancel := context.WithTimeout(ctx, registrationTimeout)
	defer cancel()
	found := registered{
		config:     r.config,
		validating: object{kind: "ValidatingWebhookConfiguration", name: r.config.Validating, webhooks: map[string]hook{}},
		mutating:   object{kind: "MutatingWebhookConfiguration", name: r.config.Mutating, webhooks: map[string]hook{}},
	}
	var validating admissionregistrationv1.ValidatingWebhookConfiguration
	there, err := r.get(ctx, r.config.Validating, &validating)
	if err != nil {
		return found, err
	}
	found.validating.there = there
	for _, w := range validating.Webhooks {
		found.validating.webhooks[w.Name] = hook{w.ClientConfig, w.Rules, w.FailurePolicy, w.MatchPolicy, w.NamespaceSelector, w.ObjectSelector, w.MatchConditions}
	}
	if r.config.Mutating == "" {
		return found, nil
	}
	var mutating admissionregistrationv1.MutatingWebhookConfiguration
	if there, err = r.get(ctx, r.config.Mutating, &mutating); err != nil {
		return found, err
	}
	found.mutating.there = there
	for _, w := range mutating.Webhooks {
		found.mutating.webhooks[w.Name] = hook{w.ClientConfig, w.Rules, w.FailurePolicy, w.MatchPolicy, w.NamespaceSelector, w.ObjectSelector, w.MatchConditions}
	}
	return found, nil
}

func (r *Registration) get(ctx context.Context, name string, into client.Object) (there bool, err error) {
	err = r.config.Reader.Get(ctx, types.NamespacedName{Name: name}, into)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	return err == nil, err
}

// wrong says what is wrong with a webhook; nothing means that it is as expected.
func (f registered) wrong(want ExpectedWebhook) []string {
	in := f.validating
	if want.Mutating {
		in = f.mutating
	}
	if !in.there {
		return []string{fmt.Sprintf("there is no %s %s", in.kind, in.name)}
	}
	h, ok := in.webhooks[want.Name]
	if !ok {
		return []string{fmt.Sprintf("the %s %s doesn't have it", in.kind, in.name)}
	}
	return h.differs(want, f.config.Service)
}
