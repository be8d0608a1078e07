package keyless

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/digitorus/timestamp"
	ct "github.com/google/certificate-transparency-go"
)

// What is ours is tested here without the programs, which a machine may lack.

func TestTheIssuerAnswersForEveryIssuerAndSignsItsTokens(t *testing.T) {
	t.Parallel()
	i, err := newIssuer(append(Issuers(), Issuer{"http://plain.example.org/a/path", Emails}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { i.close() })
	proxy, err := url.Parse(i.url)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(i.ca)
	client := &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(proxy), TLSClientConfig: &tls.Config{RootCAs: pool}}}
	for _, iss := range i.issuers {
		var discovery struct {
			Issuer string
			JWKS   string `json:"jwks_uri"`
		}
		get(t, client, iss.URL+"/.well-known/openid-configuration", &discovery)
		var set struct{ Keys []struct{ Kid, N, E string } }
		get(t, client, discovery.JWKS, &set)
		if discovery.Issuer != iss.URL || len(set.Keys) != 1 {
			t.Fatalf("%s answers as %s with %d keys", iss.URL, discovery.Issuer, len(set.Keys))
		}
		token, err := i.token(Claims{Email: "dev@example.com", Issuer: iss.URL})
		if err != nil {
			t.Fatal(err)
		}
		key := rsa.PublicKey{N: new(big.Int).SetBytes(raw(t, set.Keys[0].N)), E: int(new(big.Int).SetBytes(raw(t, set.Keys[0].E)).Int64())}
		parts := strings.Split(token, ".")
		digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
		if err := rsa.VerifyPKCS1v15(&key, crypto.SHA256, digest[:], raw(t, parts[2])); err != nil {
			t.Errorf("%s: %v", iss.URL, err)
		}
	}
	if res, err := client.Get("https://unknown.example.com/.well-known/openid-configuration"); err != nil || res.StatusCode != http.StatusNotFound {
		t.Errorf("of an issuer it isn't: %v, %v", res, err)
	}
}

func get(t *testing.T, client *http.Client, url string, into any) {
	t.Helper()
	res, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(into); err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", url, res.Status, err)
	}
}

func raw(t *testing.T, text string) []byte {
	t.Helper()
	data, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestATokenForNobodyOrForTwoIsRefused(t *testing.T) {
	t.Parallel()
	i, err := newIssuer(Issuers())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { i.close() })
	for name, c := range map[string]Claims{
		"nobody":                      {},
		"an issuer alone":             {Issuer: EmailIssuer},
		"an email and a subject":      {Email: "dev@example.com", Subject: "https://workloads.example.com/x"},
		"a subject without an issuer": {Extra: GitLab("acme/app")},
		"what is no JSON":             {Email: "dev@example.com", Extra: map[string]any{"x": func() {}}},
	} {
		if token, err := i.token(c); err == nil {
			t.Errorf("%s: got %s", name, token)
		}
	}
}

func TestTheCTLogSignsPrecertificatesAndCertificates(t *testing.T) {
	t.Parallel()
	l, err := newCTLog()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.close() })
	var f fulcio
	key, err := f.makeCA()
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := ct.NewSignatureVerifier(l.key.Public())
	if err != nil {
		t.Fatal(err)
	}
	poison := pkix.Extension{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 3}, Critical: true, Value: []byte{5, 0}} // RFC 6962, section 3.1
	for _, test := range []struct {
		path       string
		kind       ct.LogEntryType
		extensions []pkix.Extension
	}{
		{"/ct/v1/add-pre-chain", ct.PrecertLogEntryType, []pkix.Extension{poison}},
		{"/ct/v1/add-chain", ct.X509LogEntryType, nil},
	} {
		template := x509.Certificate{NotBefore: time.Now(), NotAfter: time.Now().Add(time.Hour), ExtraExtensions: test.extensions}
		leaf, err := certificate(template, f.intermediate, key, key)
		if err != nil {
			t.Fatal(err)
		}
		chain := [][]byte{leaf.Raw, f.intermediate.Raw, f.root.Raw}
		var answer ct.AddChainResponse
		if status := post(t, l.url+test.path, ct.AddChainRequest{Chain: chain}, &answer); status != http.StatusOK {
			t.Fatalf("%s: %d", test.path, status)
		}
		sct, err := answer.ToSignedCertificateTimestamp()
		if err != nil {
			t.Fatal(err)
		}
		entry, err := ct.MerkleTreeLeafFromRawChain([]ct.ASN1Cert{{Data: leaf.Raw}, {Data: f.intermediate.Raw}}, test.kind, sct.Timestamp)
		if err != nil {
			t.Fatal(err)
		}
		if err := verifier.VerifySCTSignature(*sct, ct.LogEntry{Leaf: *entry}); err != nil {
			t.Errorf("%s: %v", test.path, err)
		}
		sct.Timestamp++
		if err := verifier.VerifySCTSignature(*sct, ct.LogEntry{Leaf: *entry}); err == nil {
			t.Errorf("%s: the signature doesn't cover the time", test.path)
		}
		if status := post(t, l.url+test.path, ct.AddChainRequest{Chain: chain[:1]}, &answer); status != http.StatusBadRequest {
			t.Errorf("%s: a chain without an issuer: %d", test.path, status)
		}
	}
}

func post(t *testing.T, url string, body, into any) (status int) {
	t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	res, err := directClient().Post(url, "application/json", bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode == http.StatusOK {
		if err := json.NewDecoder(res.Body).Decode(into); err != nil {
			t.Fatal(err)
		}
	}
	return res.StatusCode
}

func TestTheSecondTimestampAuthorityHasTheClockItIsGiven(t *testing.T) {
	t.Parallel()
	then := time.Date(2031, 2, 3, 4, 5, 6, 0, time.UTC)
	s, err := newStandin(func() time.Time { return then })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.close() })
	query, err := timestamp.CreateRequest(strings.NewReader("signed"), &timestamp.RequestOptions{Hash: crypto.SHA256, Certificates: true})
	if err != nil {
		t.Fatal(err)
	}
	res, err := directClient().Post(s.url, "application/timestamp-query", bytes.NewReader(query))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	stamp, err := timestamp.ParseResponse(text) // which verifies the signature
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256([]byte("signed"))
	if !stamp.Time.Equal(then) || !bytes.Equal(stamp.HashedMessage, digest[:]) || len(stamp.Certificates) != 1 || !stamp.Certificates[0].Equal(s.chain[0]) {
		t.Errorf("stamped %x at %s", stamp.HashedMessage, stamp.Time)
	}
	if res, err := directClient().Post(s.url, "application/timestamp-query", strings.NewReader("x")); err != nil || res.StatusCode != http.StatusBadRequest {
		t.Errorf("what is no query: %v, %v", res, err)
	}
}
