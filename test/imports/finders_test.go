package imports

import (
	"fmt"
	"go/ast"
	"go/token"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
)

// A finder returns what in a package breaks a rule, each with its place; nothing if the rule is kept.
type finder func(source) []string

// imported finds imports of packages that hit.
func imported(hit func(importPath string) bool) finder {
	return func(s source) []string {
		var out []string
		for _, f := range s.files {
			at := f.imports()
			for _, p := range slices.Sorted(maps.Keys(at)) {
				if hit(p) {
					out = append(out, at[p]+" imports "+p)
				}
			}
		}
		return out
	}
}

// packages hits the packages at or below these paths.
func packages(paths ...string) func(string) bool {
	return func(p string) bool { return under(p, paths...) }
}

// ours hits our own packages at or below these directories.
func ours(dirs ...string) func(string) bool {
	return func(p string) bool {
		dir, ok := strings.CutPrefix(p, module+"/")
		return ok && under(dir, dirs...)
	}
}

// oursBut hits our own packages except those at or below these directories.
func oursBut(dirs ...string) func(string) bool {
	return func(p string) bool { return under(p, module) && !ours(dirs...)(p) }
}

// everywhereBut binds a finder to the packages that are not at or below these directories.
func everywhereBut(find finder, dirs ...string) finder {
	return func(s source) []string {
		if s.within(dirs...) {
			return nil
		}
		return find(s)
	}
}

// onlyIn binds a finder to the packages at or below these directories.
func onlyIn(find finder, dirs ...string) finder {
	return func(s source) []string {
		if !s.within(dirs...) {
			return nil
		}
		return find(s)
	}
}

// bed tells a package that exists for tests: below test/, or named for it as verifytest is.
func bed(dir string) bool { return under(dir, "test") || strings.HasSuffix(dir, "test") }

// inProduct binds a finder to the packages that are not for tests.
func inProduct(find finder) finder {
	return func(s source) []string {
		if bed(s.dir) {
			return nil
		}
		return find(s)
	}
}

// notInMain binds a finder to the packages that are no programs.
func notInMain(find finder) finder {
	return func(s source) []string {
		if s.name() == "main" {
			return nil
		}
		return find(s)
	}
}

// both finds what either finds.
func both(a, b finder) finder {
	return func(s source) []string { return append(a(s), b(s)...) }
}

// called finds uses of names of one package, whatever name the file imports it under.
func called(importPath string, names ...string) finder {
	return used(importPath, func(name string) bool { return slices.Contains(names, name) })
}

// calledBut finds uses of any other names of one package than these.
func calledBut(importPath string, names ...string) finder {
	return used(importPath, func(name string) bool { return !slices.Contains(names, name) })
}

func used(importPath string, hit func(name string) bool) finder {
	return func(s source) []string {
		var out []string
		for _, f := range s.files {
			local := localName(f, importPath)
			if local == "" {
				continue
			}
			ast.Inspect(f.File, func(n ast.Node) bool {
				sel, ok := n.(*ast.SelectorExpr)
				if !ok {
					return true
				}
				if x, ok := sel.X.(*ast.Ident); ok && x.Name == local && hit(sel.Sel.Name) {
					out = append(out, fmt.Sprintf("%s uses %s.%s", f.at(n.Pos()), importPath, sel.Sel.Name))
				}
				return true
			})
		}
		return out
	}
}

// localName returns the name under which a file imports a package; empty if it doesn't.
func localName(f file, importPath string) string {
	for _, spec := range f.Imports {
		if p, err := strconv.Unquote(spec.Path.Value); err != nil || p != importPath {
			continue
		}
		if spec.Name != nil {
			return spec.Name.Name
		}
		return path.Base(importPath)
	}
	return ""
}

// dotted finds imports whose names become the file's own: they would hide from the search by name.
func dotted(s source) []string {
	var out []string
	for _, f := range s.files {
		for _, spec := range f.Imports {
			if spec.Name != nil && spec.Name.Name == "." {
				out = append(out, f.at(spec.Pos())+" imports "+spec.Path.Value+" with a dot")
			}
		}
	}
	return out
}

// initialisers finds init functions.
func initialisers(s source) []string {
	var out []string
	for _, f := range s.files {
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				out = append(out, f.at(fn.Pos())+" declares init")
			}
		}
	}
	return out
}

