package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Budgets of HOUSE.md, in lines and methods.
const (
	longestFile     = 600
	longestFunction = 80
	mostMethods     = 4
	medianFile      = 150
	medianFunction  = 12
)

// pure rooms know no clock: what they decide must be the same on every replica.
var pure = []string{"sched", "consensus/ledger"}

// source is one parsed file.
type source struct {
	room string
	path string // relative to the root
	test bool
	// bubble says that the package's tests run in testing/synctest's virtual time,
	// where what they call may sleep.
	bubble bool
	fset   *token.FileSet
	file   *ast.File
}

func parse(room, path, text string) (source, error) {
	s := source{room: room, path: path, test: strings.HasSuffix(path, "_test.go"), fset: token.NewFileSet()}
	var src any
	if text != "" {
		src = text
	}
	var err error
	s.file, err = parser.ParseFile(s.fset, path, src, parser.ParseComments|parser.SkipObjectResolution)
	return s, err
}

func (s source) lines(n ast.Node) int {
	return s.fset.Position(n.End()).Line - s.fset.Position(n.Pos()).Line + 1
}

func (s source) length() int { return s.fset.File(s.file.FileStart).LineCount() }

func (s source) at(n ast.Node, format string, args ...any) string {
	return fmt.Sprintf("%s:%d: %s", s.path, s.fset.Position(n.Pos()).Line, fmt.Sprintf(format, args...))
}

// overdrafts tells where one file breaks a budget or a rule that shows in its text.
func overdrafts(s source) []string {
	var found []string
	if n := s.length(); n > longestFile {
		found = append(found, s.at(s.file, "the file has %d lines, more than %d", n, longestFile))
	}
	for _, d := range s.file.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			found = append(found, s.function(d)...)
		case *ast.GenDecl:
			found = append(found, s.declaration(d)...)
		}
	}
	ast.Inspect(s.file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.InterfaceType:
			if m := methods(n); m > mostMethods && !s.test {
				found = append(found, s.at(n, "the interface has %d methods, more than %d", m, mostMethods))
			}
		case *ast.SelectorExpr:
			found = append(found, s.clock(n)...)
		}
		return true
	})
	return found
}

func (s source) function(d *ast.FuncDecl) []string {
	var found []string
	if n := s.lines(d); n > longestFunction {
		found = append(found, s.at(d, "%s has %d lines, more than %d", d.Name.Name, n, longestFunction))
	}
	if d.Recv == nil && d.Name.Name == "init" {
		found = append(found, s.at(d, "init runs unseen: pass what it sets up"))
	}
	if !s.test && d.Doc == nil && d.Name.IsExported() && exportedReceiver(d) {
		found = append(found, s.at(d, "%s is exported and not documented", d.Name.Name))
	}
	return found
}

func (s source) declaration(d *ast.GenDecl) []string {
	var found []string
	for _, spec := range d.Specs {
		switch spec := spec.(type) {
		case *ast.TypeSpec:
			if !s.test && spec.Name.IsExported() && d.Doc == nil && spec.Doc == nil {
				found = append(found, s.at(spec, "%s is exported and not documented", spec.Name.Name))
			}
		case *ast.ValueSpec:
			if d.Tok == token.VAR && !s.test && mutable(d, spec) {
				found = append(found, s.at(spec, "%s is a package variable that changes: give it an owner", spec.Names[0].Name))
			}
		}
	}
	return found
}

// mutable knows variables that can only be there to be changed: without a value
// (unless embed gives it one), or made empty.
func mutable(d *ast.GenDecl, v *ast.ValueSpec) bool {
	if len(v.Values) == 0 {
		for _, doc := range []*ast.CommentGroup{d.Doc, v.Doc} {
			if doc != nil && slices.ContainsFunc(doc.List, func(c *ast.Comment) bool { return strings.HasPrefix(c.Text, "//go:embed") }) {
				return false
			}
		}
		return true
	}
	return slices.ContainsFunc(v.Values, func(e ast.Expr) bool {
		call, ok := e.(*ast.CallExpr)
		if !ok {
			return false
		}
		name, ok := call.Fun.(*ast.Ident)
		return ok && (name.Name == "make" || name.Name == "new")
	})
}

// clock forbids reading the time in pure rooms and sleeping in tests, except in the
// virtual time of testing/synctest.
func (s source) clock(n *ast.SelectorExpr) []string {
	if id, ok := n.X.(*ast.Ident); !ok || id.Name != "time" {
		return nil
	}
	switch {
	case n.Sel.Name == "Sleep" && s.test && !s.bubble:
		return []string{s.at(n, "time.Sleep on a real clock: wait for the event")}
	case slices.Contains(pure, s.room) && !s.test && slices.Contains([]string{"Now", "Since", "Until", "Sleep", "After", "NewTimer", "NewTicker", "Tick", "AfterFunc"}, n.Sel.Name):
		return []string{s.at(n, "time.%s: replicas would differ; commands carry the leader's time", n.Sel.Name)}
	}
	return nil
}

