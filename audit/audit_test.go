package audit

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

var noon = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

func open(t *testing.T, dir string) *Log {
	t.Helper()
	l, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// write appends entries a second apart, each by alice or, if odd, by bob, with its number as object.
func write(t *testing.T, l *Log, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		if err := l.Append(entry(i)); err != nil {
			t.Fatal(err)
		}
	}
}

func entry(i int) Entry {
	return Entry{Time: noon.Add(time.Duration(i) * time.Second), Node: "n1", User: []string{"alice", "bob"}[i%2], Object: fmt.Sprint(i)}
}

func objects(t *testing.T, lines []json.RawMessage) (list []string) {
	t.Helper()
	for _, line := range lines {
		var e Entry
		if err := json.Unmarshal(line, &e); err != nil {
			t.Fatal(err)
		}
		list = append(list, e.Object)
	}
	return list
}

func last(t *testing.T, l *Log, f Filter, n int) []string {
	t.Helper()
	lines, _, err := l.Last(f, n)
	if err != nil {
		t.Fatal(err)
	}
	return objects(t, lines)
}

func TestTheLastEntriesAreChosenByUserAndTime(t *testing.T) {
	l := open(t, t.TempDir())
	write(t, l, 0, 10)
	for _, c := range []struct {
		f    Filter
		n    int
		want string
	}{
		{Filter{}, 3, "[7 8 9]"},
		{Filter{}, 100, "[0 1 2 3 4 5 6 7 8 9]"},
		{Filter{}, 0, "[]"},
		{Filter{User: "bob"}, 2, "[7 9]"},
		{Filter{User: "bo"}, 2, "[]"},
		{Filter{Since: noon.Add(8 * time.Second)}, 100, "[8 9]"},
		{Filter{Until: noon.Add(2 * time.Second)}, 100, "[0 1]"},
		{Filter{User: "alice", Since: noon.Add(3 * time.Second), Until: noon.Add(7 * time.Second)}, 100, "[4 6]"},
	} {
		if got := fmt.Sprint(last(t, l, c.f, c.n)); got != c.want {
			t.Errorf("%+v, %d: got %s, want %s", c.f, c.n, got, c.want)
		}
	}
}

func TestFollowingShowsEveryEntryOnceAlsoAcrossFilesAndLives(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir)
	write(t, l, 0, 3)
	_, at, err := l.Last(Filter{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	follow := func() {
		t.Helper()
		for {
			lines, next, err := l.After(at, Filter{})
			if err != nil {
				t.Fatal(err)
			}
			if at = next; len(lines) == 0 {
				return
			}
			if at, err = ParsePosition(at.String()); err != nil {
				t.Fatal(err)
			}
			got = append(got, objects(t, lines)...)
		}
	}
	follow()
	write(t, l, 3, 5)
	follow()
	l.size = maxFile // the next entry turns the page
	write(t, l, 5, 7)
	l.Close()
	l = open(t, dir)
	write(t, l, 7, 8)
	follow()
	if fmt.Sprint(got) != "[3 4 5 6 7]" {
		t.Errorf("got %v", got)
	}
	if all := fmt.Sprint(last(t, l, Filter{}, 100)); all != "[0 1 2 3 4 5 6 7]" {
		t.Errorf("last: got %s", all)
	}
}

func TestWhoFallsBehindGoesOnWithTheOldestThatIsLeft(t *testing.T) {
	l := open(t, t.TempDir())
	write(t, l, 0, 1)
	for i := 1; i <= 2*maxFiles; i++ {
		l.size = maxFile
		write(t, l, i, i+1)
	}
	lines, _, err := l.After(Position{1, 0}, Filter{})
	if want := fmt.Sprint([]int{maxFiles + 1}); err != nil || fmt.Sprint(objects(t, lines)) != want {
		t.Errorf("got %v, %v; want %s", objects(t, lines), err, want)
	}
}

func TestTheLogIsBounded(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir)
	long := entry(0)
	long.Error = strings.Repeat("é<", maxFile)
	for l.number < maxFiles+3 {
		if err := l.Append(long); err != nil {
			t.Fatal(err)
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) != maxFiles {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, f := range files {
		if s, err := os.Stat(f); err != nil || s.Size() > maxFile || s.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", f, s, err)
		}
	}
}

// An agent may be killed, and a disk may be full, in the middle of a line.
func TestATornLineIsNoEntryAndSpoilsNone(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir)
	write(t, l, 0, 2)
	l.Close()
	path := l.path(1)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, whole[:len(whole)-5], 0o600); err != nil {
		t.Fatal(err)
	}
	l = open(t, dir)
	write(t, l, 2, 4)
	if got := fmt.Sprint(last(t, l, Filter{}, 100)); got != "[0 2 3]" {
		t.Errorf("got %s", got)
	}
}

func TestEntriesThatCouldNotBeWrittenAreCountedInTheNext(t *testing.T) {
	l := open(t, t.TempDir())
	write(t, l, 0, 1)
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	disk := l.file
	l.file = full
	for i := range 3 {
		if l.Append(entry(i)) == nil {
			t.Error("a full disk takes an entry")
		}
	}
	full.Close()
	l.file = disk
	write(t, l, 5, 6)
	write(t, l, 6, 7)
	lines, _, err := l.Last(Filter{}, 2)
	if err != nil || !strings.Contains(string(lines[0]), `"lost":3`) || strings.Contains(string(lines[1]), "lost") {
		t.Errorf("got %s, %v", lines, err)
	}
}

// Whoever can reach the port could push everybody's deeds out of the log.
func TestStrangersHaveABoundedPart(t *testing.T) {
	l := open(t, t.TempDir())
	nobody := Entry{Time: noon, Status: 401}
	for range 10 * perMinute {
		if err := l.Append(nobody); err != nil {
			t.Fatal(err)
		}
	}
	write(t, l, 0, 1)
	nobody.Time = noon.Add(time.Minute)
	if err := l.Append(nobody); err != nil {
		t.Fatal(err)
	}
	lines, _, err := l.Last(Filter{}, 1000)
	if err != nil || len(lines) != perMinute+2 || !strings.Contains(string(lines[perMinute]), fmt.Sprintf(`"lost":%d`, 9*perMinute)) {
		t.Errorf("%d entries, %v; the last %s", len(lines), err, lines[len(lines)-1])
	}
}

func TestManyMayWriteAndReadAtOnce(t *testing.T) {
	l := open(t, t.TempDir())
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() { write(t, l, 0, 200) })
		all.Go(func() {
			at := Position{}
			for n := 0; n < 1600; {
				lines, next, err := l.After(at, Filter{})
				if err != nil {
					t.Error(err)
					return
				}
				at, n = next, n+len(lines)
			}
		})
	}
	all.Wait()
	if n := len(last(t, l, Filter{}, 10000)); n != 1600 {
		t.Errorf("%d entries", n)
	}
}

func TestPositionsOfStrangersAreRefused(t *testing.T) {
	for _, text := range []string{"", "1", "1:", ":1", "-1:0", "1:-1", "1:1x", " 1:1", "01:1", "99999999999999999999:1"} {
		if p, err := ParsePosition(text); err == nil {
			t.Errorf("%q: %v", text, p)
		}
	}
}

func TestOnlyFilesOfTheLogAreRead(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"1.jsonl", "00000000.jsonl", "00000002.jsonl.bak", "notes"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(`{"user":"eve"}`+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	l := open(t, dir)
	write(t, l, 0, 1)
	if got := last(t, l, Filter{}, 100); !slices.Equal(got, []string{"0"}) {
		t.Errorf("got %v", got)
	}
}
