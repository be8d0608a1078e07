package registry

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"

	"github.com/pratique-dev/pratique/pkg/verify"
)

// MaxDockerConfig bounds one docker config, in bytes: four of the largest secrets that could be sent, or some hundred of
// usual size. What a Kubernetes Secret may hold, 1 MiB, is more than anything is sent of, and is held while it is in use.
const MaxDockerConfig = 64 << 10

// maxEntries bounds the registries named in one docker config: each is matched against each image, and real ones
// name a handful.
const maxEntries = 1024

// Credentials are what registries are asked with: the content of pull secrets. They are opaque, and whatever prints
// them prints that they are there and not what they are. The zero Credentials are anonymous.
type Credentials struct {
	entries []entry // most specific first, as the kubelet tries them
}

// entry is one credential and what it is for.
type entry struct {
	scope  scope
	secret secret
}

// secret is one credential: what is to be sent, and nothing about where.
type secret struct {
	username, password string
	identityToken      string // OAuth2 refresh token
	registryToken      string // bearer token, sent as it is
	// grant stands for what the install gives, which is got when it is needed; with it the others are empty.
	grant grant
}

// ParseDockerConfig reads the content of a kubernetes.io/dockerconfigjson Secret ({"auths": {...}}) or of the legacy
// kubernetes.io/dockercfg form (the map alone). An entry is auth (base64 of user:password), username and password,
// identitytoken or registrytoken; an entry with none of them is left out, as one that a credential helper would fill.
// No error repeats anything of the content but the name of an entry.
func ParseDockerConfig(data []byte) (Credentials, error) {
	if len(data) > MaxDockerConfig {
		return Credentials{}, fmt.Errorf("docker config of %d bytes is over the bound of %d", len(data), MaxDockerConfig)
	}
	raw, err := dockerAuths(data)
	if err != nil {
		return Credentials{}, err
	}
	if len(raw) > maxEntries {
		return Credentials{}, fmt.Errorf("docker config with %d registries is over the bound of %d", len(raw), maxEntries)
	}
	var entries []entry
	for location, value := range raw {
		s, err := parseSecret(value)
		if err != nil {
			return Credentials{}, fmt.Errorf("docker config, entry %s: %w", quote(location), err)
		}
		if s == (secret{}) {
			continue
		}
		scope, err := parseScope(location)
		if err != nil {
			continue // the kubelet ignores it too: a credential for nowhere is sent nowhere
		}
		entries = append(entries, entry{scope, s})
	}
	// A map has no order: make one, so that the same config is always the same credentials.
	slices.SortFunc(entries, func(a, b entry) int { return bytes.Compare(a.encode(), b.encode()) })
	return ordered(entries), nil
}

// dockerAuths finds the map of registries in either form.
func dockerAuths(data []byte) (map[string]json.RawMessage, error) {
	var top map[string]json.RawMessage
	if err := json.Unmarshal(data, &top); err != nil {
		return nil, errors.New("docker config is not a JSON object")
	}
	if auths, ok := top["auths"]; ok {
		var inner map[string]json.RawMessage
		if err := json.Unmarshal(auths, &inner); err != nil {
			return nil, errors.New("docker config: auths is not a JSON object")
		}
		return inner, nil
	}
	// Without auths it is the legacy form, or a config of helpers alone, whose settings are no entries.
	for _, setting := range []string{"HttpHeaders", "credHelpers", "credsStore", "currentContext", "plugins", "proxies", "psFormat", "detachKeys"} {
		delete(top, setting)
	}
	return top, nil
}

func parseSecret(raw json.RawMessage) (secret, error) {
	var in struct {
		Auth          string `json:"auth"`
		Username      string `json:"username"`
		Password      string `json:"password"`
		IdentityToken string `json:"identitytoken"`
		RegistryToken string `json:"registrytoken"`
	}
	if err := json.Unmarshal(raw, &in); err != nil {
		return secret{}, errors.New("not an object of strings")
	}
	s := secret{username: in.Username, password: in.Password, identityToken: in.IdentityToken, registryToken: in.RegistryToken}
	if in.Auth != "" {
		// Padded or not: docker writes the one, other tools the other.
		plain, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(strings.TrimSpace(in.Auth), "="))
		user, password, ok := strings.Cut(string(plain), ":")
		if err != nil || !ok {
			return secret{}, errors.New("auth is not base64 of user:password")
		}
		s.username, s.password = user, strings.TrimRight(password, "\x00")
	}
	if n := len(s.username) + len(s.password) + len(s.identityToken) + len(s.registryToken); n > maxAuthorization {
		return secret{}, fmt.Errorf("%d bytes to log in with are over the bound of %d: no registry takes them", n, maxAuthorization)
	}
	return s, nil
}

