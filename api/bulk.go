package api

import (
	"io"
	"net/http"
	"regexp"
	"sync"
)

// bulkBuffer is how much of an answer is passed on at once, in bytes: about four
// records of TLS.
const bulkBuffer = 64 << 10

// bulkyPath covers the archives: as long as a disk, and of use only when they are
// complete.
var bulkyPath = regexp.MustCompile(`/(archive|export|get|load)$`)

func bulky(path string) bool { return bulkyPath.MatchString(path) }

// bulk is a body that is read in large pieces. It comes in small ones, each of which
// would cost all machines on the way a piece of its own.
type bulk struct{ io.ReadCloser }

func inBulk(body io.ReadCloser) io.ReadCloser {
	if body == nil || body == http.NoBody {
		return body
	}
	return bulk{body}
}

// chunkFrame is what HTTP puts around a chunk, at most, in bytes. With room for it a
// piece of 32 KiB, as net/http sends them, fills two records of TLS and begins no third.
const chunkFrame = 16

// Read fills p but for a frame, unless the body ends.
func (b bulk) Read(p []byte) (n int, err error) {
	if len(p) > 2*chunkFrame {
		p = p[:len(p)-chunkFrame]
	}
	for n < len(p) && err == nil {
		var more int
		more, err = b.ReadCloser.Read(p[n:])
		n += more
	}
	return n, err
}

// unflushed is a ResponseWriter that sends when it has much to send.
type unflushed struct{ http.ResponseWriter }

// buffers lends proxies what they copy with.
type buffers struct{ idle sync.Pool }

// Get lends a buffer.
func (b *buffers) Get() []byte {
	if p, ok := b.idle.Get().(*[bulkBuffer]byte); ok {
		return p[:]
	}
	return make([]byte, bulkBuffer)
}

// Put takes it back.
func (b *buffers) Put(p []byte) { b.idle.Put((*[bulkBuffer]byte)(p)) }
