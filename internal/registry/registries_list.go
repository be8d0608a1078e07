package registry

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
)

// authKind is how an entry's credential is got: the field of auth that says so.
type authKind string

const (
	authSecret authKind = "secretRef"
	authECR    authKind = "ecr"
	authGAR    authKind = "gar"
	authACR    authKind = "acr"
)

// papersPlace is where the papers are sought of what has a mirror.
type papersPlace string

const (
	papersBoth   papersPlace = "Both"   // or nothing said: at the mirror and at the origin
	papersMirror papersPlace = "Mirror" // at the mirror alone, which is kept whole
)

// The clouds' registries, by their whole names: a cloud's credential is got for no other host, whatever it looks like
// (CVE-2025-27403). Account, region and name are single labels. Package cloud, which asks for it, says the same once
// more; it isn't imported here for what it brings along.
var (
	ecrHost = regexp.MustCompile(`^[0-9]{12}\.dkr\.ecr(?:-fips)?\.([a-z]{2,4}(?:-[a-z]+){1,2}-[0-9]{1,2})\.amazonaws\.com(\.cn)?$`)
	garHost = regexp.MustCompile(`^([a-z]+(-[a-z]+[0-9]{1,2})?-docker\.pkg\.dev|((us|eu|asia)\.)?gcr\.io)$`)
	acrHost = regexp.MustCompile(`^[a-z0-9]{5,50}(-[a-z0-9]{1,20})?\.azurecr\.(io|cn|us)$`)
)

// isECR tells whether a host is a registry of Amazon ECR. Regions of China have a domain of their own.
func isECR(host string) bool {
	m := ecrHost.FindStringSubmatch(host)
	return m != nil && strings.HasPrefix(m[1], "cn-") == (m[2] != "")
}

// registryEntry is one entry of the install's registries.
type registryEntry struct {
	at   int    // its index
	name string // the prefix as it is written

	prefix location
	mirror location // zero: none
	papers papersPlace
	auth   authKind // empty: none
	secret string   // with authSecret: its name
	// What is said of the host; nil: nothing.
	plain, private *bool
	ca             *bundle
	tokenHosts     []string // HOST[:PORT]

	scope   scope  // of prefix
	grant   grant  // zero: none
	address string // host:port that its host is dialled at
}

// label names the entry in errors.
func (e *registryEntry) label() string {
	if e.name == "" {
		return fmt.Sprintf("registries[%d]", e.at)
	}
	return fmt.Sprintf("registries[%d] (%s)", e.at, strings.Trim(quote(e.name), `"`))
}

// check judges the entry by itself, and fills in what follows from it.
func (e *registryEntry) check() error {
	hosts := map[authKind]struct {
		is   func(host string) bool
		want string
	}{
		authECR: {isECR, "ACCOUNT.dkr.ecr.REGION.amazonaws.com, in China with .cn after it"},
		authGAR: {garHost.MatchString, "REGION-docker.pkg.dev, gcr.io, us.gcr.io, eu.gcr.io or asia.gcr.io"},
		authACR: {acrHost.MatchString, "NAME.azurecr.io, NAME.azurecr.cn or NAME.azurecr.us"},
	}
	if h, ok := hosts[e.auth]; ok {
		if !h.is(e.prefix.registry) {
			return fmt.Errorf("auth: %s: %s isn't exactly such a registry: want %s; for another give a Secret (auth: {secretRef: ...})",
				e.auth, quote(e.prefix.registry), h.want)
		}
		if e.plain != nil && *e.plain {
			return fmt.Errorf("plainHTTP: not with auth.%s, whose registries are asked by https", e.auth)
		}
		e.plain = new(bool) // so that no other entry says otherwise of the host
	}
	if e.papers != "" && e.mirror == (location{}) {
		return errors.New("papers: it says where the papers are of what has a mirror, and there is no mirror: give one, or leave the field out")
	}
	if e.plain != nil && *e.plain && e.ca != nil {
		return errors.New("caBundle: nothing is verified by it with plainHTTP: take one of them away")
	}
	host, port := splitPort(e.prefix.registry)
	var err error
	if e.scope, err = newScope(host, port, e.prefix.path); err != nil {
		return fmt.Errorf("prefix: %w", err)
	}
	if e.auth != "" {
		e.grant = grant{kind: e.auth, prefix: e.prefix.String(), registry: e.prefix.registry, secret: e.secret}
	}
	return nil
}

// registryList is the install's registries as they are at one moment: checked, and never changed. The nil registryList has none.
type registryList struct {
	entries map[location]*registryEntry
	hosts   map[string]hostRules // by the address that is dialled, host:port
}

// hostRules are what is said of one host and port.
type hostRules struct {
	plain   bool    // spoken to by plain http
	private bool    // let through by the dial guard
	ca      *bundle // nil: the authorities of all others
}