// Merge puts several sets of credentials together, such as those of a Pod's pull secrets in their order. Where two
// are for the same place, both are tried, in this order.
func Merge(sets ...Credentials) Credentials {
	var all []entry
	for _, c := range sets {
		all = append(all, c.entries...)
	}
	return ordered(all)
}

// ordered sorts entries as the kubelet does, most specific first by descending text, and drops repetitions. The order
// among equals stays.
func ordered(entries []entry) Credentials {
	slices.SortStableFunc(entries, func(a, b entry) int { return strings.Compare(b.scope.text, a.scope.text) })
	seen := make(map[entry]bool, len(entries))
	entries = slices.DeleteFunc(entries, func(e entry) bool {
		was := seen[e]
		seen[e] = true
		return was
	})
	if len(entries) == 0 {
		return Credentials{}
	}
	return Credentials{entries: entries}
}

// For returns the part of the credentials that this repository is asked with. Two Pods whose other pull secrets differ
// are the same reader of it, and an image that no pull secret is for is read as anyone would.
func (c Credentials) For(repo name.Repository) Credentials {
	host, path := keyringName(repo)
	var mine []entry
	for _, e := range c.entries {
		if e.scope.matches(host, path) {
			mine = append(mine, e)
		}
	}
	return Credentials{entries: mine}
}

// ID identifies the credentials by a hash with the parts' lengths before them; the zero Credentials have the zero ID.
// It is made of secrets: compare it, and don't print it.
func (c Credentials) ID() verify.Access {
	if len(c.entries) == 0 {
		return verify.Access{}
	}
	h := sha256.New()
	for _, e := range c.entries {
		h.Write(e.encode())
	}
	return verify.Access(h.Sum(nil))
}

// encode writes an entry so that two different ones differ.
func (e entry) encode() []byte {
	s, g := e.secret, e.secret.grant
	var out []byte
	for _, part := range []string{
		e.scope.text, s.username, s.password, s.identityToken, s.registryToken, string(g.kind), g.prefix, g.registry, g.secret,
	} {
		out = binary.BigEndian.AppendUint64(out, uint64(len(part)))
		out = append(out, part...)
	}
	return out
}

// anonymous tells whether there is nothing to send.
func (s secret) anonymous() bool { return s == (secret{}) }

// id identifies what is sent; the zero secret has the zero id.
func (s secret) id() [sha256.Size]byte {
	if s.anonymous() {
		return [sha256.Size]byte{}
	}
	return sha256.Sum256(entry{secret: s}.encode())
}

// authenticator is the secret in the form that ggcr's token exchange takes.
func (s secret) authenticator() authn.Authenticator {
	if s.anonymous() {
		return authn.Anonymous
	}
	return authn.FromConfig(authn.AuthConfig{Username: s.username, Password: s.password, IdentityToken: s.identityToken})
}

// redacted is what is printed in the place of credentials.
const redacted = "[credentials]"

func (c Credentials) redact() string {
	if len(c.entries) == 0 {
		return "[anonymous]"
	}
	return redacted
}

// String implements fmt.Stringer; it shows nothing.
func (c Credentials) String() string { return c.redact() }

// GoString implements fmt.GoStringer; it shows nothing.
func (c Credentials) GoString() string { return c.redact() }

// Format implements fmt.Formatter, so that no verb shows anything.
func (c Credentials) Format(s fmt.State, _ rune) { _, _ = s.Write([]byte(c.redact())) }

// MarshalJSON implements json.Marshaler; it shows nothing.
func (c Credentials) MarshalJSON() ([]byte, error) { return json.Marshal(c.redact()) }

// MarshalText implements encoding.TextMarshaler; it shows nothing.
func (c Credentials) MarshalText() ([]byte, error) { return []byte(c.redact()), nil }

// LogValue implements slog.LogValuer; it shows nothing.
func (c Credentials) LogValue() slog.Value { return slog.StringValue(c.redact()) }

// String implements fmt.Stringer; it shows nothing.
func (s secret) String() string { return redacted }

// GoString implements fmt.GoStringer; it shows nothing.
func (s secret) GoString() string { return redacted }

// Format implements fmt.Formatter, so that no verb shows anything.
func (s secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// parseScope reads the name of an entry: HOST[:PORT][/PATH], with or without a scheme, the host's labels globs. The API
// versions /v1/ and /v2/ are no path, as docker writes them after Docker Hub's name.
func parseScope(location string) (scope, error) {
	value := location
	if !strings.HasPrefix(value, "https://") && !strings.HasPrefix(value, "http://") {
		value = "https://" + value
	}
	u, err := url.Parse(value)
	if err != nil || u.Host == "" || u.User != nil {
		return scope{}, errors.New("not a registry")
	}
	path := u.Path
	if strings.HasPrefix(path, "/v1/") || strings.HasPrefix(path, "/v2/") {
		path = path[len("/v1"):]
	}
	return newScope(u.Hostname(), u.Port(), strings.Trim(path, "/"))
}