func methods(i *ast.InterfaceType) int {
	n := 0
	for _, f := range i.Methods.List {
		n += len(f.Names)
	}
	return n
}

// exportedReceiver: methods of unexported types are seen by nobody outside.
func exportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	t := d.Recv.List[0].Type
	if p, ok := t.(*ast.StarExpr); ok {
		t = p.X
	}
	if g, ok := t.(*ast.IndexExpr); ok {
		t = g.X
	}
	id, ok := t.(*ast.Ident)
	return !ok || id.IsExported()
}

func sources(t *testing.T) []source {
	t.Helper()
	var all []source
	for _, u := range units(t) {
		for _, name := range slices.Concat(u.GoFiles, u.CgoFiles, u.TestGoFiles, u.XTestGoFiles) {
			s, err := parse(u.room(), filepath.Join(u.Dir, name), "")
			if err != nil {
				t.Fatal(err)
			}
			s.path = filepath.Join(u.room(), name)
			s.bubble = slices.Contains(slices.Concat(u.TestImports, u.XTestImports), "testing/synctest")
			all = append(all, s)
		}
	}
	return all
}

func TestHouseBudgetsAreKept(t *testing.T) {
	var files, functions []int
	for _, s := range sources(t) {
		for _, o := range overdrafts(s) {
			t.Error(o)
		}
		if s.test {
			continue
		}
		files = append(files, s.length())
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok {
				functions = append(functions, s.lines(f))
			}
		}
	}
	if n := median(files); n > medianFile {
		t.Errorf("the median file has %d lines, more than %d", n, medianFile)
	}
	if n := median(functions); n > medianFunction {
		t.Errorf("the median function has %d lines, more than %d", n, medianFunction)
	}
}

func median(all []int) int {
	slices.Sort(all)
	return all[len(all)/2]
}

// Each budget notices what goes beyond it, and lets what keeps it pass.
func TestHouseBudgetsCanBeOverdrawn(t *testing.T) {
	long := func(n int) string { return strings.Repeat("\t_ = 0\n", n) }
	for name, c := range map[string]struct {
		room, path, text string
		want             int
	}{
		"a plain file":              {"node", "a.go", "package a\n\n// F does.\nfunc F() {}\n", 0},
		"a long file":               {"node", "a.go", "package a\n" + strings.Repeat("\n", longestFile), 1},
		"a long function":           {"node", "a.go", "package a\nfunc f() {\n" + long(longestFunction-1) + "}\n", 1},
		"a function just too short": {"node", "a.go", "package a\nfunc f() {\n" + long(longestFunction-2) + "}\n", 0},
		"init":                      {"node", "a.go", "package a\nfunc init() {}\n", 1},
		"a method called init":      {"node", "a.go", "package a\nfunc (t t) init() {}\n", 0},
		"five methods":              {"node", "a.go", "package a\ntype i interface{ a(); b(); c(); d(); e() }\n", 1},
		"four methods":              {"node", "a.go", "package a\ntype i interface{ a(); b(); c(); d() }\n", 0},
		"an undocumented function":  {"node", "a.go", "package a\nfunc F() {}\n", 1},
		"an undocumented type":      {"node", "a.go", "package a\ntype T int\n", 1},
		"an undocumented method":    {"node", "a.go", "package a\nfunc (t *T) F() {}\n", 1},
		"a hidden type's method":    {"node", "a.go", "package a\nfunc (t *hidden) F() {}\n", 0},
		"a variable without value":  {"node", "a.go", "package a\nvar cache map[string]int\n", 1},
		"an empty map":              {"node", "a.go", "package a\nvar cache = make(map[string]int)\n", 1},
		"a table":                   {"node", "a.go", "package a\nvar table = map[string]int{\"a\": 1}\n", 0},
		"an embedded file":          {"node", "a.go", "package a\n\n//go:embed x\nvar x []byte\n", 0},
		"the clock in sched":        {"sched", "a.go", "package a\nvar _ = time.Now()\n", 1},
		"a timer in the ledger":     {"consensus/ledger", "a.go", "package a\nvar _ = time.After(1)\n", 1},
		"a duration in sched":       {"sched", "a.go", "package a\nconst d = time.Second\n", 0},
		"the clock in node":         {"node", "a.go", "package a\nvar _ = time.Now()\n", 0},
		"a sleep in a test":         {"node", "a_test.go", "package a\nfunc f() { time.Sleep(1) }\n", 1},
	} {
		s, err := parse(c.room, c.path, c.text)
		if err != nil {
			t.Fatal(name, err)
		}
		if got := overdrafts(s); len(got) != c.want {
			t.Errorf("%s: got %q, want %d", name, got, c.want)
		}
		s.bubble = true
		if got := overdrafts(s); name == "a sleep in a test" && len(got) > 0 {
			t.Errorf("a sleep in virtual time: got %q", got)
		}
	}
}
