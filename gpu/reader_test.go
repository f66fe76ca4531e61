package gpu

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"testing/synctest"
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
		if Child(context.Background(), os.Stdout) != nil {
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
	case "halves":
		fmt.Print(twoCards[:len(twoCards)/2])
	case "hangs":
		fmt.Println(twoCards)
		fmt.Println(`{"cards":null,"busy":"nvmlDeviceGetPowerUsage of card 1"}`)
		fmt.Println(`{"cards":null,"error":"nvmlDeviceGetPowerUsage of card 1 hangs"}`)
		awaitDeath()
	case "waits":
		fmt.Println(twoCards)
		fmt.Println(`{"cards":null,"busy":"nvmlDeviceGetPowerUsage of card 1"}`)
		awaitDeath()
	case "says nothing":
		fmt.Println(`{}`)
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
		{"halves", failed, false, "read cards: unexpected end of JSON input"},
		{"hangs", worked, false, "nvmlDeviceGetPowerUsage of card 1 hangs"},
		{"says nothing", failed, false, "GPU reader tells of no cards"},
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

func TestCardsAreUnknownWhileTheDriverIsSlow(t *testing.T) {
	r := New(Config{Command: child(t, "waits")})
	ctx, cancel := context.WithCancel(t.Context())
	var states []State
	r.changed = func() {
		if states = append(states, r.State()); len(states) == 2 {
			cancel()
		}
	}
	r.session(ctx)
	if len(states) < 2 || !states[0].Known || states[1].Known || states[1].Reason != "GPU driver is slow: nvmlDeviceGetPowerUsage of card 1" {
		t.Errorf("the states were %+v", states)
	}
}

// A driver can keep a killed process for ever: no other is started beside it.
func TestAChildThatDoesNotDieIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended, killed := make(chan error), 0
		wait, kill := func() error { return <-ended }, func() { killed++ }
		time.AfterFunc(time.Hour, func() { ended <- errors.New("signal: killed") })
		start := time.Now()
		if err := reap(t.Context(), wait, kill); err == nil || err.Error() != "signal: killed" || time.Since(start) != time.Hour || killed != 1 {
			t.Errorf("after %v, killed %d times: %v", time.Since(start), killed, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 24*time.Hour)
		defer cancel()
		defer close(ended)
		if err := reap(ctx, wait, kill); err == nil || err.Error() != "GPU reader does not end" {
			t.Errorf("the end of the agent: %v", err)
		}
	})
}

func TestAChildThatKeepsFailingIsStartedLessAndLess(t *testing.T) {
	begin := child(t, "dies")
	ctx, cancel := context.WithCancel(t.Context())
	var starts []time.Time
	r := New(Config{Command: func() *exec.Cmd {
		if starts = append(starts, time.Now()); len(starts) == 6 {
			cancel()
		}
		return begin()
	}})
	r.retry = 20 * time.Millisecond
	if err := r.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if last := starts[5].Sub(starts[4]); last < 16*r.retry {
		t.Errorf("the sixth start came %v after the fifth", last)
	}
}

func TestIdleIsSinceWhenNothingRan(t *testing.T) {
	r, start := New(Config{}), time.Now()
	used := []Process{{PID: 1}}
	for _, step := range []struct {
		at    time.Duration
		cards []Card
		idle  string // of each card, in seconds after the start
	}{
		{0, []Card{{UUID: "a"}, {UUID: "b", Processes: used}, {UUID: "m", Utilization: Unread}}, "0 - 0"},
		{2, []Card{{UUID: "a"}, {UUID: "b"}, {UUID: "m", Utilization: Unread}}, "0 2 0"},
		{4, []Card{{UUID: "a", Utilization: 3}, {UUID: "b"}}, "- 2"},
		{6, []Card{{UUID: "b"}, {UUID: "a"}}, "2 6"},
		{30, []Card{{UUID: "b"}, {UUID: "m"}}, "2 0"}, // m was out of sight for 28 seconds
		{70, []Card{{UUID: "b"}, {UUID: "m"}}, "70 70"},
	} {
		r.stamp(step.cards, start.Add(step.at*time.Second))
		var idle []string
		for _, c := range step.cards {
			said := "-"
			if !c.Idle.IsZero() {
				said = fmt.Sprint(c.Idle.Sub(start).Seconds())
			}
			idle = append(idle, said)
		}
		if got := strings.Join(idle, " "); got != step.idle {
			t.Errorf("after %d s the cards are idle since %s, want %s", step.at, got, step.idle)
		}
	}
	if len(r.rests) != 2 {
		t.Errorf("cards that left are remembered: %v", r.rests)
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
