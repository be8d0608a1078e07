// Package trusttest keeps TUF repositories for tests: real keys, real signatures, real expiries, served over loopback or
// in memory, so that what follows a mirror can be tested against one that turns, moves on, lies or dies.
//
// A Repository has consistent snapshots and hashed targets, as the sigstore project's has, and one ed25519 key a role.
// Every method that changes it publishes anew. What a mirror can do wrong is done to it from outside: Save and Restore
// show an older state, Answer replaces one file's answer, Down answers nothing.
package trusttest

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// Target is the name that a Repository has its target under.
const Target = "trusted_root.json"

// How long metadata last that nothing else was said of, counted from the moment a Repository was made: as the sigstore
// project's, roughly.
const (
	RootLasts      = 180 * 24 * time.Hour
	TargetsLast    = 90 * 24 * time.Hour
	SnapshotLasts  = 30 * 24 * time.Hour
	TimestampLasts = 7 * 24 * time.Hour
)

// Repository is a TUF repository with one target. It is safe for concurrent use.
type Repository struct {
	t testing.TB

	mu        sync.Mutex
	server    *httptest.Server
	keys      map[string]signature.Signer // by role
	root      *metadata.Metadata[metadata.RootType]
	timestamp *metadata.Metadata[metadata.TimestampType]
	snapshot  *metadata.Metadata[metadata.SnapshotType]
	targets   *metadata.Metadata[metadata.TargetsType]
	first     []byte
	files     map[string][]byte // by path, without the leading slash
	answers   map[string]http.Handler
	down      bool
	asked     []string
}

// New returns a repository that offers a target, all metadata at version 1, dated from now.
func New(t testing.TB, target []byte) *Repository {
	t.Helper()
	return At(t, target, time.Now())
}

// At is New with metadata that are dated from another time.
func At(t testing.TB, target []byte, now time.Time) *Repository {
	t.Helper()
	now = now.UTC().Truncate(time.Second) // TUF's dates have no fractions
	r := &Repository{
		t: t, keys: map[string]signature.Signer{}, files: map[string][]byte{}, answers: map[string]http.Handler{},
		root:      metadata.Root(now.Add(RootLasts)),
		timestamp: metadata.Timestamp(now.Add(TimestampLasts)),
		snapshot:  metadata.Snapshot(now.Add(SnapshotLasts)),
		targets:   metadata.Targets(now.Add(TargetsLast)),
	}
	for _, role := range metadata.TOP_LEVEL_ROLE_NAMES {
		r.newKey(role)
	}
	r.publishRoot()
	r.first = r.files["1.root.json"]
	r.setTarget(target)
	r.publish()
	return r
}

// Root returns the root.json of version 1, to be pinned.
func (r *Repository) Root() []byte { return append([]byte{}, r.first...) }

// SetTarget offers another text. Versions of targets, snapshot and timestamp go up by one.
func (r *Repository) SetTarget(text []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.setTarget(text)
	r.targets.Signed.Version++
	r.touch()
}

// EditTarget changes what the targets metadata say of the target, and signs that. Versions go up as for SetTarget.
func (r *Repository) EditTarget(edit func(*metadata.TargetFiles)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	edit(r.targets.Signed.Targets[Target])
	r.targets.Signed.Version++
	r.touch()
}

// EditSnapshot changes what the snapshot says, such as what it lists beside targets.json. Its version goes up by one.
func (r *Repository) EditSnapshot(edit func(*metadata.SnapshotType)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	edit(&r.snapshot.Signed)
	r.touch()
}

// EditRoot changes what the root says, such as whose keys count, and signs that. Its version goes up by one; whose keys
// sign the other roles stays as it is.
func (r *Repository) EditRoot(edit func(*metadata.RootType)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	edit(&r.root.Signed)
	r.root.Signed.Version++
	r.publishRoot()
}

// RotateRoot replaces the root key: the next root.json is signed by the old one and the new one.
func (r *Repository) RotateRoot() {
	r.mu.Lock()
	defer r.mu.Unlock()
	old := r.keys[metadata.ROOT]
	r.newKey(metadata.ROOT)
	r.root.Signed.Version++
	r.publishRoot(old)
}

// RotateRole replaces the key of timestamp, snapshot or targets. The next root.json says so; the role's metadata are
// signed with the new key, its version and those that depend on it one up.
func (r *Repository) RotateRole(role string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.newKey(role)
	r.root.Signed.Version++
	r.publishRoot()
	if role == metadata.TARGETS {
		r.targets.Signed.Version++
	}
	r.touch()
}

// Expire has a role's metadata expire at a time, past or future. Its version and those that depend on it go up by one.
func (r *Repository) Expire(role string, at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	at = at.UTC().Truncate(time.Second)
	switch role {
	case metadata.ROOT:
		r.root.Signed.Expires = at
		r.root.Signed.Version++
		r.publishRoot()
		return
	case metadata.TIMESTAMP:
		r.timestamp.Signed.Expires = at
		r.timestamp.Signed.Version++
		r.publish()
		return
	case metadata.SNAPSHOT:
		r.snapshot.Signed.Expires = at
	case metadata.TARGETS:
		r.targets.Signed.Expires = at
		r.targets.Signed.Version++
	default:
		r.t.Fatalf("there is no role %q", role)
	}
	r.touch()
}