// variables finds package-level variables, but for those that hold what never changes.
func variables(s source) []string {
	var out []string
	for _, f := range s.files {
		if ast.IsGenerated(f.File) {
			continue
		}
		for _, d := range f.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.VAR || embeds(g.Doc) {
				continue
			}
			for _, spec := range g.Specs {
				v, ok := spec.(*ast.ValueSpec)
				if !ok || constant(v) || embeds(v.Doc) || s.name() == "main" && v.Names[0].Name == "version" {
					continue
				}
				out = append(out, fmt.Sprintf("%s has the variable %s", f.at(v.Pos()), v.Names[0].Name))
			}
		}
	}
	return out
}

// embeds tells whether the go command fills a variable at build time.
func embeds(doc *ast.CommentGroup) bool {
	return doc != nil && slices.ContainsFunc(doc.List, func(c *ast.Comment) bool {
		return strings.HasPrefix(c.Text, "//go:embed ")
	})
}

// constant tells whether variables hold values that nobody can change: interface assertions (named _), errors, compiled
// patterns, parsed addresses.
func constant(v *ast.ValueSpec) bool {
	if !slices.ContainsFunc(v.Names, func(n *ast.Ident) bool { return n.Name != "_" }) {
		return true
	}
	if len(v.Values) != len(v.Names) {
		return false
	}
	for _, value := range v.Values {
		call, ok := value.(*ast.CallExpr)
		if !ok {
			return false
		}
		fn, ok := call.Fun.(*ast.SelectorExpr)
		if !ok {
			return false
		}
		from, ok := fn.X.(*ast.Ident)
		if !ok {
			return false
		}
		switch name := from.Name + "." + fn.Sel.Name; {
		case name == "errors.New", name == "fmt.Errorf", name == "regexp.MustCompile", name == "strings.NewReplacer",
			strings.HasPrefix(name, "netip.MustParse"), strings.HasPrefix(name, "netip.AddrFrom"):
		default:
			return false
		}
	}
	return true
}

// vague finds package names that say nothing about what is inside.
func vague(s source) []string {
	for _, name := range []string{path.Base(s.dir), s.name()} {
		switch strings.TrimSuffix(name, "s") {
		case "util", "common", "helper", "type", "constant", "misc", "shared", "base", "core", "lib", "tool":
			if len(s.files) > 0 {
				return []string{fmt.Sprintf("%s is a package named %q", s.dir, name)}
			}
		}
	}
	return nil
}

// unexplained finds packages without a package comment.
func unexplained(s source) []string {
	if len(s.files) == 0 {
		return nil
	}
	for _, f := range s.files {
		text := f.Doc.Text()
		if strings.HasPrefix(text, "Package "+s.name()+" ") || s.name() == "main" && text != "" {
			return nil
		}
	}
	return []string{s.dir + " has no comment above its package clause"}
}

// undocumented finds exported names without a comment.
func undocumented(s source) []string {
	if s.name() == "main" {
		return nil // nobody can import it
	}
	var out []string
	for _, f := range s.files {
		if ast.IsGenerated(f.File) {
			continue
		}
		for _, d := range f.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Name.IsExported() && exportedReceiver(d) && d.Doc.Text() == "" {
					out = append(out, f.at(d.Pos())+" "+d.Name.Name)
				}
			case *ast.GenDecl:
				out = append(out, undocumentedSpecs(f, d)...)
			}
		}
	}
	return out
}

// undocumentedSpecs looks at types, constants and variables. One comment may stand over a group of constants or
// variables; a type has its own.
func undocumentedSpecs(f file, d *ast.GenDecl) []string {
	var out []string
	miss := func(name *ast.Ident, docs ...*ast.CommentGroup) {
		documented := slices.ContainsFunc(docs, func(g *ast.CommentGroup) bool { return g.Text() != "" })
		if name.IsExported() && !documented {
			out = append(out, f.at(name.Pos())+" "+name.Name)
		}
	}
	for _, spec := range d.Specs {
		switch spec := spec.(type) {
		case *ast.TypeSpec:
			if d.Lparen.IsValid() {
				miss(spec.Name, spec.Doc)
			} else {
				miss(spec.Name, d.Doc)
			}
		case *ast.ValueSpec:
			for _, name := range spec.Names {
				miss(name, d.Doc, spec.Doc, spec.Comment)
			}
		}
	}
	return out
}

// exportedReceiver tells whether a function is one that other packages see: no method, or one of an exported type.
func exportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil || len(d.Recv.List) == 0 {
		return true
	}
	t := d.Recv.List[0].Type
	for {
		switch x := t.(type) {
		case *ast.StarExpr:
			t = x.X
		case *ast.IndexExpr:
			t = x.X
		case *ast.IndexListExpr:
			t = x.X
		case *ast.Ident:
			return x.IsExported()
		default:
			return true
		}
	}
}
