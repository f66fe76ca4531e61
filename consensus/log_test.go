package consensus

import (
	"bytes"
	"log/slog"
	"testing"
)

func TestRaftIsHeardOnlyWhenSomethingIsWrongHere(t *testing.T) {
	var out bytes.Buffer
	text := slog.NewTextHandler(&out, &slog.HandlerOptions{
		Level: slog.LevelInfo,
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	})
	l := newRaftLogger(slog.New(text)).Named("snapshot").With("a", 1)
	l.Info("election won", "term", 2)
	l.Warn("heartbeat timeout reached, starting election")
	l.Error("failed to heartbeat to", "peer", "n2")
	l.Error("failed to take snapshot", "error", "disk full")
	const want = "level=WARN msg=\"raft: failed to take snapshot\" a=1 error=\"disk full\"\n"
	if got := out.String(); got != want {
		t.Errorf("logged %q, want %q", got, want)
	}
}
