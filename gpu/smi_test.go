package gpu

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// program puts an nvidia-smi into an otherwise empty PATH; "" leaves it out.
func program(t *testing.T, script string) {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	if script == "" {
		return
	}
	if err := os.WriteFile(filepath.Join(dir, "nvidia-smi"), []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
}

func TestSMIPrintsWhatTheProgramPrints(t *testing.T) {
	program(t, `echo "args: $#"; echo more >&2`)
	var out bytes.Buffer
	if err := SMI(t.Context(), &out, &Simulated{}, nil); err != nil || out.String() != "args: 0\nmore\n" {
		t.Errorf("SMI wrote %q, %v", out.String(), err)
	}
}

func TestSMITellsWhyTheProgramFailed(t *testing.T) {
	program(t, `echo "couldn't communicate with the NVIDIA driver"; exit 9`)
	var out bytes.Buffer
	err := SMI(t.Context(), &out, &Simulated{}, nil)
	want := "run nvidia-smi: exit status 9: couldn't communicate with the NVIDIA driver"
	if err == nil || err.Error() != want || out.Len() > 0 {
		t.Errorf("SMI wrote %q, %v; want nothing and %s", out.String(), err, want)
	}
}

func TestSMIEndsAProgramThatHangs(t *testing.T) {
	started := filepath.Join(t.TempDir(), "started")
	if err := syscall.Mkfifo(started, 0o600); err != nil {
		t.Fatal(err)
	}
	program(t, "echo > "+started+"; read nothing < "+started)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		_, _ = os.ReadFile(started) // until the program has opened and closed it
		cancel()
	}()
	if err := SMI(ctx, &bytes.Buffer{}, &Simulated{}, nil); err == nil {
		t.Error("SMI of a program that hangs succeeded")
	}
}

func TestSMIBoundsTheOutput(t *testing.T) {
	h := &head{room: 4}
	for _, part := range []string{"ab", "cde", "f"} {
		if n, err := h.Write([]byte(part)); n != len(part) || err != nil {
			t.Errorf("Write(%q) is %d, %v", part, n, err)
		}
	}
	if string(h.kept) != "abcd" {
		t.Errorf("kept %q, want the first four bytes", h.kept)
	}
}

func TestSMIDrawsATableWithoutTheProgram(t *testing.T) {
	program(t, "")
	var source Simulated
	source.word.set(State{Known: true, Driver: "550.54.15", CUDA: "12.4", Reason: "card 2: GPU is lost", Cards: []Card{
		{
			UUID: "GPU-a", Index: "0", Model: "TITAN Xp", Bus: "00000000:3B:00.0", Memory: 12 << 30, Used: 3 << 30, Utilization: 42, Temperature: 70, Power: 250_000,
			Processes: []Process{
				{PID: 312, Container: "5c2fb1e5a0d7c61b07c5", User: "alice", Command: "python", Memory: 3 << 30},
				{PID: 4711, User: "root", Command: "Xorg", Memory: Unread},
			},
		},
		{UUID: "MIG-b", Index: "1:0", Model: "A100 MIG 1g.5gb", Utilization: Unread, Temperature: Unread, Power: Unread},
	}})
	want := strings.TrimLeft(`
Driver Version: 550.54.15   CUDA Version: 12.4
+-----+-----------------+------------------+------+-------+--------------------+----------+
| GPU | Name            | Bus-Id           | Temp | Power | Memory-Usage       | GPU-Util |
+=====+=================+==================+======+=======+====================+==========+
| 0   | TITAN Xp        | 00000000:3B:00.0 | 70C  | 250W  | 3072MiB / 12288MiB | 42%      |
| 1:0 | A100 MIG 1g.5gb | N/A              | N/A  | N/A   | N/A                | N/A      |
+-----+-----------------+------------------+------+-------+--------------------+----------+

Processes:
+-----+------+--------------+-------+---------+------------+
| GPU | PID  | Container    | User  | Command | GPU Memory |
+=====+======+==============+=======+=========+============+
| 0   | 312  | 5c2fb1e5a0d7 | alice | python  | 3072MiB    |
| 0   | 4711 | N/A          | root  | Xorg    | N/A        |
+-----+------+--------------+-------+---------+------------+

Not shown: card 2: GPU is lost
`, "\n")
	expect := func(want string) {
		t.Helper()
		var out bytes.Buffer
		if err := SMI(t.Context(), &out, &source, nil); err != nil || out.String() != want {
			t.Errorf("table is\n%s%v, want\n%s", out.String(), err, want)
		}
	}
	expect(want)
	source.Set(Card{Index: "0", Model: "L40S"})
	expect(strings.TrimLeft(`
Driver Version: N/A   CUDA Version: N/A
+-----+------+--------+------+-------+--------------+----------+
| GPU | Name | Bus-Id | Temp | Power | Memory-Usage | GPU-Util |
+=====+======+========+======+=======+==============+==========+
| 0   | L40S | N/A    | 0C   | 0W    | N/A          | 0%       |
+-----+------+--------+------+-------+--------------+----------+

No running processes found
`, "\n"))
}

