package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"

	"ddocker/test/lab"
)

// commandSize is about that of a reservation in the log, in bytes.
const commandSize = 400

// bareRaft is what the ledger stands on, with nothing on top: three nodes of
// hashicorp/raft, the same store as consensus', TCP over loopback.
type bareRaft struct {
	nodes []*raft.Raft
	close []func() error
	data  []byte
}

func newBareRaft(ctx context.Context, dir string) (*bareRaft, error) {
	b := &bareRaft{data: bytes.Repeat([]byte("x"), commandSize)}
	var servers []raft.Server
	for i := range 3 {
		s, err := b.start(filepath.Join(dir, fmt.Sprintf("bare%d.db", i)), raft.ServerID(fmt.Sprint(i)))
		if err != nil {
			b.stop()
			return nil, err
		}
		servers = append(servers, s)
	}
	if err := b.nodes[0].BootstrapCluster(raft.Configuration{Servers: servers}).Error(); err != nil {
		b.stop()
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return b, lab.Poll(ctx, b.apply)
}

func (b *bareRaft) start(path string, id raft.ServerID) (raft.Server, error) {
	store, err := raftboltdb.New(raftboltdb.Options{Path: path, MsgpackUseNewTimeFormat: true, BoltOptions: &bbolt.Options{
		Timeout: time.Second, NoFreelistSync: true, FreelistType: bbolt.FreelistMapType,
	}})
	if err != nil {
		return raft.Server{}, err
	}
	cached, err := raft.NewLogCache(512, store)
	if err != nil {
		return raft.Server{}, err
	}
	conf := raft.DefaultConfig()
	conf.LocalID, conf.Logger, conf.NoLegacyTelemetry = id, hclog.NewNullLogger(), true
	transport, err := raft.NewTCPTransportWithLogger("127.0.0.1:0", nil, 3, 5*time.Second, conf.Logger)
	if err != nil {
		return raft.Server{}, err
	}
	node, err := raft.NewRaft(conf, void{}, cached, store, raft.NewDiscardSnapshotStore(), transport)
	if err != nil {
		return raft.Server{}, err
	}
	b.nodes = append(b.nodes, node)
	b.close = append(b.close, func() error { return node.Shutdown().Error() }, transport.Close, store.Close)
	return raft.Server{ID: id, Address: transport.LocalAddr()}, nil
}

// apply commits one command through the leader.
func (b *bareRaft) apply() error {
	for _, n := range b.nodes {
		if n.State() == raft.Leader {
			return n.Apply(b.data, patience).Error()
		}
	}
	return raft.ErrNotLeader
}

func (b *bareRaft) stop() (err error) {
	for _, end := range b.close {
		if fault := end(); err == nil {
			err = fault
		}
	}
	return err
}

// void is a state machine without state.
type void struct{}

func (void) Apply(*raft.Log) any                 { return nil }
func (void) Snapshot() (raft.FSMSnapshot, error) { return void{}, nil }
func (void) Restore(r io.ReadCloser) error       { return r.Close() }
func (void) Persist(s raft.SnapshotSink) error   { return s.Close() }
func (void) Release()                            {}
