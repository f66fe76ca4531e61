package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// How much is kept: some hundred thousand entries.
const (
	maxFile  = 8 << 20 // bytes, after which the next file is begun
	maxFiles = 8
	// maxText bounds each of an entry's texts, in bytes: clients write them.
	maxText = 512
)

const suffix = ".jsonl"

// Log is the log of one node. Its methods may be called from any goroutine.
type Log struct {
	dir string

	mu     sync.Mutex // guards what follows
	file   *os.File
	number int   // of the file
	size   int64 // of the file
	torn   bool  // the file does not end with a line's end
	lost   int   // entries that were not written since the last that was
	// strangers are those of whom nobody knows who they are.
	strangers quota
}

// quota bounds what can be had written without a name: else it would push out the rest.
type quota struct {
	minute time.Time
	used   int
}

// perMinute is how many entries of strangers are kept.
const perMinute = 20

func (q *quota) admit(now time.Time) bool {
	if now.Sub(q.minute).Abs() >= time.Minute {
		*q = quota{minute: now}
	}
	q.used++
	return q.used <= perMinute
}

// Open opens the log in a directory, which is made if it is missing. Only its owner may
// read it.
func Open(dir string) (*Log, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open audit log: %w", err)
	}
	l := &Log{dir: dir}
	numbers, err := l.numbers()
	if err != nil {
		return nil, fmt.Errorf("open audit log: %w", err)
	}
	l.number = 1
	if len(numbers) > 0 {
		l.number = numbers[len(numbers)-1]
	}
	if err := l.open(l.number); err != nil {
		return nil, fmt.Errorf("open audit log: %w", err)
	}
	return l, nil
}

// numbers lists the files, oldest first. What else is in the directory is none.
func (l *Log) numbers() (list []int, err error) {
	entries, err := os.ReadDir(l.dir)
	for _, e := range entries {
		name, ours := strings.CutSuffix(e.Name(), suffix)
		if n, err := strconv.Atoi(name); err == nil && ours && n > 0 && l.path(n) == filepath.Join(l.dir, e.Name()) {
			list = append(list, n)
		}
	}
	slices.Sort(list)
	return list, err
}

func (l *Log) path(number int) string {
	return filepath.Join(l.dir, fmt.Sprintf("%08d%s", number, suffix))
}

// open has what follows written to a file. Its caller holds mu, or nobody knows l yet.
func (l *Log) open(number int) error {
	file, err := os.OpenFile(l.path(number), os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	at, err := file.Stat()
	if err != nil {
		return errors.Join(err, file.Close())
	}
	last := []byte{'\n'}
	if at.Size() > 0 {
		_, err = file.ReadAt(last, at.Size()-1)
	}
	if err != nil {
		return errors.Join(err, file.Close())
	}
	if l.file != nil {
		err = l.file.Close()
	}
	l.file, l.number, l.size, l.torn = file, number, at.Size(), last[0] != '\n'
	return err
}

// Close ends the log. What is appended afterwards is refused.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.file.Close()
}

// Append writes one entry. Where that fails, as on a full disk, or where too many come of
// nobody in a minute, the next that is written says how many are missing before it.
func (l *Log) Append(e Entry) error {
	for _, text := range []*string{&e.User, &e.From, &e.Route, &e.Object, &e.Args, &e.Made, &e.Error} {
		*text = strings.ToValidUTF8((*text)[:min(len(*text), maxText)], "")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if e.User == "" && !l.strangers.admit(e.Time) {
		l.lost++
		return nil
	}
	e.Lost += l.lost
	if err := l.write(e); err != nil {
		l.lost++
		return fmt.Errorf("write audit log: %w", err)
	}
	l.lost = 0
	return nil
}

func (l *Log) write(e Entry) error {
	var text bytes.Buffer
	if l.torn {
		text.WriteByte('\n')
	}
	out := json.NewEncoder(&text)
	out.SetEscapeHTML(false)
	if err := out.Encode(e); err != nil {
		return err
	}
	line := text.Bytes()
	if l.size+int64(len(line)) > maxFile && l.size > 0 {
		if err := l.turn(); err != nil {
			return err
		}
	}
	n, err := l.file.Write(line)
	l.size += int64(n)
	if n > 0 {
		l.torn = n < len(line)
	}
	return err
}

// turn begins the next file and removes the oldest.
func (l *Log) turn() error {
	if err := l.open(l.number + 1); err != nil {
		return err
	}
	numbers, err := l.numbers()
	if err != nil {
		return err
	}
	for _, n := range numbers[:max(0, len(numbers)-maxFiles)] {
		err = errors.Join(err, os.Remove(l.path(n)))
	}
	return err
}

// end is where the next entry will stand.
func (l *Log) end() Position {
	l.mu.Lock()
	defer l.mu.Unlock()
	return Position{l.number, l.size}
}

// read returns what a file has from an offset on, up to so many bytes; nothing of one
// that is gone.
func (l *Log) read(number int, from, limit int64) ([]byte, error) {
	file, err := os.Open(l.path(number))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return io.ReadAll(io.NewSectionReader(file, from, limit))
}
