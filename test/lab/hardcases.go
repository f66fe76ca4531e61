package lab

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
)

// HardCases returns a tar of what file systems and archives disagree about, in the
// directory hard.
func HardCases(t testing.TB) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	when := time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)
	add := func(h tar.Header, content string) {
		h.Name, h.Size, h.ModTime = "hard/"+h.Name, int64(len(content)), when
		if h.Mode == 0 {
			h.Mode = 0o644
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, content); err != nil {
			t.Fatal(err)
		}
	}
	dir := func(name string, mode int64) {
		add(tar.Header{Name: name + "/", Typeflag: tar.TypeDir, Mode: mode}, "")
	}
	dir("", 0o755)
	add(tar.Header{Name: "file", Uid: 1000, Gid: 2000}, "a file\n")
	add(tar.Header{Name: "link", Typeflag: tar.TypeLink, Linkname: "hard/file"}, "")
	add(tar.Header{Name: "symlink", Typeflag: tar.TypeSymlink, Linkname: "file", Mode: 0o777}, "")
	add(tar.Header{Name: "dangling", Typeflag: tar.TypeSymlink, Linkname: "/no/where", Mode: 0o777}, "")
	add(tar.Header{Name: "empty"}, "")
	add(tar.Header{Name: "setuid", Mode: 0o4755}, "#!/bin/sh\n")
	add(tar.Header{Name: "null", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3, Mode: 0o666}, "")
	add(tar.Header{Name: "disk", Typeflag: tar.TypeBlock, Devmajor: 7, Devminor: 9, Mode: 0o660, Gid: 6}, "")
	add(tar.Header{Name: "pipe", Typeflag: tar.TypeFifo}, "")
	add(tar.Header{Name: "ümläut"}, "UTF-8")
	add(tar.Header{Name: strings.Repeat("long", 60)}, "a name of 240 letters")
	add(tar.Header{Name: "holes"}, strings.Repeat("\x00", 2<<20))
	add(tar.Header{Name: "capable", Mode: 0o755, PAXRecords: map[string]string{
		"SCHILY.xattr.security.capability": "\x01\x00\x00\x02\x00\x20\x00\x00" + strings.Repeat("\x00", 12),
	}}, "may ping")
	dir("kept", 0o1777)
	dir("gone", 0o755)
	add(tar.Header{Name: "gone/file"}, "gone")
	add(tar.Header{Name: "gone-file"}, "gone")
	dir("replaced", 0o755)
	add(tar.Header{Name: "replaced/old"}, "old")
	for i := range 300 {
		add(tar.Header{Name: fmt.Sprintf("many-%d", i), Uid: i}, strings.Repeat("x", i))
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
