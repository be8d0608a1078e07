package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"

	"github.com/digitorus/timestamp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/rogpeppe/go-internal/testscript"
	"github.com/secure-systems-lab/go-securesystemslib/encrypted"

	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/pkg/verify/verifytest"
	"github.com/pratique-dev/pratique/test/evilregistry"
)

// signCommands are what the scripts can say about what signs:
//
//	cosign-key NAME PASSWORD  makes a key as cosign does, NAME.key and NAME.pub: $PEM_NAME is the public half, as a string of JSON, and $PRINT_NAME
//	                          its fingerprint
//	timestamps NAME SIGSTORE  starts a timestamp server of an instance: $TSA_NAME is its URL
//	push-index VAR REF PLATFORM...
//	                          pushes an index of new images: $VAR is its reference by digest, $VAR_1_DIGEST the digest of its first child, and so on
func signCommands(t *testing.T) map[string]func(*testscript.TestScript, bool, []string) {
	return map[string]func(*testscript.TestScript, bool, []string){
		"cosign-key": cmdCosignKey,
		"timestamps": func(ts *testscript.TestScript, neg bool, args []string) { cmdTimestamps(failer{t, ts}, ts, neg, args) },
		"push-index": func(ts *testscript.TestScript, neg bool, args []string) { cmdPushIndex(failer{t, ts}, ts, neg, args) },
	}
}

func cmdCosignKey(ts *testscript.TestScript, neg bool, args []string) {
	worldOf(ts, neg, len(args) == 2, "cosign-key NAME PASSWORD")
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ts.Check(err)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	ts.Check(err)
	sealed, err := encrypted.EncryptWithCustomKDFParameters(der, []byte(args[1]), encrypted.Legacy) // the quickest of those that cosign has written
	ts.Check(err)
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	ts.Check(err)
	text := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})
	for file, data := range map[string][]byte{".key": pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED SIGSTORE PRIVATE KEY", Bytes: sealed}), ".pub": text} {
		ts.Check(os.WriteFile(ts.MkAbs(args[0]+file), data, 0o600))
	}
	quoted, err := json.Marshal(string(text))
	ts.Check(err)
	ts.Setenv("PEM_"+args[0], string(quoted))
	keys, err := verify.ParseKeys(text)
	ts.Check(err)
	ts.Setenv("PRINT_"+args[0], keys[0].Fingerprint().String())
}

func cmdTimestamps(t failer, ts *testscript.TestScript, neg bool, args []string) {
	w := worldOf(ts, neg, len(args) == 2, "timestamps NAME SIGSTORE")
	s := w.instance(t, args[1])
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			var asked *timestamp.Request
			if asked, err = timestamp.ParseRequest(body); err == nil {
				_, err = w.Write(s.StampHashed(t.TB, 0, asked.HashedMessage, verifytest.Then()))
			}
		}
		if err != nil {
			t.Error(err)
		}
	}))
	ts.Defer(server.Close)
	ts.Setenv("TSA_"+args[0], server.URL+"/api/v1/timestamp")
}

func cmdPushIndex(t failer, ts *testscript.TestScript, neg bool, args []string) {
	w := worldOf(ts, neg, len(args) > 2, "push-index VAR REF PLATFORM...")
	var platforms []v1.Platform
	for _, text := range args[2:] {
		p, err := v1.ParsePlatform(text)
		ts.Check(err)
		platforms = append(platforms, *p)
	}
	w.images++
	index := evilregistry.RandomIndex(uint64(w.images), platforms...)
	image := w.registry.Push(t, args[1], index)
	ts.Setenv(args[0], image.String())
	ts.Setenv(args[0]+"_DIGEST", image.DigestStr())
	manifest, err := index.IndexManifest()
	ts.Check(err)
	for i, child := range manifest.Manifests {
		ts.Setenv(fmt.Sprintf("%s_%d_DIGEST", args[0], i+1), child.Digest.String())
	}
}
