package image

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"ddocker/crash"
)

// Copy is an image that the cluster brought to this host.
type Copy struct {
	// ID is the image's.
	ID string
	// Used is when it came or a container was last made from it, give or take usedEvery.
	Used time.Time
}

// usedEvery is how exact Copy.Used is: a host that makes many containers of one
// image need not write for each.
const usedEvery = time.Minute

// lateLoad is how long an engine that was not asked to its end may still bring an image.
const lateLoad = 2 * time.Minute

// record is what the journal keeps of an image, in a file of its own.
type record struct {
	ID string `json:"id"`
	// Loading says that a load began and was not seen to its end: the image, if
	// it is there and has no name, is nobody's.
	Loading bool      `json:"loading,omitempty"`
	Used    time.Time `json:"used"`
	// Missed is when such an image was first looked for and was not there: an engine that
	// is slow may still bring it.
	Missed time.Time `json:"missed,omitzero"`
}

// journal knows, over restarts, which images this host's agent brought. A file is
// the old one or the new one, whatever happens to the machine.
type journal struct {
	dir   string
	crash crash.Point
	mu    sync.Mutex // held by whoever changes a file
}

func (j *journal) path(id string) string {
	return filepath.Join(j.dir, strings.TrimPrefix(id, "sha256:")+".json")
}

// write is durable when it returns.
func (j *journal) write(r record) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.put(r)
}

// use writes down that an image of the cluster's was used.
func (j *journal) use(id string, now time.Time) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	r, found := j.find(id)
	if !found || r.Loading || now.Sub(r.Used) < usedEvery {
		return nil
	}
	r.Used = now
	return j.put(r)
}

// put is called with j.mu held.
func (j *journal) put(r record) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(j.dir, 0o700); err != nil {
		return err
	}
	path := j.path(r.ID)
	if err := writeSynced(path+".new", text); err != nil {
		return err
	}
	j.crash.At(crash.ImageNoting)
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	return j.sync()
}

func writeSynced(path string, text []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// sync makes the names of the files durable.
func (j *journal) sync() error {
	dir, err := os.Open(j.dir)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// miss says that an image whose load did not come to its end is not there, and forgets it
// when that has been so for long.
func (j *journal) miss(id string, now time.Time) error {
	j.mu.Lock()
	r, found := j.find(id)
	if found && r.Loading && r.Missed.IsZero() {
		r.Missed = now
		defer j.mu.Unlock()
		return j.put(r)
	}
	j.mu.Unlock()
	if found && r.Loading && now.Sub(r.Missed) < lateLoad {
		return nil
	}
	return j.forget(id)
}

func (j *journal) forget(id string) error {
	if !isDigest(id) {
		return nil
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := os.Remove(j.path(id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// find returns the record of an image, if there is one that can be read.
func (j *journal) find(id string) (r record, found bool) {
	if !isDigest(id) {
		return r, false
	}
	text, err := os.ReadFile(j.path(id))
	return r, err == nil && json.Unmarshal(text, &r) == nil && r.ID == id
}

// tidy removes what was half written when this agent's life before ended.
func (j *journal) tidy() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	half, err := filepath.Glob(filepath.Join(j.dir, "*.json.new"))
	for _, path := range half {
		err = errors.Join(err, os.Remove(path))
	}
	return err
}

// all returns all records that can be read.
func (j *journal) all() ([]record, error) {
	files, err := os.ReadDir(j.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the journal of images: %w", err)
	}
	var all []record
	for _, file := range files {
		hex, ok := strings.CutSuffix(file.Name(), ".json")
		if !ok {
			continue
		}
		if r, found := j.find("sha256:" + hex); found {
			all = append(all, r)
		}
	}
	return all, nil
}

// Copies returns the images that the cluster brought here and nobody forgot, in
// no order. Images that were on this host anyway are not among them.
func (m *Mover) Copies() []Copy {
	records, err := m.journal.all()
	if err != nil {
		m.cfg.Logger.Warn("the cluster's copies of images are not known", "err", err)
	}
	var copies []Copy
	for _, r := range records {
		if !r.Loading {
			copies = append(copies, Copy{ID: r.ID, Used: r.Used})
		}
	}
	return copies
}

// Used says that a container was made from an image. It does nothing for images
// that the cluster did not bring.
func (m *Mover) Used(id string) {
	if err := m.journal.use(id, time.Now()); err != nil {
		m.cfg.Logger.Warn("the use of an image was not written down", "image", id, "err", err)
	}
}

// Forget says that an image is gone from this host, or is its own from now on.
func (m *Mover) Forget(id string) {
	if err := m.journal.forget(id); err != nil {
		m.cfg.Logger.Warn("an image was not forgotten", "image", id, "err", err)
	}
}
