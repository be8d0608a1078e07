package keyless

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sigstore/rekor/pkg/client"
	genclient "github.com/sigstore/rekor/pkg/generated/client"
	"github.com/sigstore/rekor/pkg/generated/client/entries"
	"github.com/sigstore/rekor/pkg/generated/client/pubkey"
	"github.com/sigstore/rekor/pkg/generated/client/tlog"
	"github.com/sigstore/rekor/pkg/generated/models"
	"github.com/sigstore/rekor/pkg/types"
	"github.com/sigstore/rekor/pkg/verify"
	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature"
	sigdsse "github.com/sigstore/sigstore/pkg/signature/dsse"
)

// startRekor starts the log alone, which needs no program.
func startRekor(t *testing.T, clock func() time.Time) (*genclient.Rekor, signature.Verifier) {
	t.Helper()
	r, err := newRekor(clock)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.close() })
	c, err := client.GetRekorClient(r.url, client.WithRetryCount(0))
	if err != nil {
		t.Fatal(err)
	}
	text, err := c.Pubkey.GetPublicKey(pubkey.NewGetPublicKeyParams())
	if err != nil {
		t.Fatal(err)
	}
	key, err := cryptoutils.UnmarshalPEMToPublicKey([]byte(text.Payload))
	if err != nil {
		t.Fatal(err)
	}
	if !r.key.PublicKey.Equal(key) {
		t.Error("the API tells another key")
	}
	v, err := signature.LoadVerifier(key, crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	return c, v
}

// signer signs what the entries of a test are about.
type signer struct {
	signature.SignerVerifier
	pem []byte
}

