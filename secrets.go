package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"ddocker/consensus/ledger"
	"ddocker/identity"
)

// fileSecrets says which rotations this node has heeded: a held, in JSON.
const fileSecrets = "rotations.json"

// heeded is how far a node has followed the rotations of one secret.
type heeded struct {
	Index uint64       `json:",omitempty"` // of the last one begun
	Stage ledger.Stage `json:",omitempty"`
}

// before says whether h is less far than o.
func (h heeded) before(o heeded) bool {
	return h.Index < o.Index || h.Index == o.Index && h.Stage.Before(o.Stage)
}

// held is what a node has of the secrets of the cluster, beside its certificates. It
// only goes forward: what a ledger that lags says changes nothing.
type held struct {
	CA, Gossip heeded
	// Salts are those of the keys of gossip, the one in use first; "" stands for the key
	// that the cluster was founded with, from which the others are made. Whoever has
	// only that, as a removed node does, or only the ledger, has none of them.
	Salts []string
}

// secrets keeps this node's held over restarts.
type secrets struct {
	path string
	root []byte // the gossip key of the founding

	mu  sync.Mutex // guards now
	now held
}

func loadSecrets(dir string) (*secrets, error) {
	s := &secrets{path: filepath.Join(dir, fileSecrets), now: held{Salts: []string{""}}}
	var err error
	if s.root, err = os.ReadFile(filepath.Join(dir, fileKey)); err != nil {
		return nil, fmt.Errorf("read the gossip key: %w", err)
	}
	text, err := os.ReadFile(s.path)
	if os.IsNotExist(err) {
		return s, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &s.now)
	}
	if err != nil || len(s.now.Salts) == 0 {
		return nil, fmt.Errorf("read %s, which says what keys the cluster uses: %w; remove it, and the other nodes tell", s.path, err)
	}
	return s, nil
}

func (s *secrets) get() held {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

// set keeps what change makes of the present state.
func (s *secrets) set(change func(*held)) error {
	s.mu.Lock()
	now := s.now
	change(&now)
	s.now = now
	text, err := json.Marshal(now)
	s.mu.Unlock()
	if err != nil {
		return err
	}
	return writeDurably(s.path, text)
}

// keys returns the keys of gossip, the one in use first.
func (s *secrets) keys() (list [][]byte) {
	for _, salt := range s.get().Salts {
		if salt == "" {
			list = append(list, s.root)
			continue
		}
		mac := hmac.New(sha256.New, s.root)
		mac.Write([]byte("ddocker gossip key " + salt))
		list = append(list, mac.Sum(nil))
	}
	return list
}

// lately returns how far the rotations of a secret are; they are all of one kind, oldest
// first.
func lately(list []ledger.Rotation) (h heeded) {
	if len(list) > 0 {
		last := list[len(list)-1]
		h = heeded{last.Index, last.Stage}
	}
	return h
}

// saltsOf returns the salts of the keys that a node has at this point.
func saltsOf(list []ledger.Rotation) []string {
	before := ""
	for _, r := range list {
		switch r.Stage {
		case ledger.Install:
			return []string{before, r.Data}
		case ledger.Use:
			return []string{r.Data, before}
		}
		before = r.Data
	}
	return []string{before}
}

// succession is what a rotation of the CA's key tells: certificates (PEM).
type succession struct {
	Next   []byte // the new authority
	Link   []byte // the new one, vouched for by the former
	Former []byte
}

func successionOf(r ledger.Rotation) (s succession, err error) {
	if err = json.Unmarshal([]byte(r.Data), &s); err != nil {
		err = fmt.Errorf("read rotation %s of the CA's key: %w", r.ID, err)
	}
	return s, err
}

// trustOf returns whom a node believes at this point, and shows; the list is not empty.
func trustOf(list []ledger.Rotation) (t identity.Trust, err error) {
	for _, r := range list {
		s, err := successionOf(r)
		if err != nil {
			return t, err
		}
		switch r.Stage {
		case ledger.Install:
			t.Roots = slices.Concat(s.Former, s.Next)
		case ledger.Use:
			t.Roots = slices.Concat(s.Next, s.Former)
			t.Links = slices.Concat(s.Link, t.Links)
		case ledger.Done:
			t.Roots = s.Next
			t.Links = slices.Concat(s.Link, s.Former, t.Links)
		}
	}
	return t, nil
}
