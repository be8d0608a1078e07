package keyless

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/go-openapi/runtime"
	"github.com/sigstore/rekor/pkg/generated/models"
	"github.com/sigstore/rekor/pkg/types"

	// The kinds of entries that the log takes; each registers itself.
	_ "github.com/sigstore/rekor/pkg/types/dsse/v0.0.1"
	_ "github.com/sigstore/rekor/pkg/types/hashedrekord/v0.0.1"
	_ "github.com/sigstore/rekor/pkg/types/intoto/v0.0.1"
	_ "github.com/sigstore/rekor/pkg/types/intoto/v0.0.2"
	_ "github.com/sigstore/rekor/pkg/types/rekord/v0.0.1"
)

const (
	// rekor1Host is the origin of Rekor v1's checkpoints, and its host in the
	// trusted root.
	rekor1Host = "rekor1.example.com"
	// rekor1Tree is the ID of its one tree, as long as a real one's.
	rekor1Tree = int64(0x1234567890abcdef)
	// maxEntryBytes bounds an entry: an envelope with a big SBOM, in base64.
	maxEntryBytes = 64 << 20
)

// rekor is the HTTP API of Rekor v1 before a log in memory.
type rekor struct {
	url    string
	key    *ecdsa.PrivateKey
	id     [sha256.Size]byte
	log    *merkleLog
	server *http.Server
}

func newRekor(clock func() time.Time) (*rekor, error) {
	key, id, err := logKey()
	if err != nil {
		return nil, err
	}
	r := &rekor{key: key, id: id}
	if r.log, err = newMerkleLog(key, hex.EncodeToString(id[:]), clock); err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", loopback+":0")
	if err != nil {
		return nil, err
	}
	r.url = "http://" + listener.Addr().String()
	r.server = &http.Server{Handler: r.mux(), ReadHeaderTimeout: startTimeout}
	go r.server.Serve(listener)
	return r, nil
}

func (r *rekor) close() error { return r.server.Close() }

func (r *rekor) mux() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v1/log", r.info)
	mux.HandleFunc("GET /api/v1/log/publicKey", func(w http.ResponseWriter, _ *http.Request) {
		text, err := publicKeyPEM(r.key.Public())
		if err != nil {
			refuse(w, http.StatusInternalServerError, err)
			return
		}
		w.Header().Set("Content-Type", "application/x-pem-file")
		w.Write(text)
	})
	mux.HandleFunc("POST /api/v1/log/entries", r.create)
	mux.HandleFunc("GET /api/v1/log/entries", func(w http.ResponseWriter, req *http.Request) {
		index, err := strconv.Atoi(req.URL.Query().Get("logIndex"))
		if err != nil {
			refuse(w, http.StatusBadRequest, fmt.Errorf("logIndex: %w", err))
			return
		}
		r.show(w, req, index)
	})
	mux.HandleFunc("GET /api/v1/log/entries/{uuid}", func(w http.ResponseWriter, req *http.Request) {
		index, ok := r.log.find(req.PathValue("uuid"))
		if !ok {
			index = -1
		}
		r.show(w, req, index)
	})
	mux.HandleFunc("POST /api/v1/log/entries/retrieve", r.retrieve)
	return mux
}

// create adds an entry, or says where one that is the same is already.
func (r *rekor) create(w http.ResponseWriter, req *http.Request) {
	proposed, err := models.UnmarshalProposedEntry(http.MaxBytesReader(w, req.Body, maxEntryBytes), runtime.JSONConsumer())
	if err != nil {
		refuse(w, http.StatusBadRequest, fmt.Errorf("reading the entry: %w", err))
		return
	}
	body, err := canonical(req.Context(), proposed)
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	index, added := r.log.add(body)
	uuid, entry, err := r.log.entry(req.Context(), index)
	if err != nil {
		refuse(w, http.StatusInternalServerError, err)
		return
	}
	w.Header().Set("Location", "/api/v1/log/entries/"+uuid)
	w.Header().Set("ETag", uuid)
	if !added {
		refuse(w, http.StatusConflict, fmt.Errorf("an equivalent entry already exists in the transparency log with UUID %s", uuid))
		return
	}
	writeJSON(w, http.StatusCreated, models.LogEntry{uuid: entry})
}

// canonical checks an entry and returns what the log keeps of it.
func canonical(ctx context.Context, proposed models.ProposedEntry) ([]byte, error) {
	entry, err := types.CreateVersionedEntry(proposed)
	if err != nil {
		return nil, fmt.Errorf("validating the entry: %w", err)
	}
	body, err := types.CanonicalizeEntry(ctx, entry)
	if err != nil {
		return nil, fmt.Errorf("canonicalizing the entry: %w", err)
	}
	return body, nil
}

func (r *rekor) show(w http.ResponseWriter, req *http.Request, index int) {
	uuid, entry, err := r.log.entry(req.Context(), index)
	switch {
	case errors.Is(err, errNoEntry):
		refuse(w, http.StatusNotFound, err)
	case err != nil:
		refuse(w, http.StatusInternalServerError, err)
	default:
		writeJSON(w, http.StatusOK, models.LogEntry{uuid: entry})
	}
}

// retrieve finds entries by their UUIDs, their indexes, or by themselves, which
// is how cosign looks for one that came without its proof.
func (r *rekor) retrieve(w http.ResponseWriter, req *http.Request) {
	var query struct {
		UUIDs   []string          `json:"entryUUIDs"`
		Indexes []int             `json:"logIndexes"`
		Entries []json.RawMessage `json:"entries"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, req.Body, maxEntryBytes)).Decode(&query); err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	indexes := query.Indexes
	for _, uuid := range query.UUIDs {
		if index, ok := r.log.find(uuid); ok {
			indexes = append(indexes, index)
		}
	}
	for _, text := range query.Entries {
		proposed, err := models.UnmarshalProposedEntry(bytes.NewReader(text), runtime.JSONConsumer())
		if err != nil {
			refuse(w, http.StatusBadRequest, err)
			return
		}
		body, err := canonical(req.Context(), proposed)
		if err != nil {
			refuse(w, http.StatusBadRequest, err)
			return
		}
		if index, ok := r.log.find(uuidOf(body)); ok {
			indexes = append(indexes, index)
		}
	}
	found := []models.LogEntry{}
	for _, index := range indexes {
		uuid, entry, err := r.log.entry(req.Context(), index)
		if err == nil {
			found = append(found, models.LogEntry{uuid: entry})
		}
	}
	writeJSON(w, http.StatusOK, found)
}

// info tells the log's state.
func (r *rekor) info(w http.ResponseWriter, req *http.Request) {
	size, root, checkpoint, err := r.log.head(req.Context())
	if err != nil {
		refuse(w, http.StatusInternalServerError, err)
		return
	}
	text, treeID := hex.EncodeToString(root), strconv.FormatInt(rekor1Tree, 10)
	writeJSON(w, http.StatusOK, models.LogInfo{RootHash: &text, SignedTreeHead: &checkpoint, TreeID: &treeID, TreeSize: &size})
}

// refuse answers with Rekor's shape of an error.
func refuse(w http.ResponseWriter, status int, err error) {
	writeJSON(w, status, models.Error{Code: int64(status), Message: err.Error()})
}

func publicKeyPEM(key any) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), nil
}