func newSigner(t *testing.T) signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s, err := signature.LoadSignerVerifier(key, crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	text, err := publicKeyPEM(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return signer{s, text}
}

// properties are of an entry of a kind about a payload.
func (s signer) properties(t *testing.T, kind string, payload []byte) types.ArtifactProperties {
	t.Helper()
	p := types.ArtifactProperties{PublicKeyBytes: [][]byte{s.pem}, PKIFormat: "x509"}
	var err error
	switch kind {
	case "hashedrekord", "rekord":
		if p.SignatureBytes, err = s.SignMessage(bytes.NewReader(payload)); err != nil {
			t.Fatal(err)
		}
		digest := sha256.Sum256(payload)
		p.ArtifactHash, p.ArtifactBytes = "sha256:"+hex.EncodeToString(digest[:]), payload
	default:
		if p.ArtifactBytes, err = sigdsse.WrapSigner(s, "application/vnd.in-toto+json").SignMessage(bytes.NewReader(payload)); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

func upload(t *testing.T, c *genclient.Rekor, kind, version string, p types.ArtifactProperties) (uuid string, entry models.LogEntryAnon, err error) {
	t.Helper()
	proposed, err := types.NewProposedEntry(t.Context(), kind, version, p)
	if err != nil {
		t.Fatal(err)
	}
	created, err := c.Entries.CreateLogEntry(entries.NewCreateLogEntryParamsWithContext(t.Context()).WithProposedEntry(proposed))
	if err != nil {
		return "", entry, err
	}
	entry, ok := created.Payload[created.ETag]
	if !ok || len(created.Payload) != 1 || !strings.HasSuffix(created.Location.String(), created.ETag) {
		t.Errorf("got %d entries, and %s at %s", len(created.Payload), created.ETag, created.Location)
	}
	return created.ETag, entry, nil
}

func TestRekorV1TakesEveryKindAndProvesIt(t *testing.T) {
	t.Parallel()
	c, verifier := startRekor(t, time.Now)
	s := newSigner(t)
	const statement = `{"_type":"https://in-toto.io/Statement/v0.1","predicateType":"https://example.com/p","subject":[{"name":"x","digest":{"sha256":"%064d"}}],"predicate":{}}`
	var uuids []string
	for i, kind := range []string{"hashedrekord 0.0.1", "dsse 0.0.1", "intoto 0.0.1", "intoto 0.0.2", "rekord 0.0.1", "hashedrekord 0.0.1", "dsse 0.0.1"} {
		name, version, _ := strings.Cut(kind, " ")
		uuid, entry, err := upload(t, c, name, version, s.properties(t, name, fmt.Appendf(nil, statement, i)))
		if err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		uuids = append(uuids, uuid)
		if err := verify.VerifyLogEntry(t.Context(), &entry, verifier); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		if *entry.LogIndex != int64(i) || *entry.Verification.InclusionProof.TreeSize != int64(i+1) {
			t.Errorf("%s: index %d in a tree of %d, want it last", kind, *entry.LogIndex, *entry.Verification.InclusionProof.TreeSize)
		}
		var body struct{ Kind, APIVersion string }
		if text, err := base64.StdEncoding.DecodeString(entry.Body.(string)); err != nil || json.Unmarshal(text, &body) != nil || body.Kind+" "+body.APIVersion != kind {
			t.Errorf("%s is kept as %s %s, %v", kind, body.Kind, body.APIVersion, err)
		}
	}
	for i, uuid := range uuids { // now in a tree that grew
		got, err := c.Entries.GetLogEntryByUUID(entries.NewGetLogEntryByUUIDParams().WithEntryUUID(uuid))
		if err != nil {
			t.Fatal(err)
		}
		entry := got.Payload[uuid]
		if err := verify.VerifyLogEntry(t.Context(), &entry, verifier); err != nil {
			t.Errorf("entry %d: %v", i, err)
		}
		byIndex, err := c.Entries.GetLogEntryByIndex(entries.NewGetLogEntryByIndexParams().WithLogIndex(int64(i)))
		if err != nil {
			t.Fatal(err)
		}
		if byIndex.Payload[uuid].Body != entry.Body {
			t.Errorf("entry %d is another by its index", i)
		}
		entry.LogIndex = pointer(*entry.LogIndex + 1)
		if err := verify.VerifySignedEntryTimestamp(t.Context(), &entry, verifier); err == nil {
			t.Error("the promise doesn't cover the index")
		}
	}
	info, err := c.Tlog.GetLogInfo(tlog.NewGetLogInfoParams())
	if err != nil || *info.Payload.TreeSize != int64(len(uuids)) || !strings.HasPrefix(*info.Payload.SignedTreeHead, rekor1Host+" - ") {
		t.Errorf("the log tells %v, %v", info, err)
	}
}

func TestRekorV1FindsWhatItHasAndRefusesItTwice(t *testing.T) {
	t.Parallel()
	c, _ := startRekor(t, time.Now)
	p := newSigner(t).properties(t, "hashedrekord", []byte("x"))
	uuid, _, err := upload(t, c, "hashedrekord", "0.0.1", p)
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = upload(t, c, "hashedrekord", "0.0.1", p)
	var conflict *entries.CreateLogEntryConflict
	if !errors.As(err, &conflict) || !strings.HasSuffix(conflict.Location.String(), "/"+uuid) {
		t.Errorf("the second time: %v", err)
	}
	proposed, err := types.NewProposedEntry(t.Context(), "hashedrekord", "0.0.1", p)
	if err != nil {
		t.Fatal(err)
	}
	query := models.SearchLogQuery{EntryUUIDs: []string{uuid}}
	query.SetEntries([]models.ProposedEntry{proposed})
	found, err := c.Entries.SearchLogQuery(entries.NewSearchLogQueryParams().WithEntry(&query))
	if err != nil || len(found.Payload) != 2 {
		t.Errorf("by its UUID and by itself found %v, %v", found, err)
	}
	var missing *entries.GetLogEntryByUUIDNotFound
	if _, err := c.Entries.GetLogEntryByUUID(entries.NewGetLogEntryByUUIDParams().WithEntryUUID(strings.Repeat("0", 80))); !errors.As(err, &missing) {
		t.Errorf("an entry that isn't there: %v", err)
	}
}

func TestRekorV1RefusesWhatDoesNotVerify(t *testing.T) {
	t.Parallel()
	r, err := newRekor(time.Now)
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	s, other := newSigner(t), newSigner(t)
	for _, test := range []struct {
		name, kind string
		spoil      func(entry string) string
		want       int
	}{
		{"a signature as it should be", "hashedrekord 0.0.1", func(e string) string { return e }, http.StatusCreated},
		{"an envelope as it should be", "dsse 0.0.1", func(e string) string { return e }, http.StatusCreated},
		{"another's key of a signature", "hashedrekord 0.0.1", func(e string) string {
			return strings.ReplaceAll(e, base64.StdEncoding.EncodeToString(s.pem), base64.StdEncoding.EncodeToString(other.pem))
		}, http.StatusBadRequest},
		{"another's key of an artifact's signature", "rekord 0.0.1", func(e string) string {
			return strings.ReplaceAll(e, base64.StdEncoding.EncodeToString(s.pem), base64.StdEncoding.EncodeToString(other.pem))
		}, http.StatusBadRequest},
		{"another's key of an envelope", "dsse 0.0.1", func(e string) string {
			return strings.ReplaceAll(e, base64.StdEncoding.EncodeToString(s.pem), base64.StdEncoding.EncodeToString(other.pem))
		}, http.StatusBadRequest},
		{"another digest", "hashedrekord 0.0.1", func(e string) string {
			return strings.ReplaceAll(e, `"value":"`, `"value":"00`)
		}, http.StatusBadRequest},
		{"an unknown kind", "hashedrekord 0.0.1", func(e string) string { return strings.ReplaceAll(e, "hashedrekord", "cat") }, http.StatusBadRequest},
		{"an unknown version", "hashedrekord 0.0.1", func(e string) string { return strings.ReplaceAll(e, "0.0.1", "9.9.9") }, http.StatusBadRequest},
		{"no JSON", "hashedrekord 0.0.1", func(e string) string { return e[1:] }, http.StatusBadRequest},
	} {
		kind, version, _ := strings.Cut(test.kind, " ")
		proposed, err := types.NewProposedEntry(t.Context(), kind, version, s.properties(t, kind, []byte(`{"_type":"https://in-toto.io/Statement/v0.1"}`)))
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(proposed)
		if err != nil {
			t.Fatal(err)
		}
		res, err := directClient().Post(r.url+"/api/v1/log/entries", "application/json", strings.NewReader(test.spoil(string(text))))
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != test.want {
			t.Errorf("%s: %s, want %d", test.name, res.Status, test.want)
		}
	}
	if size := r.log.tree.Size(); size != 2 {
		t.Errorf("the log has %d entries, want the two good ones", size)
	}
}

func TestRekorV1HasTheClockItIsGiven(t *testing.T) {
	t.Parallel()
	late := time.Now().Add(48 * time.Hour).Truncate(time.Second)
	c, verifier := startRekor(t, func() time.Time { return late })
	_, entry, err := upload(t, c, "hashedrekord", "0.0.1", newSigner(t).properties(t, "hashedrekord", []byte("x")))
	if err != nil {
		t.Fatal(err)
	}
	if err := verify.VerifyLogEntry(t.Context(), &entry, verifier); err != nil {
		t.Error(err)
	}
	if *entry.IntegratedTime != late.Unix() {
		t.Errorf("integrated at %d, want %d", *entry.IntegratedTime, late.Unix())
	}
}
