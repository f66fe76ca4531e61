package api

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"slices"
	"testing"
)

func TestBasesAreTheImagesThatADockerfileNames(t *testing.T) {
	for text, want := range map[string][]string{
		"FROM busybox":    {"busybox"},
		"from busybox:1 ": {"busybox:1"},
		"# FROM nothing\n FROM --platform=linux/amd64 a:1 AS one\nRUN x\nFROM b\nCOPY --chown=1 --from=c:2 /a /b": {"a:1", "b", "c:2"},
		"ARG BASE=busybox\nARG TAG\nFROM ${BASE}:$TAG":                                                            {"busybox:9"},
		"ARG BASE=\"busybox\"\nFROM $BASE":                                                                        {"busybox"},
		"RUN echo FROM me":                                                                                        nil,
		"":                                                                                                        nil,
	} {
		if got := bases(text, map[string]string{"TAG": "9"}); !slices.Equal(got, want) {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

// contextOf is a tar of files, one after the other name and content.
func contextOf(t *testing.T, files ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	out := tar.NewWriter(&b)
	for i := 0; i < len(files); i += 2 {
		if err := out.WriteHeader(&tar.Header{Name: files[i], Mode: 0o644, Size: int64(len(files[i+1]))}); err != nil {
			t.Fatal(err)
		}
		io.WriteString(out, files[i+1])
	}
	out.Close()
	return b.Bytes()
}

func TestTheDockerfileIsFoundInTheContext(t *testing.T) {
	plain := contextOf(t, "a", "x", "./sub/Dockerfile", "FROM sub", "Dockerfile", "FROM top")
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	z.Write(plain)
	z.Close()
	for _, context := range [][]byte{plain, packed.Bytes()} {
		for file, want := range map[string]string{"/Dockerfile": "FROM top", "/sub/Dockerfile": "FROM sub", "/none": ""} {
			if got := dockerfile(bytes.NewReader(context), file); got != want {
				t.Errorf("%s: got %q, want %q", file, got, want)
			}
		}
	}
	if got := dockerfile(bytes.NewReader([]byte("no tar")), "/Dockerfile"); got != "" {
		t.Errorf("no tar has %q", got)
	}
}

func TestABuildFindsABaseThatAnotherHostHas(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		w.hosts[1].twin.AddLayered("base:1", []byte("base"))
		w.settle()
		context := contextOf(t, "Dockerfile", "FROM base:1\nRUN true")
		got := w.hosts[0].want(http.StatusOK, "", post, "/build?t=made:1", string(context))
		if !slices.Contains(w.hosts[0].tags(), "base:1") {
			t.Errorf("the base did not come; the build says %s", got.body)
		}
	})
}
