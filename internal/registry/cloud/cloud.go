package cloud

import (
	"context"
	"net"
	"net/http"
	"os"
	"time"
)

// Login returns what a registry's token service takes as user and password, and when that expires, which is later than
// now. The host is the registry's name as in an image's reference, without a port. It ends with ctx. It may be called
// from many goroutines. Errors are *Error, and hold nothing secret; the password is one.
type Login func(ctx context.Context, host string) (username, password string, expires time.Time, err error)

// Options say how the clouds are reached. The zero Options are for production.
type Options struct {
	// Client sends what goes by https: to AWS's and Azure's services and to the registry itself. Nil, or one without a
	// Transport, goes by one that uses no proxy. Its CheckRedirect and Jar are left out: no redirect is followed.
	Client *http.Client
	// MetadataClient sends what goes by http to the address where a node or a Pod learns who it is. Nil, or one without
	// a Transport, goes by one that uses no proxy. It has to reach the addresses that a dial guard refuses.
	MetadataClient *http.Client
	// Getenv reads the environment, in which EKS and AKS tell a Pod who it is; nil for os.Getenv.
	Getenv func(name string) string
	// Now is the clock; nil for time.Now.
	Now func() time.Time
}

// Time-outs of a single request, under the caller's own deadline. An admission has ten seconds in all.
const (
	dialTimeout    = 2 * time.Second
	headerTimeout  = 4 * time.Second // GKE's metadata server makes its first token in seconds
	requestTimeout = 5 * time.Second
)

// caller sends the requests of logins.
type caller struct {
	client, metadata *http.Client
	getenv           func(string) string
	now              func() time.Time
}

func newCaller(o Options) *caller {
	if o.Getenv == nil {
		o.Getenv = os.Getenv
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &caller{client: careful(o.Client), metadata: careful(o.MetadataClient), getenv: o.Getenv, now: o.Now}
}

// careful returns a client that sends secrets nowhere else than where they are sent.
func careful(given *http.Client) *http.Client {
	c := &http.Client{
		Timeout:       requestTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	if given != nil {
		c.Transport = given.Transport
		if given.Timeout > 0 {
			c.Timeout = given.Timeout
		}
	}
	if c.Transport == nil {
		c.Transport = &http.Transport{
			Proxy:                  nil,
			DialContext:            (&net.Dialer{Timeout: dialTimeout}).DialContext,
			TLSHandshakeTimeout:    dialTimeout,
			ResponseHeaderTimeout:  headerTimeout,
			DisableCompression:     true, // so that a bound means bytes
			DisableKeepAlives:      true, // a login is rare
			MaxResponseHeaderBytes: maxAnswer,
		}
	}
	return c
}
