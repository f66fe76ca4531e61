package gpu

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// scripted makes the test binary play a child.
const scripted = "GPU_TEST_CHILD"

const twoCards = `{"cards":[{"uuid":"GPU-a","index":"0","model":"TITAN Xp","memory":1024},{"uuid":"GPU-b","index":"1"}]}`

func TestMain(m *testing.M) {
	if script := os.Getenv(scripted); script != "" {
		os.Exit(play(script))
	}
	os.Exit(m.Run())
}

// play is the child: each script is one way in which a child can go.
func play(script string) int {
	switch script {
	case "absent":
		fmt.Println(`{"cards":[],"absent":true}`)
	case "real":
		if Child(os.Stdout) != nil {
			return 1
		}
	case "reads":
		fmt.Println(twoCards)
		awaitDeath()
	case "partly":
		fmt.Println(`{"cards":[{"uuid":"GPU-a"}],"error":"card 1: GPU is lost"}`)
	case "dies":
		fmt.Println(twoCards)
		fmt.Fprintln(os.Stderr, "ddocker: symbol lookup error:\nundefined symbol: nvmlX")
		return 127
	case "fails":
		fmt.Println(`{"cards":null,"error":"start NVML: driver not loaded"}`)
		awaitDeath()
	case "silent":
		awaitDeath()
	case "babbles":
		fmt.Println("NVRM: hello")
		awaitDeath()
	case "floods":
		fmt.Println(strings.Repeat("x", 2*maxLine))
		awaitDeath()
	}
	return 0
}

// awaitDeath blocks until the parent kills this process, or is gone.
func awaitDeath() { _, _ = io.Copy(io.Discard, os.Stdin) }

// child is a command that plays a script, with an input that does not end.
func child(t *testing.T, script string) func() *exec.Cmd {
	t.Helper()
	input, keep, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { input.Close(); keep.Close() })
	return func() *exec.Cmd {
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = append(os.Environ(), scripted+"="+script, "GORACE=atexit_sleep_ms=0")
		cmd.Stdin = input
		return cmd
	}
}

func said(r *Reader) ([]Card, bool, string) {
	s := r.State()
	return s.Cards, s.Known, s.Reason
}

func TestCardsAreUnknownBeforeTheFirstWord(t *testing.T) {
	r := New(Config{})
	if cards, known, reason := said(r); known || len(cards) > 0 || reason != "not read yet" {
		t.Errorf("cards are %v, known %v, %q", cards, known, reason)
	}
}

func TestAChildsEndIsExplained(t *testing.T) {
	for _, c := range []struct {
		script string
		went   outcome
		known  bool
		reason string
	}{
		{"absent", absent, true, ""},
		{"dies", worked, false, "GPU reader ended: exit status 127: ddocker: symbol lookup error: undefined symbol: nvmlX"},
		{"partly", worked, false, "GPU reader ended"},
		{"fails", failed, false, "start NVML: driver not loaded"},
		{"silent", failed, false, "GPU reader is silent for 200ms"},
		{"babbles", failed, false, "read cards: invalid character 'N' looking for beginning of value"},
		{"floods", failed, false, "read cards: bufio.Scanner: token too long"},
	} {
		t.Run(c.script, func(t *testing.T) {
			r := New(Config{Command: child(t, c.script)})
			if c.script == "silent" {
				r.patience = 200 * time.Millisecond
			}
			went := r.session(t.Context())
			cards, known, reason := said(r)
			if went != c.went || known != c.known || reason != c.reason || len(cards) > 0 {
				t.Errorf("outcome %v, cards %v, known %v, %q; want outcome %v, no cards, known %v, %q",
					went, cards, known, reason, c.went, c.known, c.reason)
			}
		})
	}
}

func TestAMissingProgramIsExplained(t *testing.T) {
	r := New(Config{Command: func() *exec.Cmd { return exec.Command("/no/such/program") }})
	if went := r.session(t.Context()); went != failed {
		t.Errorf("outcome is %v, want failed", went)
	}
	if _, known, reason := said(r); known || !strings.Contains(reason, "/no/such/program") {
		t.Errorf("known %v, %q; want the program named", known, reason)
	}
}

func TestCardsAreKnownWhileTheChildReads(t *testing.T) {
	r := New(Config{Command: child(t, "reads")})
	ctx, cancel := context.WithCancel(t.Context())
	changes := make(chan struct{}, 9)
	r.changed = func() { changes <- struct{}{} }
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()

	<-changes
	cards, known, reason := said(r)
	if !known || reason != "" || len(cards) != 2 || cards[0].UUID != "GPU-a" || cards[0].Memory != 1024 {
		t.Errorf("cards are %v, known %v, %q", cards, known, reason)
	}

	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Run ended with %v", err)
	}
	if cards, known, _ := said(r); known || len(cards) > 0 {
		t.Errorf("after Run the cards are %v, known %v", cards, known)
	}
}

func TestACardThatFailsIsLeftOutWithAReason(t *testing.T) {
	r := New(Config{})
	if _, err := r.take([]byte(`{"cards":[{"uuid":"GPU-a"}],"error":"card 1: GPU is lost"}`)); err != nil {
		t.Fatal(err)
	}
	if cards, known, reason := said(r); !known || len(cards) != 1 || reason != "card 1: GPU is lost" {
		t.Errorf("cards are %v, known %v, %q", cards, known, reason)
	}
}

func TestADeadChildIsStartedAgain(t *testing.T) {
	begin := child(t, "dies")
	ctx, cancel := context.WithCancel(t.Context())
	starts := 0
	r := New(Config{Command: func() *exec.Cmd {
		if starts++; starts == 3 {
			cancel()
		}
		return begin()
	}})
	r.retry = time.Millisecond
	if err := r.Run(ctx); err != nil || starts != 3 {
		t.Errorf("after %d starts Run ended with %v, want 3 and no error", starts, err)
	}
}

func TestStartsAreSpaced(t *testing.T) {
	wait := pace{first: firstRetry}
	for i, step := range []struct {
		went outcome
		want time.Duration
	}{
		{failed, time.Second}, {failed, 2 * time.Second}, {failed, 4 * time.Second}, {failed, 8 * time.Second},
		{failed, 16 * time.Second}, {failed, 32 * time.Second}, {failed, time.Minute}, {failed, time.Minute},
		{worked, time.Second}, {failed, 2 * time.Second}, {absent, time.Hour}, {absent, time.Hour},
	} {
		if got := wait.after(step.went); got != step.want {
			t.Errorf("step %d waits %v, want %v", i, got, step.want)
		}
	}
}
