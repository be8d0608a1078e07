package promote

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/digitorus/timestamp"
	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	"github.com/sigstore/sigstore-go/pkg/sign"
)

// stampTimeout bounds one question to a timestamp server: it signs some hundred bytes.
const stampTimeout = 20 * time.Second

// TimestampServer is a timestamp authority (RFC 3161) that sees signatures. Whether it is trusted is for policies to say.
type TimestampServer struct {
	url       string
	transport http.RoundTripper
}

// NewTimestampServer returns the server at a URL, by http too: what it answers is signed, and bound to what it was asked. The transport may be nil,
// for Go's own.
func NewTimestampServer(at string, transport http.RoundTripper) (*TimestampServer, error) {
	u, err := url.Parse(at)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return nil, errors.New("not the URL of a timestamp server: want https://HOST/PATH")
	}
	if transport == nil {
		transport = http.DefaultTransport
	}
	return &TimestampServer{at, transport}, nil
}

// host is what messages call the server: its URL may hold a password.
func (t *TimestampServer) host() string {
	u, err := url.Parse(t.url)
	if err != nil {
		return "the timestamp server"
	}
	return "timestamp server " + u.Host
}

func (t *TimestampServer) authority(ctx context.Context) *sign.TimestampAuthority {
	return sign.NewTimestampAuthority(&sign.TimestampAuthorityOptions{URL: t.url, Timeout: stampTimeout, Transport: within{ctx, t.transport}})
}

// within asks in a context, which sigstore-go doesn't, and takes only a whole answer for one.
type within struct {
	ctx  context.Context
	next http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (w within) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, stop := context.WithCancel(req.Context()) // with the client's time-out
	release := context.AfterFunc(w.ctx, stop)
	resp, err := w.next.RoundTrip(req.WithContext(ctx))
	if err != nil {
		release()
		stop()
		return nil, err
	}
	resp.Body = &released{resp.Body, func() { release(); stop() }}
	if resp.StatusCode >= http.StatusBadRequest {
		_ = resp.Body.Close()
		return nil, fmt.Errorf("it answered %d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
	}
	return resp, nil
}

// asked says which server an error is of, without its URL.
func asked(t *TimestampServer, err error) error {
	var of *url.Error
	if t == nil {
		return err
	}
	if errors.As(err, &of) {
		err = of.Err
	}
	return fmt.Errorf("%s: %w", t.host(), err)
}

// stamped tells when a bundle was stamped, once that is known to be about its signature.
func stamped(b *protobundle.Bundle) (time.Time, error) {
	all := b.GetVerificationMaterial().GetTimestampVerificationData().GetRfc3161Timestamps()
	signatures := b.GetDsseEnvelope().GetSignatures()
	if len(all) != 1 || len(signatures) != 1 {
		return time.Time{}, errors.New("it gave no timestamp")
	}
	stamp, err := timestamp.ParseResponse(all[0].GetSignedTimestamp())
	if err != nil {
		return time.Time{}, errors.New("what it gave is no timestamp")
	}
	if sum := sha256.Sum256(signatures[0].GetSig()); !bytes.Equal(stamp.HashedMessage, sum[:]) {
		return time.Time{}, errors.New("what it gave is a timestamp of something else")
	}
	return stamp.Time.UTC(), nil
}

// released is a body that lets go of its context once it is closed.
type released struct {
	io.ReadCloser
	release func()
}

// Close implements io.Closer.
func (r *released) Close() error {
	defer r.release()
	return r.ReadCloser.Close()
}
