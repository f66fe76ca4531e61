package api

import (
	"bytes"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
)

func TestBulkIsWholeWhateverPiecesItComesIn(t *testing.T) {
	text := strings.Repeat("0123456789", 20000)
	for name, from := range map[string]io.Reader{
		"bytes": iotest.OneByteReader(strings.NewReader(text)), "end with the last": iotest.DataErrReader(strings.NewReader(text)),
	} {
		got, err := io.ReadAll(inBulk(io.NopCloser(from), nil))
		if err != nil || string(got) != text {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
	broken := inBulk(io.NopCloser(io.MultiReader(strings.NewReader("half"), iotest.ErrReader(io.ErrUnexpectedEOF))), nil)
	if got, err := io.ReadAll(broken); err != io.ErrUnexpectedEOF || string(got) != "half" {
		t.Errorf("what breaks off ends with %q, %v", got, err)
	}
}

// pieces is a writer that notes how large they come.
type pieces struct {
	bytes.Buffer
	sizes []int
}

func (p *pieces) Write(b []byte) (int, error) {
	p.sizes = append(p.sizes, len(b))
	return p.Buffer.Write(b)
}

func TestABulkyRequestIsSentInLargePieces(t *testing.T) {
	text := strings.Repeat("0123456789abcdef", 1<<16)
	var sent pieces
	n, err := io.Copy(&sent, inBulk(io.NopCloser(iotest.HalfReader(strings.NewReader(text))), new(buffers)))
	if err != nil || n != int64(len(text)) || sent.String() != text {
		t.Errorf("%d bytes are sent: %v", n, err)
	}
	if want := len(text)/(bulkBuffer-chunkFrame) + 1; len(sent.sizes) != want {
		t.Errorf("they are sent in %d pieces, not %d", len(sent.sizes), want)
	}
	broken := io.MultiReader(strings.NewReader("half"), iotest.ErrReader(io.ErrUnexpectedEOF))
	if n, err := io.Copy(io.Discard, inBulk(io.NopCloser(broken), new(buffers))); n != 4 || err != io.ErrUnexpectedEOF {
		t.Errorf("what breaks off is sent with %d bytes and %v", n, err)
	}
}

// spurts is a connection that brings pieces of the sizes, and notes the room it was given.
type spurts struct {
	sizes, room []int
}

func (s *spurts) Read(p []byte) (int, error) {
	if s.room = append(s.room, len(p)); len(s.sizes) == 0 {
		return 0, io.EOF
	}
	n := min(s.sizes[0], len(p))
	if s.sizes[0] -= n; s.sizes[0] == 0 {
		s.sizes = s.sizes[1:]
	}
	return n, nil
}

func (s *spurts) Write(p []byte) (int, error) { return len(p), nil }
func (s *spurts) Close() error                { return nil }

func TestAConnectionHasRoomForMuchOnlyWhileMuchComes(t *testing.T) {
	from := &spurts{sizes: []int{1, word + bulkBuffer, bulkBuffer, 2, 3}}
	var to pieces
	if n, err := io.Copy(&to, flowing{from, new(buffers)}); err != nil || n != int64(to.Len()) {
		t.Errorf("%d bytes of %d: %v", n, to.Len(), err)
	}
	if want := []int{1, word, bulkBuffer, bulkBuffer, 2, 3}; !reflect.DeepEqual(to.sizes, want) {
		t.Errorf("what comes is passed on as %v, not %v", to.sizes, want)
	}
	if want := []int{word, word, bulkBuffer, bulkBuffer, bulkBuffer, word, word}; !reflect.DeepEqual(from.room, want) {
		t.Errorf("the room is %v, not %v", from.room, want)
	}
}
