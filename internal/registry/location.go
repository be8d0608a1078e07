package registry

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
)

// maxRepository bounds the name of a repository, in bytes: the bound of the references that are read here (ggcr, name).
const maxRepository = 255

// location is HOST[:PORT][/PATH]: the repositories of a registry, or those below a path of it. The zero location is
// nowhere.
type location struct {
	registry string // as name.Registry has it: with the port that is written, Docker Hub by its second name
	path     string // whole segments, without slashes around; empty: every repository
}

// component is one segment of a repository's name (OCI distribution specification 1.1, "Pulling manifests").
var component = regexp.MustCompile(`^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*$`)

// parseLocation reads a location in the one spelling that images' references have, so that what it covers can be told
// by comparing text.
func parseLocation(s string) (location, error) {
	host, path, below := strings.Cut(s, "/")
	switch {
	case strings.Contains(s, "://"):
		return location{}, fmt.Errorf("%s has a scheme: want HOST[:PORT][/PATH]", quote(s))
	case host != "localhost" && !strings.ContainsAny(host, ".:"):
		return location{}, fmt.Errorf("%s begins with no host: want HOST[:PORT][/PATH] as in a full reference, such as docker.io/library", quote(s))
	}
	if err := checkHost(host); err != nil {
		return location{}, err
	}
	registry, err := name.NewRegistry(host)
	if err != nil {
		return location{}, errors.New(printable(err.Error()))
	}
	l := location{registry: registry.RegistryStr(), path: path}
	if !below {
		return l, nil
	}
	for _, segment := range strings.Split(path, "/") {
		if !component.MatchString(segment) {
			return location{}, fmt.Errorf("%s in %s is no part of a repository's name: want whole segments, without globs, tags or a slash at the end",
				quote(segment), quote(s))
		}
	}
	if len(path) > maxRepository {
		return location{}, fmt.Errorf("a path of %d bytes is over the bound of %d", len(path), maxRepository)
	}
	return l, nil
}

// String returns the location as it is written in references.
func (l location) String() string {
	host := l.registry
	if host == hubAlias {
		host = hubName
	}
	if l.path == "" {
		return host
	}
	return host + "/" + l.path
}

// overlaps tells whether there may be a repository in both.
func (l location) overlaps(other location) bool {
	return l.registry == other.registry && (l.within(other) || other.within(l))
}

// within tells whether the path is the other's or below it.
func (l location) within(other location) bool {
	return other.path == "" || l.path == other.path || strings.HasPrefix(l.path, other.path+"/")
}

// standIn returns the repository that takes the place of one below from. False if no repository can have its name.
func (l location) standIn(from location, repo name.Repository) (name.Repository, bool) {
	path := repo.RepositoryStr()
	if from.path != "" {
		path = strings.TrimPrefix(strings.TrimPrefix(path, from.path), "/")
	}
	path = strings.Trim(l.path+"/"+path, "/")
	registry, err := name.NewRegistry(l.registry)
	if err != nil || path == "" || len(path) > maxRepository {
		return name.Repository{}, false
	}
	return registry.Repo(path), true
}
