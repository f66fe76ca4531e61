package docker

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// said is a step of a shell script that wrote these lines.
func said(name, out string) step {
	return step{name: name, fields: map[string]any{"code": "0", "stdout": tree([]byte(out))}}
}

func TestCompareNamesEveryFieldThatDiffers(t *testing.T) {
	for _, c := range []struct {
		name string
		a, b []step
		want []string
	}{
		{"nothing differs", []step{said("s", "x\n")}, []step{said("s", "x\n")}, nil},
		{"a line", []step{said("s", "x\ny\n")}, []step{said("s", "x\nz\n")}, []string{`s | /stdout/1: "y" => "z"`}},
		{"more lines", []step{said("s", "x\n")}, []step{said("s", "x\ny\n")}, []string{`s | /stdout: ["x"] => ["x","y"]`}},
		{"a field of JSON", []step{said("s", `{"A":{"B":1}}`)}, []step{said("s", `{"A":{"B":2}}`)}, []string{`s | /stdout/0/A/B: 1 => 2`}},
		{"a field too many", []step{said("s", `[{"A":1}]`)}, []step{said("s", `[{"A":1,"B":[]}]`)}, []string{`s | /stdout/0/0/B: nothing => []`}},
		{"a field too few", []step{said("s", `{"A":null}`)}, []step{said("s", `{}`)}, []string{`s | /stdout/0/A: null => nothing`}},
		{"a kind", []step{said("s", `{"A":"1"}`)}, []step{said("s", `{"A":1}`)}, []string{`s | /stdout/0/A: "1" => 1`}},
		{"JSON and text", []step{said("s", `{}`)}, []step{said("s", "no\n")}, []string{`s | /stdout/0: {} => "no"`}},
		{"a step too few", []step{said("s", ""), said("t", "")}, []step{said("s", "")}, []string{`t | : {"code":"0","stdout":[]} => nothing`}},
	} {
		var got []string
		for _, d := range compare(c.a, c.b) {
			got = append(got, d.String())
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

func TestOnlyWhatVariesIsEvenedOut(t *testing.T) {
	id := strings.Repeat("0123456789abcdef", 4)
	for _, c := range []struct{ a, b, want string }{
		{`{"Id":"` + id + `"}`, `{"Id":"sha256:` + id + `"}`, `s | /stdout/0/Id: "<id>" => "sha256:<id>"`},
		{`{"Pid":12}`, `{"Pid":13}`, ""},
		{`{"Pid":12}`, `{"Pid":0}`, `s | /stdout/0/Pid: "<varies>" => 0`},
		{`{"IPAddress":"172.17.0.2"}`, `{"IPAddress":"172.18.0.9"}`, ""},
		{`{"IPAddress":"172.17.0.2"}`, `{"IPAddress":""}`, `s | /stdout/0/IPAddress: "<ip>" => ""`},
		{"Up 3 seconds", "Up About a minute", ""},
		{"Up 3 seconds", "Up 3 seconds (Paused)", `s | /stdout/0: "Up <a while>" => "Up <a while> (Paused)"`},
		{"2026-01-02T03:04:05.678Z x", "2026-01-02T03:04:05Z x", ""},
		{"0.0.0.0:49153->80/tcp", "0.0.0.0:25000->80/tcp", ""},
		{"0.0.0.0:49153->80/tcp", "0.0.0.0:8080->80/tcp", `s | /stdout/0: "0.0.0.0:<port>->80/tcp" => "0.0.0.0:8080->80/tcp"`},
	} {
		got := ""
		for _, d := range compare([]step{said("s", c.a)}, []step{said("s", c.b)}) {
			got += d.String()
		}
		if got != c.want {
			t.Errorf("%s and %s: got %s, want %s", c.a, c.b, got, c.want)
		}
	}
}

func TestTheListAllowsWhatItSaysAndMustBeUsed(t *testing.T) {
	name := filepath.Join(t.TempDir(), "list")
	write := func(text string) {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("Why this is so.\n\tcli: one\n\tcli,sdk: two\n\nWhy that is so.\n\tsdk: three\n")
	l, err := readList(name, "cli")
	if err != nil || len(l) != 2 {
		t.Fatalf("got %d lines and %v", len(l), err)
	}
	if !l.allows(difference{step: "one"}) || l.allows(difference{step: "three"}) {
		t.Error("the list allows other differences than it says")
	}
	if idle := l.idle(); len(idle) != 1 || idle[0].line != 3 {
		t.Errorf("%d lines are idle, not the one in line 3", len(idle))
	}
	for _, wrong := range []string{"\tcli: no reason\n", "Why.\n\tno client\n", "Why.\n\tcli: (\n", "Why.\n\n\tcli: after a gap\n"} {
		write(wrong)
		if _, err := readList(name, "cli"); err == nil {
			t.Errorf("%q is taken for a list", wrong)
		}
	}
}
