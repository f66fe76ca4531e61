package gossip

import (
	"bytes"
	"context"
	"log"
	"log/slog"
	"sync"
	"time"
)

// logPause is how long after one of memberlist's complaints the next ones count
// as debugging: a stranger's packets make one each.
const logPause = 10 * time.Second

// logWriter passes the lines of a log.Logger such as
//
//	[ERR] memberlist: Push/Pull with n1 failed: …
//
// to a slog.Logger.
type logWriter struct {
	log *slog.Logger

	mu    sync.Mutex
	quiet time.Time // until then
}

func newLogger(l *slog.Logger) *log.Logger { return log.New(&logWriter{log: l}, "", 0) }

func (w *logWriter) Write(line []byte) (int, error) {
	level, text := slog.LevelDebug, bytes.TrimSpace(line)
	if tag, rest, ok := bytes.Cut(text, []byte("] ")); ok {
		level, text = w.level(string(tag)), rest
	}
	text = bytes.TrimPrefix(text, []byte("memberlist: "))
	w.log.Log(context.Background(), level, "memberlist says", "text", string(text))
	return len(line), nil
}

// level translates memberlist's tag. Its information is debugging here, since
// members that come and go are reported anyway, and its errors are things that
// it retries.
func (w *logWriter) level(tag string) slog.Level {
	level := slog.LevelDebug
	switch tag {
	case "[ERR", "[ERROR":
		level = slog.LevelWarn
	case "[WARN":
		level = slog.LevelInfo
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if level == slog.LevelDebug || time.Now().Before(w.quiet) {
		return slog.LevelDebug
	}
	w.quiet = time.Now().Add(logPause)
	return level
}
