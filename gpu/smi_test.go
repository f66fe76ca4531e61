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
	program(t, "echo > "+started+"; while :; do :; done")
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
	source.Set(
		Card{UUID: "GPU-a", Index: "0", Model: "TITAN Xp", Memory: 12 << 30, Used: 3 << 30, Utilization: 42, Temperature: 70, Power: 250_000},
		Card{UUID: "GPU-b", Index: "1", Model: "A100"},
	)
	var out bytes.Buffer
	if err := SMI(t.Context(), &out, &source, nil); err != nil {
		t.Fatal(err)
	}
	want := strings.TrimLeft(`
GPU   NAME       UUID    TEMP   POWER   MEMORY             UTIL
0     TITAN Xp   GPU-a   70C    250W    3072 / 12288 MiB   42%
1     A100       GPU-b   0C     0W      0 / 0 MiB          0%
`, "\n")
	if out.String() != want {
		t.Errorf("table is\n%s, want\n%s", out.String(), want)
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
