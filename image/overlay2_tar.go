package image

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"syscall"

	"github.com/vbatts/tar-split/tar/storage"
)

// rebuilt is a layer's tar, made again from its index and its files. The index
// tells the tar's pieces in their order: bytes, or the name of a file whose content
// comes next. Nothing but the piece at hand is in memory.
type rebuilt struct {
	index  *os.File
	pieces *json.Decoder
	files  *os.Root // no link leads out of it
	dir    *os.Root // where the last file was, if any: the next is mostly there too
	at     string   // dir's name

	bytes []byte   // what is left of a piece of bytes
	file  *os.File // or the file at hand,
	left  int64    // which owes as many bytes
}

func newRebuilt(index, dir string) (*rebuilt, error) {
	f, err := os.Open(index)
	if err != nil {
		return nil, err
	}
	plain, err := gzip.NewReader(f)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read %s: %w", index, err), f.Close())
	}
	files, err := os.OpenRoot(dir)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &rebuilt{index: f, pieces: json.NewDecoder(plain), files: files}, nil
}

// Close closes all files. It is called once.
func (r *rebuilt) Close() error {
	return errors.Join(r.drop(), r.leave(), r.files.Close(), r.index.Close())
}

// drop lets go of the file at hand.
func (r *rebuilt) drop() error {
	if r.file == nil {
		return nil
	}
	f := r.file
	r.file = nil
	return f.Close()
}

// leave closes the directory of the last file.
func (r *rebuilt) leave() error {
	if r.dir == nil {
		return nil
	}
	dir := r.dir
	r.dir = nil
	return dir.Close()
}

// enter opens the directory of the next file.
func (r *rebuilt) enter(name string) error {
	if r.dir != nil && r.at == name {
		return nil
	}
	if err := r.leave(); err != nil {
		return err
	}
	dir, err := r.files.OpenRoot(name)
	if err == nil {
		r.dir, r.at = dir, name
	}
	return err
}

// Read fills p as long as there is anything left.
func (r *rebuilt) Read(p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var k int
		k, err = r.read(p[n:])
		n += k
	}
	if n > 0 && err == io.EOF {
		err = nil
	}
	return n, err
}

// read reads from one piece.
func (r *rebuilt) read(p []byte) (int, error) {
	switch {
	case len(r.bytes) > 0:
		n := copy(p, r.bytes)
		r.bytes = r.bytes[n:]
		return n, nil
	case r.left > 0:
		return r.readFile(p)
	}
	piece, err := r.next()
	if err != nil {
		return 0, err
	}
	return 0, r.take(piece, 0)
}

func (r *rebuilt) readFile(p []byte) (int, error) {
	n, err := r.file.Read(p[:min(int64(len(p)), r.left)])
	r.left -= int64(n)
	if r.left == 0 {
		return n, r.drop()
	}
	if err == io.EOF {
		err = fmt.Errorf("read %s: it became shorter: %w", r.file.Name(), io.ErrUnexpectedEOF)
	}
	return n, err
}

// next returns the next piece of the index.
func (r *rebuilt) next() (*storage.Entry, error) {
	piece := new(storage.Entry)
	if err := r.pieces.Decode(piece); err != nil {
		return nil, err
	}
	if piece.Size < 0 || piece.Type != storage.FileType && piece.Type != storage.SegmentType {
		return nil, fmt.Errorf("the layer's index has a piece of type %d and size %d", piece.Type, piece.Size)
	}
	return piece, nil
}

// length is how many bytes of the tar a piece is.
func length(piece *storage.Entry) int64 {
	if piece.Type == storage.SegmentType {
		return int64(len(piece.Payload))
	}
	return piece.Size
}

// take makes a piece the one at hand, without its first bytes.
func (r *rebuilt) take(piece *storage.Entry, skip int64) error {
	if piece.Type == storage.SegmentType {
		r.bytes = piece.Payload[skip:]
		return nil
	}
	if piece.Size == 0 {
		return nil // a link, a directory or an empty file
	}
	f, err := r.open(piece.GetName(), piece.Size)
	if err != nil {
		return err
	}
	r.file, r.left = f, piece.Size-skip
	_, err = f.Seek(skip, io.SeekStart)
	return err
}

// open opens a file of the layer. What became of it since is not followed: a FIFO
// is not waited for, and a file of another size is an error.
func (r *rebuilt) open(name string, size int64) (*os.File, error) {
	name = clean(name)
	if err := r.enter(path.Dir(name)); err != nil {
		return nil, err
	}
	f, err := r.dir.OpenFile(path.Base(name), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && (!info.Mode().IsRegular() || info.Size() != size) {
		err = fmt.Errorf("%s changed in the engine's store: it is %s of %d bytes and was a file of %d", f.Name(), info.Mode(), info.Size(), size)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// skip passes over whole pieces, to the end or as long as they lie before the
// offset, and returns how many bytes they were. The piece that reaches beyond is
// the one at hand then.
func (r *rebuilt) skip(ctx context.Context, offset int64) (passed int64, err error) {
	for n := 0; offset < 0 || passed < offset; n++ {
		if n%1024 == 0 && ctx.Err() != nil {
			return passed, context.Cause(ctx)
		}
		piece, err := r.next()
		if err == io.EOF {
			return passed, nil
		} else if err != nil {
			return passed, err
		}
		size := length(piece)
		if offset >= 0 && passed+size > offset {
			return offset, r.take(piece, offset-passed)
		}
		passed += size
	}
	return passed, nil
}

// seek goes from the tar's first byte to the one at offset.
func (r *rebuilt) seek(ctx context.Context, offset int64) error {
	if offset < 0 {
		return errors.New("the offset is negative")
	}
	passed, err := r.skip(ctx, offset)
	if err == nil && passed < offset {
		err = fmt.Errorf("it ends at byte %d", passed)
	}
	return err
}
