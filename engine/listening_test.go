package engine

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestListeningPortsAreThoseBoundWithoutPeer(t *testing.T) {
	got, err := ListeningPorts("testdata/proc") // which has no udp6, as a kernel without IPv6
	if err != nil {
		t.Fatal(err)
	}
	want := []Listening{{22, "tcp"}, {22, "udp"}, {8080, "tcp"}, {65535, "tcp"}}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestListeningPortsRefusesATableItCannotRead(t *testing.T) {
	for _, line := range []string{"0: 00000000:0016 00000000:0000", "0: 00000000 00000000:0000 0A"} {
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, "net"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "net", "tcp"), []byte("heading\n"+line+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		if got, err := ListeningPorts(dir); err == nil {
			t.Errorf("%q was read as %v", line, got)
		}
	}
}

func TestListeningPortsSeesASocketOfThisProcess(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	got, err := ListeningPorts("/proc")
	if err != nil {
		t.Fatal(err)
	}
	mine := Listening{l.Addr().(*net.TCPAddr).AddrPort().Port(), "tcp"}
	if !slices.Contains(got, mine) {
		t.Errorf("%v is not among %v", mine, got)
	}
}
