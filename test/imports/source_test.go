package imports

import (
	"bufio"
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// root is the repository, as seen from here.
const root = "../.."

// module is the path of our own module.
const module = "github.com/pratique-dev/pratique"

// source is one package as it is written, whatever platform or build tag its files are for.
type source struct {
	dir   string // below the root, with slashes; also its import path below the module's
	files []file // what is built
	tests []file // what is only tested: *_test.go
}

// file is one Go file.
type file struct {
	name string // below the root
	set  *token.FileSet
	*ast.File
}

// at says where in a file something is, as NAME:LINE.
func (f file) at(pos token.Pos) string {
	return f.name + ":" + strconv.Itoa(f.set.Position(pos).Line)
}

// imports returns the paths that a file imports, each with the place where it does.
func (f file) imports() map[string]string {
	out := map[string]string{}
	for _, spec := range f.Imports {
		if p, err := strconv.Unquote(spec.Path.Value); err == nil {
			out[p] = f.at(spec.Pos())
		}
	}
	return out
}

// name returns the name in the package clause.
func (s source) name() string {
	if len(s.files) == 0 {
		return ""
	}
	return s.files[0].Name.Name
}

// within tells whether the package is one of these directories or below one.
func (s source) within(dirs ...string) bool { return under(s.dir, dirs...) }

// under tells whether a slash-separated path is one of these or below one.
func under(p string, parents ...string) bool {
	return slices.ContainsFunc(parents, func(parent string) bool {
		return p == parent || strings.HasPrefix(p, parent+"/")
	})
}

// parse reads one file.
func parse(name string, text []byte) (file, error) {
	set := token.NewFileSet()
	f, err := parser.ParseFile(set, name, text, parser.ParseComments|parser.SkipObjectResolution)
	return file{name: name, set: set, File: f}, err
}

// repository returns every package of the module, read once.
func repository(t *testing.T) []source {
	t.Helper()
	all, err := read()
	if err != nil {
		t.Fatalf("reading the source: %v", err)
	}
	if len(all) == 0 {
		t.Fatal("no package was read, so no rule can be checked")
	}
	return all
}

// read reads the module. It walks the files itself instead of asking the go command, so that go test knows what was
// read: a cached "ok" is not shown after another package was edited. Modules inside the repository (hack/tools and
// such) are not part of it, nor is what the go command passes over.
var read = sync.OnceValues(func() ([]source, error) {
	packages := map[string]*source{}
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		below, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		below = filepath.ToSlash(below)
		if entry.IsDir() {
			if below != "." && passedOver(name, entry.Name()) {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(below, ".go") || strings.HasPrefix(entry.Name(), "_") || strings.HasPrefix(entry.Name(), ".") {
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		dir := path.Dir(below)
		p, ok := packages[dir]
		if !ok {
			p = &source{dir: dir}
			packages[dir] = p
		}
		f, err := parse(below, text)
		if err != nil {
			return err
		}
		if strings.HasSuffix(below, "_test.go") {
			p.tests = append(p.tests, f)
		} else {
			p.files = append(p.files, f)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var out []source
	for _, dir := range slices.Sorted(maps.Keys(packages)) {
		out = append(out, *packages[dir])
	}
	return out, nil
})

// passedOver tells the directories that hold no package of the module.
func passedOver(dir, name string) bool {
	if strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") || name == "testdata" || name == "bin" || name == "dist" {
		return true
	}
	_, err := os.Stat(filepath.Join(dir, "go.mod"))
	return err == nil
}

// required returns the modules that go.mod asks for, and whether each is marked as indirect.
func required(t *testing.T) map[string]bool {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	out, block := map[string]bool{}, ""
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		line, comment, _ := strings.Cut(lines.Text(), "//")
		words := strings.Fields(line)
		switch {
		case len(words) == 2 && words[1] == "(":
			block = words[0]
			continue
		case len(words) == 1 && words[0] == ")":
			block = ""
			continue
		case block == "" && len(words) == 3 && words[0] == "require":
			words = words[1:]
		case block != "require":
			continue
		}
		if len(words) == 2 {
			out[words[0]] = strings.TrimSpace(comment) == "indirect"
		}
	}
	if len(out) == 0 {
		t.Fatal("go.mod asks for no module, or can't be read")
	}
	return out
}
