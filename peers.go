package main

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
)

// filePeers keeps the addresses of the other nodes.
const filePeers = "peers.json"

// peers remembers where the other nodes were, over restarts: after a night in
// which all were off, somebody has to be asked first.
type peers struct {
	path string

	mu   sync.Mutex // guards byID
	byID map[string]string
}

func loadPeers(dir string) *peers {
	p := &peers{path: filepath.Join(dir, filePeers), byID: map[string]string{}}
	if text, err := os.ReadFile(p.path); err == nil {
		if json.Unmarshal(text, &p.byID) != nil || p.byID == nil {
			p.byID = map[string]string{} // a hint that is damaged is no hint
		}
	}
	return p
}

func (p *peers) address(id string) (string, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	addr, ok := p.byID[id]
	return addr, ok
}

func (p *peers) addresses() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Sorted(maps.Values(p.byID))
}

// nobody is gone.
func nobody(string) bool { return false }

// learn adds addresses, forgets those of nodes that are gone, and saves them if any is new.
func (p *peers) learn(addrs map[string]string, gone func(id string) bool) error {
	p.mu.Lock()
	before := len(p.byID)
	changed := false
	maps.DeleteFunc(p.byID, func(id, _ string) bool { return gone(id) })
	for id, addr := range addrs {
		changed = changed || p.byID[id] != addr
		p.byID[id] = addr
	}
	changed = changed || len(p.byID) != before
	text, err := json.Marshal(p.byID)
	p.mu.Unlock()
	if !changed || err != nil {
		return err
	}
	return writeDurably(p.path, text)
}

// writeDurably replaces a file that only its owner may read: afterwards it holds
// the old text or the new one, whatever happens to the machine.
func writeDurably(path string, text []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails once it is renamed
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// syncDir makes durable which files the directory has.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
