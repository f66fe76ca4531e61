package docker

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// step is one step of a script and what it came to.
type step struct {
	name   string
	fields map[string]any // trees of maps, slices and scalars, as JSON has them
	took   time.Duration
}

// slowest is how long one step of a shell script may take.
const slowest = time.Minute

// prelude makes a shell take lines from its standard input, do each and answer with
// its exit code. A docker command that hangs ends with 124. soon does its words until
// they succeed, for twenty seconds at most; tty does them on a terminal. elsewhere says nothing as
// long as no container but hold is on the engine of the node that is asked.
const prelude = `
exec 3>&1
docker() { timeout --foreground -k 1 25 "${DOCKER:-docker}" "$@"; }
soon() { local end=$((SECONDS+20)); until eval "$@"; do [ $SECONDS -lt $end ] || { echo "never: $*"; return 1; }; done; }
tty() { (set -o pipefail; script -qec "$1" /dev/null </dev/null | busybox tr -d '\r\004^@' | busybox grep .); }
elsewhere() { [ -z "$ENTRY" ] || docker -H "$ENTRY" ps -a --format '{{.Names}} is on the node that was asked' | busybox sed '/^hold /d'; }
while IFS= read -r line; do
  eval "$line" >"$OUT" 2>"$ERR" </dev/null
  echo "$?" >&3
done
`

// shell has one shell do a script, of which each line is a step. It stands in dir,
// which is empty but for the files of testdata/files. Lines that are empty or begin
// with # are none.
func shell(ctx context.Context, s side, script, dir string, env ...string) ([]step, error) {
	text, err := os.ReadFile(script)
	if err != nil {
		return nil, err
	}
	out, fault := filepath.Join(dir, ".out"), filepath.Join(dir, ".err")
	work := filepath.Join(dir, "work")
	if err := os.CopyFS(work, os.DirFS(filepath.Join(filepath.Dir(script), "files"))); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	args := append([]string{"env", "-C", work, "DOCKER_HOST=" + s.socket, "DOCKER_CONFIG=" + dir, "ENTRY=" + s.own, "OTHER=" + s.other,
		"OUT=" + out, "ERR=" + fault, "LANG=C", "TZ=UTC"}, env...)
	cmd := s.host.Command(ctx, append(args, "bash", "-c", prelude)...)
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	codes, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	var noise bytes.Buffer
	cmd.Stderr = &noise
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	var steps []step
	answers := bufio.NewReader(codes)
	for _, line := range strings.Split(string(text), "\n") {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		stuck := time.AfterFunc(slowest, cancel)
		began := time.Now()
		fmt.Fprintln(in, line)
		code, err := answers.ReadString('\n')
		stuck.Stop()
		took := time.Since(began)
		if err != nil {
			cmd.Wait()
			return steps, fmt.Errorf("step %d, %s: the shell ended or took longer than %s: %w\n%s", len(steps)+1, line, slowest, err, noise.String())
		}
		fields := map[string]any{"code": strings.TrimSpace(code)}
		for name, file := range map[string]string{"stdout": out, "stderr": fault} {
			said, err := os.ReadFile(file)
			if err != nil {
				return steps, err
			}
			fields[name] = tree(said)
		}
		steps = append(steps, step{line, fields, took})
	}
	return steps, errors.Join(in.Close(), cmd.Wait())
}

// program runs a program that prints one object a step: its name under "step", and
// whatever else it found.
func program(ctx context.Context, s side, dir string, args ...string) ([]step, error) {
	cmd := s.host.Command(ctx, append([]string{"env", "DOCKER_HOST=" + s.socket, "DOCKER_CONFIG=" + dir, "ENTRY=" + s.own, "TMPDIR=" + dir, "TZ=UTC"}, args...)...)
	var out, fault bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &fault
	ended := cmd.Run()
	if ended != nil {
		ended = fmt.Errorf("%w\n%s", ended, fault.String())
	}
	var steps []step
	for lines := json.NewDecoder(&out); ; {
		var fields map[string]any
		err := lines.Decode(&fields)
		if errors.Is(err, io.EOF) {
			return steps, ended
		}
		if err != nil {
			return steps, errors.Join(err, ended)
		}
		name := fmt.Sprint(fields["step"])
		delete(fields, "step")
		steps = append(steps, step{name, normal("", fields).(map[string]any), 0})
	}
}

// tree makes of what a command wrote what it means: JSON, or lines of text.
func tree(text []byte) any {
	var values []any
	if start := bytes.TrimLeft(text, " \n"); len(start) > 0 && (start[0] == '{' || start[0] == '[') {
		for lines := json.NewDecoder(bytes.NewReader(text)); ; {
			var v any
			err := lines.Decode(&v)
			if errors.Is(err, io.EOF) {
				return normal("", values)
			}
			if err != nil {
				break // it only began as JSON does
			}
			values = append(values, v)
		}
	}
	if len(text) == 0 {
		return []any{}
	}
	values = nil
	for _, line := range strings.Split(strings.TrimSuffix(string(text), "\n"), "\n") {
		values = append(values, line)
	}
	return normal("", values)
}

func pretty(v any) string {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err.Error()
	}
	return string(text)
}
