package consensus

import (
	"errors"
	"fmt"
	"io"

	"github.com/hashicorp/raft"

	"ddocker/consensus/ledger"
)

// Remains is what the stores of one node hold, read without a cluster.
type Remains struct {
	Index, Term uint64   // of the last entry
	Voters      []string // by the newest configuration stored
	Ledger      *ledger.Ledger

	covered uint64 // the last entry in the snapshot that was read
}

// errNothing means that the stores never belonged to a cluster.
var errNothing = errors.New("this node has never followed a log, nor was it fed")

// Examine reads what the stores hold, entries whose commit is unknown included.
func Examine(stores *Stores) (*Remains, error) {
	f := newFSM(stores, nil)
	c := &Consensus{stores: stores, fsm: f}
	rem := &Remains{}
	state, err := stores.fed.load()
	if err == nil && state != nil {
		err = c.restoreFed(state)
	}
	if err != nil {
		return nil, err
	}
	heard, _ := c.told.get(c.told.at)
	rem.Index, rem.Term, rem.Voters = f.applied(), heard.Term, heard.voters()
	if err := rem.readSnapshot(stores, f); err != nil {
		return nil, err
	}
	if err := rem.readLog(stores, f); err != nil {
		return nil, err
	}
	if err := f.halted(); err != nil {
		return nil, err
	}
	if rem.Index == 0 {
		return nil, errNothing
	}
	f.view(func(l *ledger.Ledger) { rem.Ledger = l })
	return rem, nil
}

// readSnapshot reads the newest snapshot that can be read.
func (rem *Remains) readSnapshot(stores *Stores, f *fsm) error {
	list, err := stores.snapshots.List()
	if err != nil {
		return fmt.Errorf("list snapshots: %w", err)
	}
	for _, meta := range list {
		var source io.ReadCloser
		if _, source, err = stores.snapshots.Open(meta.ID); err != nil {
			continue
		}
		if err = f.Restore(source); err == nil {
			rem.covered = meta.Index
			rem.see(meta.Index, meta.Term, meta.Configuration)
			return nil
		}
	}
	if len(list) > 0 {
		return fmt.Errorf("read snapshots: %w", err)
	}
	return nil
}

func (rem *Remains) readLog(stores *Stores, f *fsm) error {
	first, err := stores.log.FirstIndex()
	last, err2 := stores.log.LastIndex()
	if err := errors.Join(err, err2); err != nil {
		return fmt.Errorf("read log: %w", err)
	}
	if first > rem.covered+1 {
		return fmt.Errorf("read log: its entries %d to %d are missing, which a snapshot had that cannot be read: choose another host", rem.covered+1, first-1)
	}
	for at := max(first, rem.covered+1); first != 0 && at <= last; at++ {
		var e raft.Log
		if err := stores.log.GetLog(at, &e); err != nil {
			return fmt.Errorf("read log entry %d: %w", at, err)
		}
		switch e.Type {
		case raft.LogCommand:
			f.Apply(&e)
			rem.see(e.Index, e.Term, raft.Configuration{})
		case raft.LogConfiguration:
			rem.see(e.Index, e.Term, raft.DecodeConfiguration(e.Data))
		default:
			rem.see(e.Index, e.Term, raft.Configuration{})
		}
	}
	return nil
}

// see notes the last entry, and a configuration that came with it.
func (rem *Remains) see(index, term uint64, conf raft.Configuration) {
	rem.Index, rem.Term = max(rem.Index, index), max(rem.Term, term)
	if len(conf.Servers) == 0 {
		return
	}
	rem.Voters = nil
	for _, s := range conf.Servers {
		if s.Suffrage == raft.Voter {
			rem.Voters = append(rem.Voters, string(s.ID))
		}
	}
}

// Recover makes node id, at an address, the only voter of the cluster, with what its
// stores hold: for when most voters are lost for good. It does what raft's
// RecoverCluster does, but puts the ledger further on in the log, so that it is newer
// than whatever others have seen of entries that are lost. Entries of the lost
// voters that this node does not have are gone.
func Recover(stores *Stores, rem *Remains, id, address string) error {
	index, term := rem.Index+leap, max(rem.Term, 1)
	conf := raft.Configuration{Servers: []raft.Server{{Suffrage: raft.Voter, ID: raft.ServerID(id), Address: peerAddress(id, address)}}}
	_, trans := raft.NewInmemTransport(raft.ServerAddress(address))
	sink, err := stores.snapshots.Create(raft.SnapshotVersionMax, index, term, conf, index, trans)
	if err != nil {
		return fmt.Errorf("recover: %w", err)
	}
	if err := (snapshot{rem.Ledger.Snapshot().At(index)}).Persist(sink); err != nil {
		return fmt.Errorf("recover: %w", err)
	}
	first, err := stores.log.FirstIndex()
	last, err2 := stores.log.LastIndex()
	if err := errors.Join(err, err2); err != nil {
		return fmt.Errorf("recover: %w", err)
	}
	if first != 0 {
		if err := stores.log.DeleteRange(first, last); err != nil {
			return fmt.Errorf("recover: shorten the log: %w", err)
		}
	}
	return raiseTerm(stores.stable, term)
}

// raiseTerm makes sure that the node goes on in no earlier term than the last entry's: a
// node that was fed has never been in any.
func raiseTerm(stable raft.StableStore, term uint64) error {
	now, err := stable.GetUint64(keyTerm)
	if err != nil && err.Error() != "not found" {
		return fmt.Errorf("recover: %w", err)
	}
	if now >= term {
		return nil
	}
	return stable.SetUint64(keyTerm, term)
}
