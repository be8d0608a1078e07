package keyless

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/digitorus/timestamp"
)

// maxQueryBytes bounds a timestamp query: a digest and a nonce.
const maxQueryBytes = 16 << 10

// standin is a second timestamp authority, for the one thing that the real one
// can't do: it stamps the time of the clock it is given.
type standin struct {
	url    string
	chain  []*x509.Certificate // leaf first
	key    *ecdsa.PrivateKey
	clock  func() time.Time
	server *http.Server
}

func newStandin(clock func() time.Time) (*standin, error) {
	s := &standin{clock: clock}
	if err := s.makeChain(); err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", loopback+":0")
	if err != nil {
		return nil, err
	}
	s.url = "http://" + listener.Addr().String() + "/api/v1/timestamp"
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/v1/timestamp", s.stamp)
	s.server = &http.Server{Handler: mux, ReadHeaderTimeout: startTimeout}
	go s.server.Serve(listener)
	return s, nil
}

func (s *standin) close() error { return s.server.Close() }

// makeChain makes a root and the certificate that stamps, whose one extended key
// usage is critical (RFC 3161, section 2.3). They are valid from long ago: the
// clock may be behind.
func (s *standin) makeChain() error {
	rootKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	if s.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return err
	}
	template := x509.Certificate{
		Subject:   pkix.Name{Organization: []string{"pratique keyless"}, CommonName: "timestamp root"},
		NotBefore: time.Now().Add(-caLife - time.Hour), NotAfter: time.Now().Add(caLife),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, BasicConstraintsValid: true, IsCA: true,
	}
	root, err := certificate(template, nil, rootKey, rootKey)
	if err != nil {
		return err
	}
	usage, err := asn1.Marshal([]asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 8}}) // id-kp-timeStamping
	if err != nil {
		return err
	}
	template.Subject.CommonName, template.KeyUsage, template.IsCA = "timestamps of a clock that is off", x509.KeyUsageDigitalSignature, false
	template.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Critical: true, Value: usage}}
	leaf, err := certificate(template, root, s.key, rootKey)
	s.chain = []*x509.Certificate{leaf, root}
	return err
}

// stamp answers a query (RFC 3161, section 3.4).
func (s *standin) stamp(w http.ResponseWriter, r *http.Request) {
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxQueryBytes))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	query, err := timestamp.ParseRequest(text)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	reply := timestamp.Timestamp{
		HashAlgorithm: query.HashAlgorithm, HashedMessage: query.HashedMessage, Nonce: query.Nonce, AddTSACertificate: query.Certificates,
		Time: s.clock().UTC(), Accuracy: time.Second, Policy: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 2}, // as the real one
	}
	answer, err := reply.CreateResponseWithOpts(s.chain[0], s.key, crypto.SHA256)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/timestamp-reply")
	w.WriteHeader(http.StatusCreated)
	w.Write(answer)
}