// parseRegistries reads and checks the file.
func parseRegistries(data []byte) (*registryList, error) {
	entries, err := readRegistries(data)
	if err != nil {
		return nil, err
	}
	l := &registryList{entries: map[location]*registryEntry{}, hosts: map[string]hostRules{}}
	l.settle(entries)
	for i, e := range entries {
		if other, twice := l.entries[e.prefix]; twice {
			return nil, fmt.Errorf("%s: prefix: registries[%d] has the same: want one entry for it", e.label(), other.at)
		}
		l.entries[e.prefix] = e
		for _, other := range entries[:i] {
			if err := e.contradicts(other); err != nil {
				return nil, fmt.Errorf("%s: %w", e.label(), err)
			}
		}
		if err := e.checkMirror(entries); err != nil {
			return nil, fmt.Errorf("%s: mirror: %w", e.label(), err)
		}
	}
	return l, nil
}

// checkMirror refuses a mirror that has a mirror: it would be asked in the place of what stands in its own.
func (e *registryEntry) checkMirror(entries []*registryEntry) error {
	for _, other := range entries {
		switch {
		case e.mirror == (location{}) || other.mirror == (location{}) || !e.mirror.overlaps(other.prefix):
		case e == other:
			return errors.New("it is the prefix itself, or within it, or around it: want another place")
		default:
			return fmt.Errorf("registries[%d] has a mirror for %s, which it is in: want a place without one", other.at, other.prefix)
		}
	}
	return nil
}

// contradicts tells what two entries say differently of one host.
func (e *registryEntry) contradicts(other *registryEntry) error {
	if e.prefix.registry != other.prefix.registry && e.address != other.address {
		return nil
	}
	differ := func(a, b *bool) bool { return a != nil && b != nil && *a != *b }
	host := e.prefix.registry
	switch {
	case differ(e.plain, other.plain):
		return fmt.Errorf("plainHTTP: registries[%d] says otherwise of %s: a host has one way to be spoken to", other.at, host)
	case differ(e.private, other.private):
		return fmt.Errorf("dialPrivate: registries[%d] says otherwise of %s: say it once", other.at, host)
	case e.ca != nil && other.ca != nil && e.ca.id != other.ca.id:
		return fmt.Errorf("caBundle: registries[%d] has another for %s: put the certificates of both into one", other.at, host)
	case e.ca != nil && other.plain != nil && *other.plain:
		return fmt.Errorf("caBundle: registries[%d] says plainHTTP of %s, by which nothing is verified: take one of them away", other.at, host)
	case e.plain != nil && *e.plain && other.ca != nil:
		return fmt.Errorf("plainHTTP: registries[%d] has a caBundle for %s, by which it is verified: take one of them away", other.at, host)
	}
	return nil
}

// settle brings together what the entries say of each host. A host is what is dialled: registry.example.com and
// registry.example.com:443 are one.
func (l *registryList) settle(entries []*registryEntry) {
	plain := map[string]bool{}
	for _, e := range entries {
		plain[e.prefix.registry] = plain[e.prefix.registry] || e.plain != nil && *e.plain
	}
	for _, e := range entries {
		scheme := "https"
		if plain[e.prefix.registry] {
			scheme = "http"
		}
		e.address = dialAddress(scheme, e.prefix.registry)
		rules := l.hosts[e.address]
		rules.plain = rules.plain || scheme == "http"
		rules.private = rules.private || e.private != nil && *e.private
		if e.ca != nil {
			rules.ca = e.ca
		}
		l.hosts[e.address] = rules
	}
}

// host returns what is said of the host at an address, host:port.
func (l *registryList) host(address string) hostRules {
	if l == nil {
		return hostRules{}
	}
	return l.hosts[strings.ToLower(address)]
}

// find returns the entry that covers a repository, the one of the longest prefix; nil if none does. It counts whole:
// nothing is added to it from shorter ones.
func (l *registryList) find(repo name.Repository) *registryEntry {
	if l == nil {
		return nil
	}
	at := location{repo.RegistryStr(), repo.RepositoryStr()}
	for {
		if e, ok := l.entries[at]; ok || at.path == "" {
			return e
		}
		at.path = at.path[:max(0, strings.LastIndexByte(at.path, '/'))]
	}
}

// credentials returns what a repository is asked with: what of a Pod's own is for it, and after them the install's.
func (l *registryList) credentials(own Credentials, repo name.Repository) Credentials {
	mine := own.For(repo)
	if e := l.find(repo); e != nil && e.grant != (grant{}) {
		return Credentials{entries: append(slices.Clip(mine.entries), entry{e.scope, secret{grant: e.grant}})}
	}
	return mine
}

// tokenHost tells whether a host may be sent the credentials for a repository as its token service.
func (l *registryList) tokenHost(repo name.Repository, scheme, host string) bool {
	e := l.find(repo)
	return e != nil && slices.ContainsFunc(e.tokenHosts, func(named string) bool {
		return strings.EqualFold(dialAddress(scheme, named), dialAddress(scheme, host))
	})
}

// names tells whether the list names a host, in whatever place.
func (l *registryList) names(scheme, host string) bool {
	if l == nil {
		return false
	}
	address := strings.ToLower(dialAddress(scheme, host))
	is := func(named string) bool { return named != "" && dialAddress(scheme, named) == address }
	for _, e := range l.entries {
		if is(e.prefix.registry) || is(e.mirror.registry) || slices.ContainsFunc(e.tokenHosts, is) {
			return true
		}
	}
	return false
}
