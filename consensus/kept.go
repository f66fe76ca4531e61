package consensus

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"ddocker/consensus/ledger"
)

// keepEvery is how old what a fed node has kept may be, while the cluster is changing.
const keepEvery = time.Minute

// fedStore keeps the last state of a node that is fed, so that it knows the cluster also
// when it starts and no server answers.
type fedStore interface {
	// save replaces what is kept, or leaves it as it was.
	save(state []byte) error
	// load returns what is kept; nil: nothing.
	load() ([]byte, error)
}

// kept is what is known of the last state that was kept. It belongs to one goroutine at
// a time.
type kept struct {
	index uint64
	at    time.Time
}

// recall makes the state that was kept this replica's, before raft has its say.
func (c *Consensus) recall() {
	state, err := c.stores.fed.load()
	if err == nil && state != nil {
		err = c.restoreFed(state)
	}
	if err != nil {
		c.log.Warn("the cluster's last state is not known here until a server tells", "error", err)
	}
	c.kept = kept{c.Applied(), time.Now()}
}

func (c *Consensus) restoreFed(state []byte) error {
	in := bufio.NewReader(bytes.NewReader(state))
	line, err := in.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("read what was kept of the ledger: %w", err)
	}
	var o outlook
	if err := json.Unmarshal(line, &o); err != nil {
		return fmt.Errorf("read what was kept of the ledger: %w", err)
	}
	if err := c.fsm.Restore(io.NopCloser(in)); err != nil {
		return err
	}
	o.Leader = ""
	c.told.remember(o)
	return nil
}

// keepSome keeps this replica's state where much was fed since the last time.
func (c *Consensus) keepSome() {
	index := c.Applied()
	if index >= c.kept.index+snapshotEntries || index > c.kept.index && time.Since(c.kept.at) >= keepEvery {
		c.keepAll()
	}
}

// keepAll keeps this replica's state: the servers in one line, then the ledger.
func (c *Consensus) keepAll() {
	var snapshot ledger.Snapshot
	var index uint64
	c.View(func(l *ledger.Ledger) { snapshot, index = l.Snapshot(), l.Index() })
	c.kept.at = time.Now()
	var out bytes.Buffer
	err := json.NewEncoder(&out).Encode(c.outlook())
	if err == nil {
		_, err = snapshot.WriteTo(&out)
	}
	if err == nil {
		err = c.stores.fed.save(out.Bytes())
	}
	if err != nil {
		c.log.Warn("the cluster's state is not kept for the next start", "error", err)
		return
	}
	c.kept.index = index
}

// fedOnDisk is a file.
type fedOnDisk string

func (path fedOnDisk) load() ([]byte, error) {
	state, err := os.ReadFile(string(path))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return state, err
}

func (path fedOnDisk) save(state []byte) error {
	fresh := string(path) + ".new"
	f, err := os.OpenFile(fresh, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(state)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(fresh))
	}
	return replace(string(path), fresh)
}

// fedMemory is a file in memory.
type fedMemory struct {
	mu    sync.Mutex // guards state
	state []byte
}

func (m *fedMemory) load() ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state, nil
}

func (m *fedMemory) save(state []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.state = bytes.Clone(state)
	return nil
}
