package keyless

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"time"

	ct "github.com/google/certificate-transparency-go"
	"github.com/google/certificate-transparency-go/tls"
)

// maxChainBytes bounds what is read of a request: a chain of three certificates
// has some 3 KiB.
const maxChainBytes = 1 << 20

// ctLog signs a timestamp for every chain it is given (RFC 6962, sections 3.2,
// 4.1 and 4.2), without looking at who issued it.
type ctLog struct {
	url    string
	key    *ecdsa.PrivateKey
	id     [sha256.Size]byte
	server *http.Server
}

func newCTLog() (*ctLog, error) {
	key, id, err := logKey()
	if err != nil {
		return nil, err
	}
	l := &ctLog{key: key, id: id}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /log/ct/v1/add-pre-chain", l.add(ct.PrecertLogEntryType))
	mux.HandleFunc("POST /log/ct/v1/add-chain", l.add(ct.X509LogEntryType))
	listener, err := net.Listen("tcp", loopback+":0")
	if err != nil {
		return nil, err
	}
	l.url = "http://" + listener.Addr().String() + "/log"
	l.server = &http.Server{Handler: mux, ReadHeaderTimeout: startTimeout}
	go l.server.Serve(listener)
	return l, nil
}

// logKey makes the key of a log. Its ID is the SHA-256 of the public key's DER,
// for CT (RFC 6962, section 3.2) as for Rekor v1.
func logKey() (key *ecdsa.PrivateKey, id [sha256.Size]byte, err error) {
	if key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, id, err
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	return key, sha256.Sum256(der), err
}

func (l *ctLog) close() error { return l.server.Close() }

func (l *ctLog) add(kind ct.LogEntryType) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var request ct.AddChainRequest
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxChainBytes)).Decode(&request); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		answer, err := l.sign(request.Chain, kind)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		writeJSON(w, http.StatusOK, answer)
	}
}

// sign makes the signed certificate timestamp of a chain, whose first
// certificate is the one to log and the second its issuer.
func (l *ctLog) sign(chain [][]byte, kind ct.LogEntryType) (*ct.AddChainResponse, error) {
	if len(chain) < 2 {
		return nil, fmt.Errorf("a chain of %d certificates has no issuer", len(chain))
	}
	var raw []ct.ASN1Cert
	for _, der := range chain {
		raw = append(raw, ct.ASN1Cert{Data: der})
	}
	now := uint64(time.Now().UnixMilli())
	leaf, err := ct.MerkleTreeLeafFromRawChain(raw, kind, now)
	if err != nil {
		return nil, err
	}
	sct := ct.SignedCertificateTimestamp{SCTVersion: ct.V1, LogID: ct.LogID{KeyID: l.id}, Timestamp: now}
	input, err := ct.SerializeSCTSignatureInput(sct, ct.LogEntry{Leaf: *leaf})
	if err != nil {
		return nil, err
	}
	signed, err := tls.CreateSignature(*l.key, tls.SHA256, input)
	if err != nil {
		return nil, err
	}
	signature, err := tls.Marshal(signed)
	if err != nil {
		return nil, err
	}
	return &ct.AddChainResponse{SCTVersion: ct.V1, ID: l.id[:], Timestamp: now, Signature: signature}, nil
}
