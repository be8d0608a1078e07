package keyless

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cyberphone/json-canonicalization/go/src/webpki.org/jsoncanonicalizer"
	"github.com/sigstore/rekor/pkg/generated/models"
	"github.com/sigstore/rekor/pkg/util"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/merkle/testonly"
)

// errNoEntry says that the log has no such entry.
var errNoEntry = errors.New("no such entry")

// merkleLog is an append-only log in memory: a Merkle tree (RFC 6962, section 2)
// over the bodies of its entries, whose root it signs.
type merkleLog struct {
	signer signature.Signer
	id     string // in hex
	clock  func() time.Time

	mu     sync.Mutex
	tree   *testonly.Tree
	bodies [][]byte
	times  []int64        // when each was integrated, in seconds of Unix time
	byUUID map[string]int // where each is
}

func newMerkleLog(key *ecdsa.PrivateKey, id string, clock func() time.Time) (*merkleLog, error) {
	signer, err := signature.LoadSigner(key, crypto.SHA256)
	if err != nil {
		return nil, err
	}
	return &merkleLog{signer: signer, id: id, clock: clock, tree: testonly.New(rfc6962.DefaultHasher), byUUID: map[string]int{}}, nil
}

// uuidOf is the name of an entry: the tree's ID and the hash of the leaf, in hex.
func uuidOf(body []byte) string {
	return fmt.Sprintf("%016x%x", rekor1Tree, rfc6962.DefaultHasher.HashLeaf(body))
}

// add appends an entry and returns its index; one that is there already isn't
// added again.
func (l *merkleLog) add(body []byte) (index int, added bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	uuid := uuidOf(body)
	if index, ok := l.byUUID[uuid]; ok {
		return index, false
	}
	l.tree.AppendData(body)
	l.bodies = append(l.bodies, body)
	l.times = append(l.times, l.clock().Unix())
	l.byUUID[uuid] = len(l.bodies) - 1
	return len(l.bodies) - 1, true
}

// find returns the index of the entry that has this UUID, with or without the
// tree's ID before it.
func (l *merkleLog) find(uuid string) (index int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(uuid) == 64 {
		uuid = fmt.Sprintf("%016x%s", rekor1Tree, uuid)
	}
	index, ok = l.byUUID[uuid]
	return index, ok
}

// entry returns an entry as the API shows it, with its proof in the tree as it
// is now.
func (l *merkleLog) entry(ctx context.Context, index int) (uuid string, entry models.LogEntryAnon, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if index < 0 || index >= len(l.bodies) {
		return "", entry, errNoEntry
	}
	size, at := l.tree.Size(), int64(index)
	hashes, err := l.tree.InclusionProof(uint64(index), size)
	if err != nil {
		return "", entry, err
	}
	checkpoint, err := l.checkpoint(ctx)
	if err != nil {
		return "", entry, err
	}
	proof := models.InclusionProof{Hashes: []string{}, LogIndex: &at, TreeSize: pointer(int64(size)), RootHash: pointer(hex.EncodeToString(l.tree.Hash())), Checkpoint: &checkpoint}
	for _, h := range hashes {
		proof.Hashes = append(proof.Hashes, hex.EncodeToString(h))
	}
	entry = models.LogEntryAnon{Body: l.bodies[index], IntegratedTime: pointer(l.times[index]), LogID: &l.id, LogIndex: &at}
	set, err := l.promise(entry)
	if err != nil {
		return "", entry, err
	}
	entry.Verification = &models.LogEntryAnonVerification{InclusionProof: &proof, SignedEntryTimestamp: set}
	return uuidOf(l.bodies[index]), entry, nil
}

// promise is the signed entry timestamp: a signature over the canonical JSON
// (RFC 8785) of these four fields.
func (l *merkleLog) promise(entry models.LogEntryAnon) ([]byte, error) {
	text, err := json.Marshal(map[string]any{
		"body": entry.Body, "integratedTime": *entry.IntegratedTime, "logID": *entry.LogID, "logIndex": *entry.LogIndex,
	})
	if err != nil {
		return nil, err
	}
	canonical, err := jsoncanonicalizer.Transform(text)
	if err != nil {
		return nil, err
	}
	return l.signer.SignMessage(bytes.NewReader(canonical))
}

// checkpoint signs the tree as it is; mu is held.
func (l *merkleLog) checkpoint(ctx context.Context) (string, error) {
	text, err := util.CreateAndSignCheckpoint(ctx, rekor1Host, rekor1Tree, l.tree.Size(), l.tree.Hash(), l.signer)
	return string(text), err
}

// head returns the tree's size, its root and its checkpoint.
func (l *merkleLog) head(ctx context.Context) (size int64, root []byte, checkpoint string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	checkpoint, err = l.checkpoint(ctx)
	return int64(l.tree.Size()), l.tree.Hash(), checkpoint, err
}

func pointer[T any](v T) *T { return &v }