// SetVersion publishes a role's metadata under another version, lower or higher, as whoever has its key can.
func (r *Repository) SetVersion(role string, version int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch role {
	case metadata.TIMESTAMP:
		r.timestamp.Signed.Version = version
	case metadata.SNAPSHOT:
		r.snapshot.Signed.Version = version
		r.timestamp.Signed.Version++
	case metadata.TARGETS:
		r.targets.Signed.Version = version
		r.snapshot.Signed.Version++
		r.timestamp.Signed.Version++
	default:
		r.t.Fatalf("role %q has no version to set", role)
	}
	r.publish()
}

// Saved is all the files of a moment.
type Saved map[string][]byte

// Save returns the files as they are.
func (r *Repository) Save() Saved {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.files)
}

// Restore serves files that were saved: an old state, or, of a part of them, a mix.
func (r *Repository) Restore(s Saved) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.files = maps.Clone(s)
}

// Answer has a path, such as timestamp.json, answered by a handler; nil takes that back.
func (r *Repository) Answer(path string, h http.Handler) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if h == nil {
		delete(r.answers, path)
		return
	}
	r.answers[path] = h
}

// TargetPath is where the target is served.
func (r *Repository) TargetPath() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.targetPath()
}

// Down has every request answered by status 503, or no longer.
func (r *Repository) Down(down bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.down = down
}

// Asked returns the paths asked for so far, in order.
func (r *Repository) Asked() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string{}, r.asked...)
}

// ServeHTTP implements http.Handler.
func (r *Repository) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	path := strings.TrimPrefix(req.URL.Path, "/")
	r.mu.Lock()
	r.asked = append(r.asked, path)
	body, found := r.files[path]
	answer, down := r.answers[path], r.down
	r.mu.Unlock()
	switch {
	case down:
		http.Error(w, "down", http.StatusServiceUnavailable)
	case answer != nil:
		answer.ServeHTTP(w, req)
	case !found:
		http.NotFound(w, req)
	default:
		_, _ = w.Write(body)
	}
}

// URL returns where the repository is served on loopback by plain http, from the first call to the test's end.
func (r *Repository) URL() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.server == nil {
		r.server = httptest.NewServer(r)
		r.t.Cleanup(r.server.Close)
	}
	return r.server.URL
}

// Host returns HOST:PORT of URL, as --plain-http takes it.
func (r *Repository) Host() string { return strings.TrimPrefix(r.URL(), "http://") }

// Transport answers every request from this repository, whatever its host, without a socket.
func (r *Repository) Transport() http.RoundTripper { return inMemory{r} }

type inMemory struct{ h http.Handler }

func (m inMemory) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	w := httptest.NewRecorder()
	m.h.ServeHTTP(w, req)
	resp := w.Result()
	resp.Request = req
	return resp, nil
}

func (r *Repository) newKey(role string) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	r.check(err)
	if before, ok := r.keys[role]; ok {
		r.check(r.root.Signed.RevokeKey(r.id(before), role))
	}
	signer, err := signature.LoadSigner(private, crypto.Hash(0))
	r.check(err)
	r.check(r.root.Signed.AddKey(r.key(signer), role))
	r.keys[role] = signer
}

func (r *Repository) key(s signature.Signer) *metadata.Key {
	public, err := s.PublicKey()
	r.check(err)
	key, err := metadata.KeyFromPublicKey(public)
	r.check(err)
	return key
}

func (r *Repository) id(s signature.Signer) string {
	id, err := r.key(s).ID()
	r.check(err)
	return id
}

func (r *Repository) publishRoot(beside ...signature.Signer) {
	r.root.ClearSignatures()
	for _, s := range append([]signature.Signer{r.keys[metadata.ROOT]}, beside...) {
		_, err := r.root.Sign(s)
		r.check(err)
	}
	r.files[fmt.Sprintf("%d.root.json", r.root.Signed.Version)] = bytesOf(r, r.root)
}

func (r *Repository) setTarget(text []byte) {
	file, err := metadata.TargetFile().FromBytes(Target, text, "sha256")
	r.check(err)
	r.targets.Signed.Targets[Target] = file
	r.files[r.targetPath()] = append([]byte{}, text...)
}

func (r *Repository) targetPath() string {
	return fmt.Sprintf("targets/%s.%s", r.targets.Signed.Targets[Target].Hashes["sha256"], Target)
}

// touch publishes what a change below the snapshot leads to.
func (r *Repository) touch() {
	r.snapshot.Signed.Version++
	r.timestamp.Signed.Version++
	r.publish()
}

func (r *Repository) publish() {
	r.snapshot.Signed.Meta["targets.json"] = metadata.MetaFile(r.targets.Signed.Version)
	r.timestamp.Signed.Meta["snapshot.json"] = metadata.MetaFile(r.snapshot.Signed.Version)
	r.files[fmt.Sprintf("%d.targets.json", r.targets.Signed.Version)] = signed(r, metadata.TARGETS, r.targets)
	r.files[fmt.Sprintf("%d.snapshot.json", r.snapshot.Signed.Version)] = signed(r, metadata.SNAPSHOT, r.snapshot)
	r.files["timestamp.json"] = signed(r, metadata.TIMESTAMP, r.timestamp)
}

func signed[T metadata.Roles](r *Repository, role string, m *metadata.Metadata[T]) []byte {
	m.ClearSignatures()
	_, err := m.Sign(r.keys[role])
	r.check(err)
	return bytesOf(r, m)
}

func bytesOf[T metadata.Roles](r *Repository, m *metadata.Metadata[T]) []byte {
	text, err := m.ToBytes(false)
	r.check(err)
	return text
}

// check ends the test where the repository itself is broken.
func (r *Repository) check(err error) {
	if err != nil {
		r.t.Helper()
		r.t.Fatalf("TUF repository: %v", err)
	}
}
