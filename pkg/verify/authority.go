package verify

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"slices"
)

// MaxKeys bounds the keys of one authority: each may be tried on each candidate, within MaxChecks.
const MaxKeys = 64

// Authority is someone who may vouch for an image: so far, whoever holds one of a set of keys. The set of
// kinds is closed. The zero Authority vouches for nothing.
type Authority struct {
	name        string
	keys        []Key
	fingerprint Fingerprint
}

// NewKeyAuthority returns the authority of whoever holds the private half of one of the keys. A policy refers to
// it by name; the name is not part of what it is.
func NewKeyAuthority(name string, keys []Key) (Authority, error) {
	if name == "" {
		return Authority{}, errors.New("an authority needs a name")
	}
	if len(keys) == 0 {
		return Authority{}, errors.New("an authority without a key would vouch for nothing")
	}
	if len(keys) > MaxKeys {
		return Authority{}, errors.New("more than 64 keys in one authority")
	}
	prints := make([]Fingerprint, 0, len(keys))
	for _, k := range keys {
		if k.verifier == nil {
			return Authority{}, errors.New("an authority of a key that was not parsed")
		}
		prints = append(prints, k.fingerprint)
	}
	slices.SortFunc(prints, func(a, b Fingerprint) int { return bytes.Compare(a[:], b[:]) })
	parts := [][]byte{[]byte("key")}
	for _, p := range slices.Compact(prints) {
		parts = append(parts, p[:])
	}
	return Authority{name: name, keys: slices.Clone(keys), fingerprint: digestOf(parts...)}, nil
}

// Name is how the policy refers to the authority.
func (a Authority) Name() string { return a.name }

// Fingerprint identifies the resolved material: another key behind the same name is another authority.
func (a Authority) Fingerprint() Fingerprint { return a.fingerprint }

// Keys returns the authority's public keys.
func (a Authority) Keys() []Key { return slices.Clone(a.keys) }

// digestOf hashes parts with their lengths before them, so that no two lists of parts collide by their seams.
func digestOf(parts ...[]byte) Fingerprint {
	h := sha256.New()
	var n [8]byte
	for _, p := range parts {
		binary.BigEndian.PutUint64(n[:], uint64(len(p)))
		h.Write(n[:])
		h.Write(p)
	}
	return Fingerprint(h.Sum(nil))
}