func TestSMIWithoutTheProgramTakesNoArguments(t *testing.T) {
	program(t, "")
	var source Simulated
	source.Set(Card{Index: "0"})
	var out bytes.Buffer
	if err := SMI(t.Context(), &out, &source, []string{"-L"}); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), `no program nvidia-smi to take ["-L"]`) || out.Len() > 0 {
		t.Errorf("SMI says %v", err)
	}
}

func TestSMIWithoutCardsSaysSo(t *testing.T) {
	program(t, "")
	var source Simulated
	source.Set()
	if err := SMI(t.Context(), &bytes.Buffer{}, &source, nil); !errors.Is(err, ErrNoGPU) {
		t.Errorf("SMI without a card fails with %v", err)
	}
	source.Lose("driver hangs")
	if err := SMI(t.Context(), &bytes.Buffer{}, &source, nil); err == nil || err.Error() != "read GPUs: driver hangs" {
		t.Errorf("SMI without knowledge fails with %v", err)
	}
}

func TestSMIPassesWhatReadsAndEnds(t *testing.T) {
	program(t, `for a; do echo "<$a>"; done`)
	for _, c := range []struct {
		args   string // separated by spaces
		passes bool
	}{
		{"", true},
		{"-L", true},
		{"-q", true},
		{"-q -i 0 -d MEMORY,UTILIZATION -x", true},
		{"-i=GPU-a -q", true},
		{"--query-gpu=name,memory.used --format=csv,noheader", true},
		{"--query-gpu=name --format csv", true},
		{"--query-compute-apps=pid --format=csv", true},
		{"--help-query-gpu", true},
		{"--version", true},
		{"topo -m", true},
		{"topo -p2p r", true},
		{"nvlink -s -i 0 -l 2", true},
		{"nvlink --status", true},
		{"mig -lgi", true},
		{"mig -lcip -gi 1", true},
		{"pmon -c 1", true},
		{"dmon -s pu -c 2", true},
		{"dmon -h", true},

		{"-l", false},
		{"-l 1", false},
		{"-q -l=1", false},
		{"--loop=1", false},
		{"-lms 100", false},
		{"-q -f /etc/passwd", false},
		{"-q --filename=/etc/passwd", false},
		{"-r", false},
		{"--gpu-reset -i 0", false},
		{"-pm 1", false},
		{"-pl 100", false},
		{"-mig 1", false},
		{"-i", false},
		{"-i -r", false},
		{"-L=1", false},
		{"-q 0", false},
		{"-i 0 -c 0", false}, // the compute mode
		{"mig -cgi 9", false},
		{"mig -dgi", false},
		{"nvlink -sc 0bz", false},
		{"nvlink -r 0", false},
		{"nvlink -c 0", false},
		{"topo -m -l 1", false},
		{"pmon", false},
		{"pmon -c 0", false},
		{"dmon -c x", false},
		{"dmon -c 1 -f /x", false},
		{"drain -p 0 -m 1", false},
		{"clocks -q", false},
		{"-", false},
		{"--", false},
	} {
		var out bytes.Buffer
		args := strings.Fields(c.args)
		err := SMI(t.Context(), &out, &Simulated{}, args)
		if !c.passes {
			if !errors.Is(err, ErrRefused) || out.Len() > 0 {
				t.Errorf("%q is not refused: %v", c.args, err)
			}
			continue
		}
		want := ""
		for _, a := range args {
			want += "<" + a + ">\n"
		}
		if err != nil || out.String() != want {
			t.Errorf("%q passes %q, %v", c.args, out.String(), err)
		}
	}
}

func TestARefusalSaysWhatAndWhy(t *testing.T) {
	for args, want := range map[string]string{
		"-q -f /x": "refused: nvidia-smi -f may change the card, write a file or never end: log in on the host for it",
		"mig -cgi": "refused: nvidia-smi mig -cgi may change the card, write a file or never end: log in on the host for it",
		"-l 1":     "refused: nvidia-smi -l may change the card, write a file or never end: log in on the host for it; ddocker nvidia-smi has its own -l",
		"pmon":     "refused: nvidia-smi pmon does not end by itself: add -c with a count",
	} {
		if err := reading(strings.Fields(args)); err == nil || err.Error() != want {
			t.Errorf("%q: %v", args, err)
		}
	}
}
