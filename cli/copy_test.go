package cli

import (
	"archive/tar"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// holding makes a container that has files at paths, each with its mode, and takes
// what is put into it.
func (g *agent) holding(name string, files map[string]map[string]any, archive []byte, put func(dir, names string)) {
	g.HandleFunc("/containers/"+name+"/archive", func(w http.ResponseWriter, r *http.Request) {
		path := r.URL.Query().Get("path")
		stat, ok := files[path]
		if r.Method == http.MethodPut {
			var names []string
			for t := tar.NewReader(r.Body); ; {
				h, err := t.Next()
				if err != nil {
					break
				}
				names = append(names, h.Name)
			}
			put(path, strings.Join(names, " "))
			return
		}
		if !ok {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusNotFound)
			io.WriteString(w, `{"message":"Could not find the file `+path+` in container `+name+`"}`)
			return
		}
		text, _ := json.Marshal(stat)
		w.Header().Set("X-Docker-Container-Path-Stat", base64.StdEncoding.EncodeToString(text))
		w.Write(archive)
	})
}

// tarOf is an archive of empty files; names that end in a slash are directories.
func tarOf(names ...string) []byte {
	var b bytes.Buffer
	t := tar.NewWriter(&b)
	for _, name := range names {
		kind := byte(tar.TypeReg)
		if strings.HasSuffix(name, "/") {
			kind = tar.TypeDir
		}
		t.WriteHeader(&tar.Header{Name: name, Typeflag: kind, Mode: 0o755, ModTime: time.Unix(1, 0)})
	}
	t.Close()
	return b.Bytes()
}

const (
	dirMode  = 1 << 31
	linkMode = 1 << 27
)

func TestCopyFromContainerToContainerIsDockersCopy(t *testing.T) {
	directory := map[string]any{"name": "d", "mode": uint32(dirMode | 0o755)}
	file := map[string]any{"name": "f", "mode": uint32(0o644)}
	for _, c := range []struct {
		from, to string
		archive  []byte
		dir, has string
		code     int
		says     string
	}{
		{"a:/f", "b:/dir", tarOf("f"), "/dir", "f", 0, ""},
		{"a:/f", "b:/dir/new", tarOf("f"), "/dir", "new", 0, ""},
		{"a:/f", "b:/file", tarOf("f"), "/", "file", 0, ""},
		{"a:/f", "b:/link", tarOf("f"), "/dir", "f", 0, ""},
		{"a:/d", "b:/dir", tarOf("d/", "d/x"), "/dir", "d/ d/x", 0, ""},
		{"a:/d", "b:/new", tarOf("d/", "d/x"), "/", "new/ new/x", 0, ""},
		{"a:/d/.", "b:/dir", tarOf("./", "./x"), "/dir", "./ ./x", 0, ""},
		{"a:/d", "b:/file", tarOf("d/"), "", "", 1, "Error: cannot copy directory"},
		{"a:/f", "b:/new/", tarOf("f"), "", "", 1, "Error: no such directory"},
		{"a:/nosuch", "b:/dir", nil, "", "", 1, "Error: Could not find the file /nosuch in container a\n"},
		{"a:/f", "b:", tarOf("f"), "", "", 1, "Error: copy: write CONTAINER:PATH for both"},
	} {
		g := newAgent(t)
		var dir, has string
		nothing := func(string, string) { t.Error("something was put into the source") }
		g.holding("a", map[string]map[string]any{"/f": file, "/d": directory, "/d/.": directory}, c.archive, nothing)
		g.holding("b", map[string]map[string]any{"/dir": directory, "/file": file,
			"/link": {"name": "link", "mode": uint32(linkMode | 0o777), "linkTarget": "dir"}}, nil,
			func(to, names string) { dir, has = to, names })
		r := g.runs(t, "", "cp", c.from, c.to)
		if r.code != c.code || !strings.HasPrefix(r.stderr, c.says) || r.stdout != "" {
			t.Errorf("cp %s %s: exit code %d, %s%s", c.from, c.to, r.code, r.stdout, r.stderr)
		}
		if dir != c.dir || has != c.has {
			t.Errorf("cp %s %s put %q into %q, want %q into %q", c.from, c.to, has, dir, c.has, c.dir)
		}
	}
}
