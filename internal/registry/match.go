package registry

import (
	"errors"
	"path"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
)

// scope is where a credential may be sent: the rule by which the kubelet picks a pull secret for an image
// (Kubernetes documentation, "Interpretation of config.json"), but that a path ends at a slash here. The kubelet
// compares paths as text, by which a credential for ghcr.io/org would also be sent for ghcr.io/orgevil.
type scope struct {
	text string // HOST[:PORT][/PATH]
	host string // globs by DNS label, without port
	port string // compared exactly; empty only matches no port
	path string // whole segments, without slashes around; empty: every repository
}

// Docker Hub has two names in references and docker configs; the kubelet's is the first.
const (
	hubName  = "docker.io"
	hubAlias = "index.docker.io"
)

func newScope(host, port, repository string) (scope, error) {
	if host == hubAlias && port == "" {
		host = hubName
	}
	for _, label := range strings.Split(host, ".") {
		if _, err := path.Match(label, ""); err != nil {
			return scope{}, errors.New("not a valid glob in the host")
		}
	}
	s := scope{text: host, host: host, port: port, path: repository}
	if port != "" {
		s.text += ":" + port
	}
	if repository != "" {
		s.text += "/" + repository
	}
	return s, nil
}

// keyringName returns the registry, with port, and the repository as the kubelet names them.
func keyringName(repo name.Repository) (host, repository string) {
	host = repo.RegistryStr()
	if host == hubAlias {
		host = hubName
	}
	return host, repo.RepositoryStr()
}

// matches tells whether the credential is for this repository.
func (s scope) matches(registry, repository string) bool {
	host, port := splitPort(registry)
	if port != s.port {
		return false
	}
	if s.path != "" && repository != s.path && !strings.HasPrefix(repository, s.path+"/") {
		return false
	}
	want, have := strings.Split(s.host, "."), strings.Split(host, ".")
	if len(want) != len(have) {
		return false
	}
	for i, glob := range want {
		if ok, err := path.Match(glob, have[i]); err != nil || !ok {
			return false
		}
	}
	return true
}

// splitPort parts the name of a registry into host and port, without the brackets of an IPv6 address.
func splitPort(registry string) (host, port string) {
	host = registry
	if i := strings.LastIndexByte(registry, ':'); i >= 0 && !strings.HasSuffix(registry, "]") {
		host, port = registry[:i], registry[i+1:]
	}
	return strings.Trim(host, "[]"), port
}
