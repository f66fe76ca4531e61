package cli

import (
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
)

func TestSaveWritesAFileAsAWholeOrNotAtAll(t *testing.T) {
	g := newAgent(t)
	breaks := false
	g.HandleFunc("GET /images/get", func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "archive of "+strings.Join(r.URL.Query()["names"], "+"))
		if breaks {
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}
	})
	g.runs(t, "", "save", "python:3", "a@gpu2").wants(t, 0, "archive of python:3+a@gpu2")

	dir := t.TempDir()
	file, link := filepath.Join(dir, "a.tar"), filepath.Join(dir, "link")
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	holds := func(want string) {
		t.Helper()
		entries, err := os.ReadDir(dir)
		text, read := os.ReadFile(file)
		if err != nil || read != nil || string(text) != want || len(entries) != 2 {
			t.Errorf("the file holds %q, want %q; beside it is %v (%v, %v)", text, want, entries, err, read)
		}
	}
	g.runs(t, "", "image", "save", "-o", file, "a").wants(t, 0, "")
	holds("archive of a")
	g.runs(t, "", "save", "--output", link, "b").wants(t, 0, "")
	holds("archive of b")
	breaks = true
	g.runs(t, "", "save", "-o", file, "c").wants(t, 1, "", "Error: save the archive: unexpected EOF")
	holds("archive of b")
}

func TestSaveRefusesWhatIsNoFile(t *testing.T) {
	g := newAgent(t)
	dir := t.TempDir()
	g.runs(t, "", "save", "-o", dir, "a").wants(t, 1, "", "Error: "+dir+" is a directory: name a file\n")
	g.runs(t, "", "save", "-o", "/dev/null", "a").wants(t, 1, "", "Error: /dev/null is not a regular file: redirect")
	g.runs(t, "", "save", "-o", dir+"/no/such", "a").wants(t, 1, "", "Error: write "+dir+"/no/such: ")
	g.runs(t, "", "save", "-o", dir+"/x").wants(t, 1, "", "Error: 'ddocker save' requires at least 1 argument\n")
	u := g.sitsDown(t, "save", "a")
	u.waitsFor("cowardly refusing to save to a terminal. Use the -o flag or redirect")
	u.leavesWith(1)
	if len(g.asked) > 0 {
		t.Errorf("it asked %q", g.asked)
	}
	g.answers("GET /images/get", http.StatusNotFound, `{"message":"No such image: a"}`)
	g.runs(t, "", "save", "-o", dir+"/x", "a").wants(t, 1, "", "Error: No such image: a\n")
	if entries, _ := os.ReadDir(dir); len(entries) > 0 {
		t.Errorf("it left %v", entries)
	}
}

func TestLoadSendsAFileOrStandardInput(t *testing.T) {
	g := newAgent(t)
	g.answers("POST /images/load", http.StatusOK, `{"stream":"Loaded image: python:3\n"}`)
	file := filepath.Join(t.TempDir(), "a.tar")
	if err := os.WriteFile(file, []byte("from the file"), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, args := range map[string][]string{"from the pipe": {"load"}, "from the file": {"image", "load", "-q", "-i", file}} {
		g.runs(t, "from the pipe", args...).wants(t, 0, "Loaded image: python:3\n")
		if got := string(g.bodies["POST /images/load"]); got != want || !g.was("POST /images/load?quiet=1") {
			t.Errorf("%q sent %q, want %q; it did %q", args, got, want, g.changes())
		}
	}
}

func TestALoadThatFailsSaysWhy(t *testing.T) {
	g := newAgent(t)
	g.answers("POST /images/load", http.StatusOK, `{"stream":"Loaded image: b:1\n"}{"errorDetail":{"message":"image a:1 is another one on h2"}}`)
	g.runs(t, "x", "load").wants(t, 1, "Loaded image: b:1\n", "Error: image a:1 is another one on h2\n")
	g.asked = nil
	dir := t.TempDir()
	g.runs(t, "", "load", "-i", dir).wants(t, 1, "", "Error: read the archive: "+dir+" is a directory\n")
	g.runs(t, "", "load", "-i", dir+"/none").wants(t, 1, "", "Error: read the archive: open "+dir+"/none: ")
	g.runs(t, "", "load", "extra").wants(t, 1, "", "Error: 'ddocker load' accepts no arguments\n")
	broken := io.MultiReader(strings.NewReader("half"), iotest.ErrReader(errors.New("the disk has a scratch")))
	execute(t, broken, map[string]string{"DDOCKER_HOST": g.socket}, "load").
		wants(t, 1, "", "Error: read the archive: the disk has a scratch\n")
	u := g.sitsDown(t, "load")
	u.waitsFor("requested load from stdin, but stdin is empty")
	u.leavesWith(1)
}

func TestImportTakesAFileAURLOrStandardInput(t *testing.T) {
	g := newAgent(t)
	g.answers("POST /images/create", http.StatusOK, `{"status":"sha256:0123"}`)
	file := filepath.Join(t.TempDir(), "root.tar")
	if err := os.WriteFile(file, []byte("from the file"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args        []string
		query, body string
	}{
		{[]string{file, "base:1"}, "fromSrc=-&repo=base%3A1", "from the file"},
		{[]string{"-"}, "fromSrc=-", "from the pipe"},
		{[]string{"-m", "hi", "-c", "CMD sh", "-c", "ENV A=1", "--platform", "linux/arm64", "-", "base"},
			"changes=CMD+sh&changes=ENV+A%3D1&fromSrc=-&message=hi&platform=linux%2Farm64&repo=base", "from the pipe"},
		{[]string{"https://example.org/root.tar", "base"}, "fromSrc=https%3A%2F%2Fexample.org%2Froot.tar&repo=base", ""},
	} {
		g.runs(t, "from the pipe", append([]string{"import"}, c.args...)...).wants(t, 0, "sha256:0123\n")
		if got := string(g.bodies["POST /images/create"]); got != c.body || !g.was("POST /images/create?"+c.query) {
			t.Errorf("import %q sent %q, want %q; it did %q", c.args, got, c.body, g.changes())
		}
	}
	g.asked = nil
	g.runs(t, "", "image", "import", "-", "Base").wants(t, 1, "", `Error: "Base" is not an image's name: `)
	g.runs(t, "", "import", "/nosuch", "base").wants(t, 1, "", "Error: read the archive: open /nosuch: ")
	g.runs(t, "", "import", "a", "b", "c").wants(t, 1, "", "Error: 'ddocker import' requires at most 2 arguments\n")
	if changes := g.changes(); len(changes) > 0 {
		t.Errorf("it did %q", changes)
	}
}
