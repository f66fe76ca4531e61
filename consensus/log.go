package consensus

import (
	"context"
	"io"
	"log/slog"

	"github.com/hashicorp/go-hclog"
)

// bridge passes raft's log on. Raft's news and warnings repeat what this
// package logs in its own words, or what happens whenever a peer is away: they
// are debug here. Only an error that is not about a peer is worth a warning.
type bridge struct{ to *slog.Logger }

func newRaftLogger(to *slog.Logger) hclog.Logger {
	l := hclog.NewInterceptLogger(&hclog.LoggerOptions{Name: "raft", Level: hclog.Off, Output: io.Discard})
	l.RegisterSink(bridge{to})
	return l
}

// Accept implements hclog.SinkAdapter.
func (b bridge) Accept(_ string, level hclog.Level, msg string, args ...any) {
	to := slog.LevelDebug
	if level >= hclog.Error && !aboutPeer(msg) {
		to = slog.LevelWarn
	}
	if b.to.Enabled(context.Background(), to) {
		b.to.Log(context.Background(), to, "raft: "+msg, args...)
	}
}

// aboutPeer reports whether raft logs msg whenever a peer is away or deposed.
func aboutPeer(msg string) bool {
	switch msg {
	case "failed to appendEntries to",
		"failed to heartbeat to",
		"failed to make requestVote RPC",
		"failed to send snapshot to",
		"failed to install snapshot",
		"peer has newer term, stopping replication",
		"failed to decode incoming command",
		"failed to flush response",
		"failed to accept connection":
		return true
	}
	return false
}
