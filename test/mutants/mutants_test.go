package main

import (
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// all returns the mutants, and the root of the module.
func all(t *testing.T) ([]mutant, string) {
	t.Helper()
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	list, err := mutants()
	if err != nil {
		t.Fatal(err)
	}
	return list, root
}

func TestEveryMutantCanBePlanted(t *testing.T) {
	list, root := all(t)
	for _, m := range list {
		texts, err := m.texts(root)
		if err != nil {
			t.Error(err)
		}
		for file, text := range texts {
			if _, err := parser.ParseFile(token.NewFileSet(), file, text, parser.SkipObjectResolution); err != nil {
				t.Errorf("%s: mutant %s: %v", m.at, m.name, err)
			}
		}
	}
}

func TestEveryInvariantHasTwoMutants(t *testing.T) {
	list, _ := all(t)
	for _, invariant := range []string{"I1", "I2", "I3", "I4", "I5", "I6", "I7"} {
		n := 0
		for _, m := range list {
			if m.breaks == invariant {
				n++
			}
		}
		if n < 2 {
			t.Errorf("%d mutants break %s", n, invariant)
		}
	}
}

func TestEveryMutantIsCaughtByATestThatThereIs(t *testing.T) {
	list, root := all(t)
	names := map[string][]string{}
	for _, m := range list {
		if m.caught.where == simulator {
			continue
		}
		if names[m.caught.where] == nil {
			names[m.caught.where] = testsIn(t, filepath.Join(root, m.caught.where))
		}
		for _, pattern := range strings.Split(m.caught.args[0], "|") {
			n := 0
			for _, name := range names[m.caught.where] {
				if regexp.MustCompile(pattern).MatchString(name) {
					n++
				}
			}
			if n == 0 || n > 3 {
				t.Errorf("%s: %d tests of %s are meant by %s", m.at, n, m.caught.where, pattern)
			}
		}
	}
}

func testsIn(t *testing.T, dir string) (names []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range regexp.MustCompile(`(?m)^func (Test\w+)`).FindAllSubmatch(text, -1) {
			names = append(names, string(found[1]))
		}
	}
	return names
}

func TestAListIsReadAsItIsWritten(t *testing.T) {
	got, err := parse("a.txt", []byte("mutant one\nis     wrong\nbreaks I1\ncaught ./a ^TestB$ -short\nfile a.go\n<<<<\n\told\n====\n\tnew\n>>>>\n<<<<\nmore\n====\n>>>>\n"))
	if err != nil {
		t.Fatal(err)
	}
	m := got[0]
	if len(got) != 1 || m.name != "one" || m.is != "wrong" || m.breaks != "I1" || m.caught.where != "./a" ||
		strings.Join(m.caught.args, " ") != "^TestB$ -short" || m.edits[0] != (edit{"a.go", "\told\n", "\tnew\n"}) || m.edits[1] != (edit{"a.go", "more\n", ""}) {
		t.Errorf("got %+v", got)
	}
	for _, text := range []string{"is nobody\n", "mutant a\nnonsense\n", "mutant a\n<<<<\nold\n", "mutant a\n<<<<\n====\nnew\n"} {
		if _, err := parse("a.txt", []byte(text)); err == nil {
			t.Errorf("%q is a list", text)
		}
	}
}

func TestAMutantIsPlantedWhereItsOldTextIsOnce(t *testing.T) {
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "a.go"), []byte("one\ntwo\n\ttwo\nthree\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for old, want := range map[string]string{
		"one\n": "ONE\ntwo\n\ttwo\nthree\n", "two\n": "one\nONE\n\ttwo\nthree\n", "three\n": "one\ntwo\n\ttwo\nONE\n", "four\n": "", "wo\n": "",
	} {
		m := mutant{edits: []edit{{"a.go", old, "ONE\n"}}}
		texts, err := m.texts(root)
		if texts["a.go"] != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", old, texts["a.go"], err)
		}
	}
	twice := mutant{edits: []edit{{"a.go", "one\n", "two\n"}, {"a.go", "two\n", ""}}}
	if _, err := twice.texts(root); err == nil {
		t.Error("the second change is made in one of two places")
	}
}

func TestOnlyAFailingTestCatches(t *testing.T) {
	const (
		said  = `{"Action":"output","Test":"TestA/b","Output":"    a_test.go:7: it is held twice\n"}` + "\n"
		fails = `{"Action":"fail","Test":"TestA/b"}` + "\n" + `{"Action":"fail","Test":"TestA"}` + "\n" + `{"Action":"fail"}` + "\n"
	)
	for name, c := range map[string]struct {
		out, test, says, err string
	}{
		"a test fails":      {out: said + fails, test: "TestA/b", says: "it is held twice"},
		"all pass":          {out: `{"Action":"pass","Test":"TestA"}` + "\n" + `{"Action":"pass"}` + "\n"},
		"it panics":         {out: `{"Action":"output","Test":"TestA/b","Output":"panic: deadlock\n"}` + "\n" + fails, test: "TestA/b", says: "panic: deadlock"},
		"it only panics":    {out: `{"Action":"output","Test":"TestA","Output":"panic: nil\n"}` + "\n" + `{"Action":"fail"}` + "\n", test: "TestA", says: "panic: nil"},
		"it does not build": {out: `{"Action":"build-output","Output":"a.go:1: undefined"}` + "\n" + `{"Action":"build-fail"}` + "\n", err: "undefined"},
		"it does not end":   {out: `{"Action":"output","Test":"TestA","Output":"panic: test timed out after 3m50s\n"}` + "\n" + fails, err: "to an end"},
		"nothing is run":    {out: "go: no such package\n", err: "no test was run"},
	} {
		v, err := judge([]byte(c.out))
		if v.failed != (c.test != "") || v.test != c.test || v.says != c.says || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: %+v, %v", name, v, err)
		}
	}
}
