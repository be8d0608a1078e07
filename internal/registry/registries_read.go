package registry

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Bounds of the install's registries.
const (
	// MaxRegistries bounds the file, in bytes: the most that a ConfigMap holds.
	MaxRegistries = 1 << 20
	// maxRegistryEntries bounds its entries: each may keep connections, a login and authorities of its own, and installs
	// name a handful.
	maxRegistryEntries = 256
	// maxTokenHosts bounds the token services of one entry: a registry has one, and two while it moves.
	maxTokenHosts = 8
)

// readRegistries reads the file's YAML, strictly: a field that isn't known, or is there twice, or is of another type
// is an error, for what it was meant to allow or to forbid can't be told. An error names the entry and the field.
func readRegistries(data []byte) ([]*registryEntry, error) {
	if len(data) > MaxRegistries {
		return nil, fmt.Errorf("%d bytes are over the bound of %d", len(data), MaxRegistries)
	}
	var document yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	if err := decoder.Decode(&document); err == io.EOF {
		return nil, errors.New("empty: want a map with the field registries, whose list may be empty")
	} else if err != nil {
		return nil, fmt.Errorf("not YAML: %s", printable(strings.TrimPrefix(err.Error(), "yaml: ")))
	}
	if err := decoder.Decode(new(yaml.Node)); err != io.EOF {
		return nil, errors.New("more than one YAML document: want one")
	}
	if len(document.Content) != 1 {
		return nil, errors.New("want a map with the field registries")
	}
	var value *yaml.Node
	err := readMap(document.Content[0], map[string]reader{"registries": func(n *yaml.Node) error {
		value = n
		return nil
	}})
	switch {
	case err != nil:
		return nil, err
	case value == nil:
		return nil, errors.New("want the field registries")
	}
	return readEntries(value)
}

func readEntries(n *yaml.Node) ([]*registryEntry, error) {
	if n.Kind != yaml.SequenceNode {
		return nil, errors.New("registries: want a list of entries")
	}
	if len(n.Content) > maxRegistryEntries {
		return nil, fmt.Errorf("registries: %d entries are over the bound of %d", len(n.Content), maxRegistryEntries)
	}
	entries := make([]*registryEntry, 0, len(n.Content))
	for i, item := range n.Content {
		e := &registryEntry{at: i}
		if err := e.read(item); err != nil {
			return nil, fmt.Errorf("%s: %w", e.label(), err)
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// read reads one entry. The prefix is read first, for errors to name it.
func (e *registryEntry) read(n *yaml.Node) error {
	for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == "prefix" && n.Content[i+1].Kind == yaml.ScalarNode {
			e.name = n.Content[i+1].Value
		}
	}
	var bundle string
	err := readMap(n, map[string]reader{
		"prefix":      readLocation(&e.prefix),
		"auth":        e.readAuth,
		"mirror":      readLocation(&e.mirror),
		"papers":      e.readPapers,
		"plainHTTP":   readBool(&e.plain),
		"caBundle":    readText(&bundle),
		"dialPrivate": readBool(&e.private),
		"tokenHosts":  e.readTokenHosts,
	})
	switch {
	case err != nil:
		return err
	case e.prefix == (location{}):
		return errors.New("prefix: missing: want HOST[:PORT][/PATH]")
	case bundle != "":
		if e.ca, err = parseBundle([]byte(bundle)); err != nil {
			return fmt.Errorf("caBundle: %w", err)
		}
	}
	return e.check()
}

// readAuth reads which of the ways to get a credential it is.
func (e *registryEntry) readAuth(n *yaml.Node) error {
	var given []string
	cloud := func(kind authKind) reader {
		return func(n *yaml.Node) error {
			given = append(given, string(kind))
			e.auth = kind
			return readMap(n, nil)
		}
	}
	err := readMap(n, map[string]reader{
		"ecr": cloud(authECR), "gar": cloud(authGAR), "acr": cloud(authACR),
		"secretRef": func(n *yaml.Node) error {
			given = append(given, string(authSecret))
			e.auth = authSecret
			if err := readMap(n, map[string]reader{"name": readText(&e.secret)}); err != nil {
				return err
			}
			if e.secret == "" {
				return errors.New("name: missing: want that of a docker-config Secret")
			}
			return nil
		},
	})
	if err == nil && len(given) != 1 {
		slices.Sort(given)
		err = fmt.Errorf("%d ways are given (%s): want exactly one of secretRef, ecr, gar, acr", len(given), strings.Join(given, ", "))
	}
	return err
}

func (e *registryEntry) readPapers(n *yaml.Node) error {
	var text string
	if err := readText(&text)(n); err != nil {
		return err
	}
	e.papers = papersPlace(text)
	if e.papers != papersBoth && e.papers != papersMirror {
		return fmt.Errorf("%s: want %s, or %s for a mirror that is kept whole", quote(text), papersBoth, papersMirror)
	}
	return nil
}

func (e *registryEntry) readTokenHosts(n *yaml.Node) error {
	if n.Kind != yaml.SequenceNode {
		return errors.New("want a list of HOST[:PORT]")
	}
	if len(n.Content) > maxTokenHosts {
		return fmt.Errorf("%d hosts are over the bound of %d", len(n.Content), maxTokenHosts)
	}
	for i, item := range n.Content {
		var host string
		err := readText(&host)(item)
		if err == nil {
			err = checkHost(host)
		}
		if err != nil {
			return fmt.Errorf("[%d]: %w", i, err)
		}
		e.tokenHosts = append(e.tokenHosts, host)
	}
	return nil
}

// reader reads the value of one field.
type reader func(*yaml.Node) error

// readMap reads a map, each of whose fields is known and there once. An alias is none: nothing here needs one.
func readMap(n *yaml.Node, fields map[string]reader) error {
	if n.Kind != yaml.MappingNode {
		return errors.New("want a map of fields, such as {}")
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i].Value
		read, ok := fields[key]
		switch {
		case !ok && len(fields) == 0:
			return fmt.Errorf("%s: no such field: want {}", quote(key))
		case !ok:
			return fmt.Errorf("%s: no such field: want %s", quote(key), strings.Join(slices.Sorted(maps.Keys(fields)), ", "))
		case seen[key]:
			return fmt.Errorf("%s: there twice: want it once", key)
		}
		seen[key] = true
		if err := read(n.Content[i+1]); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
	}
	return nil
}

func readText(into *string) reader {
	return func(n *yaml.Node) error {
		if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!str" || n.Value == "" {
			return errors.New("want text that isn't empty, or leave the field out")
		}
		*into = n.Value
		return nil
	}
}

func readLocation(into *location) reader {
	return func(n *yaml.Node) error {
		var text string
		err := readText(&text)(n)
		if err == nil {
			*into, err = parseLocation(text)
		}
		return err
	}
}

// readBool reads true or false. That it was said at all is kept: what isn't said contradicts nothing.
func readBool(into **bool) reader {
	return func(n *yaml.Node) error {
		if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!bool" {
			return errors.New("want true or false")
		}
		value := strings.EqualFold(n.Value, "true")
		*into = &value
		return nil
	}
}
