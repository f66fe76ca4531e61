package api

import (
	"encoding/binary"
	"net/http"

	"github.com/docker/docker/api/types/versions"
	"github.com/docker/docker/pkg/stdcopy"
)

// frames follows a stream of a container's output as it passes, to know where
// something may be put in. Without a terminal it consists of frames: a kind, three
// zeros, and the length of what follows in four bytes.
type frames struct {
	raw    bool // there are no frames: a terminal's bytes
	begun  bool
	header [8]byte
	have   int    // bytes of the header
	left   uint32 // bytes of the frame
}

// newFrames tells from the head of an answer whether it has frames, as far as it
// says so; else the first bytes tell.
func newFrames(r *http.Response, version string) frames {
	kind := r.Header.Get("Content-Type")
	// Before 1.42 an engine called every stream raw.
	return frames{raw: kind == "application/vnd.docker.raw-stream" && version != "" && versions.GreaterThanOrEqualTo(version, "1.42")}
}

// pass looks at the next bytes of the stream.
func (f *frames) pass(p []byte) {
	for len(p) > 0 && !f.raw {
		if f.left > 0 {
			n := min(int64(f.left), int64(len(p)))
			f.left -= uint32(n)
			p = p[n:]
			continue
		}
		n := copy(f.header[f.have:], p)
		f.have += n
		p = p[n:]
		if !f.begun && !f.framed() {
			f.raw = true
		}
		if f.have == len(f.header) {
			f.begun, f.have, f.left = true, 0, binary.BigEndian.Uint32(f.header[4:])
		}
	}
}

// framed says whether the bytes of the first header can be one.
func (f *frames) framed() bool {
	for i, b := range f.header[:min(f.have, 4)] {
		if b > byte(stdcopy.Systemerr) || i > 0 && b != 0 {
			return false
		}
	}
	return true
}

// words returns what tells the reader a sentence, or nothing in the middle of a
// frame. A reader of frames takes it for an error of the daemon, and its command fails.
func (f *frames) words(sentence string) []byte {
	switch {
	case f.raw:
		return []byte("\r\n" + sentence + "\r\n")
	case f.have > 0 || f.left > 0:
		return nil
	}
	head := [8]byte{byte(stdcopy.Systemerr)}
	binary.BigEndian.PutUint32(head[4:], uint32(len(sentence)))
	return append(head[:], sentence...)
}
