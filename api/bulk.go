package api

import (
	"io"
	"net/http"
	"regexp"
	"sync"
)

// bulkBuffer is how much of a long body is passed on at once, in bytes: about four
// records of TLS.
const bulkBuffer = 64 << 10

// bulkyPath covers the archives: as long as a disk, and of use only when they are
// complete.
var bulkyPath = regexp.MustCompile(`/(archive|export|get|load)$`)

func bulky(path string) bool { return bulkyPath.MatchString(path) }

// bulk is a body that is read in large pieces. It comes in small ones, each of which
// would cost all machines on the way a piece of its own.
type bulk struct {
	io.ReadCloser
	lent *buffers
}

func inBulk(body io.ReadCloser, lent *buffers) io.ReadCloser {
	if body == nil || body == http.NoBody {
		return body
	}
	return bulk{body, lent}
}

// WriteTo has net/http send the body in as large pieces, where it is a request's.
func (b bulk) WriteTo(w io.Writer) (int64, error) {
	p := b.lent.Get()
	defer b.lent.Put(p)
	return io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{b}, p)
}

// chunkFrame is what HTTP puts around a chunk, at most, in bytes. With room for it a
// piece fills the last record of TLS and begins no other.
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

// flowing is a connection that was taken over. io.Copy, which passes on what comes, has
// it do that with as much room as the stream fills: most carry a word now and then.
type flowing struct {
	io.ReadWriteCloser
	lent *buffers
}

// WriteTo passes on what the connection brings.
func (f flowing) WriteTo(w io.Writer) (int64, error) { return f.lent.pass(w, f.ReadWriteCloser) }

// ReadFrom passes on what the connection is to carry.
func (f flowing) ReadFrom(r io.Reader) (int64, error) { return f.lent.pass(f.ReadWriteCloser, r) }

// CloseWrite ends one direction.
func (f flowing) CloseWrite() error {
	if half, ok := f.ReadWriteCloser.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
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

// word is how much of a stream is passed on at once as long as no more comes, in bytes.
const word = 32 << 10

// pass is io.Copy with room that is lent only while much comes.
func (b *buffers) pass(to io.Writer, from io.Reader) (sent int64, err error) {
	small := make([]byte, word)
	p := small
	defer func() { b.back(p) }()
	for {
		n, end := from.Read(p)
		if n > 0 {
			var wrote int
			wrote, err = to.Write(p[:n])
			sent += int64(wrote)
		}
		switch {
		case err != nil:
			return sent, err
		case end == io.EOF:
			return sent, nil
		case end != nil:
			return sent, end
		case n == word && len(p) == word:
			p = b.Get()
		case n < word && len(p) > word:
			b.back(p)
			p = small
		}
	}
}

// back is Put, of what may not be lent.
func (b *buffers) back(p []byte) {
	if len(p) == bulkBuffer {
		b.Put(p)
	}
}
