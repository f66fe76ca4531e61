package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"regexp"
	"strings"

	"github.com/containerd/errdefs"
	dockercli "github.com/docker/cli/cli"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// exitError ends the program with a code of its own. A nil err means that
// everything has been said already.
type exitError struct {
	code int
	err  error
}

// Error says what the cause says, if there is one.
func (e exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

// Unwrap returns the cause.
func (e exitError) Unwrap() error { return e.err }

// refused marks err as a refusal of create or exec, with docker's exit code.
func refused(err error) error {
	if err == nil {
		return nil
	}
	return exitError{code: 125, err: err}
}

// usageError is a command line that cannot be understood.
type usageError struct {
	command *cobra.Command
	code    int
	message string
}

func (e usageError) Error() string {
	path := e.command.CommandPath()
	text := e.message + "\n\n"
	if !e.command.HasSubCommands() {
		text += "Usage:  " + useLine(e.command) + "\n\n"
	}
	return text + "Run '" + path + " --help' for more information"
}

func flagError(c *cobra.Command, err error) error {
	return usageError{c, 125, err.Error()}
}

// arguments accepts least to most arguments; a negative most means any number.
func arguments(least, most int) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		want := ""
		switch {
		case len(args) < least && least == most:
			want = "requires " + count(least, "argument")
		case len(args) < least:
			want = "requires at least " + count(least, "argument")
		case most == 0 && len(args) > 0:
			want = "accepts no arguments"
		case most > 0 && len(args) > most:
			want = "requires at most " + count(most, "argument")
		default:
			return nil
		}
		return usageError{c, 1, "'" + c.CommandPath() + "' " + want}
	}
}

// reference is what names and IDs of containers and images consist of. Anything
// else would become another path of the API than was meant.
var reference = regexp.MustCompile(`^/?[a-zA-Z0-9][a-zA-Z0-9_.:@-]*(/[a-zA-Z0-9][a-zA-Z0-9_.:@-]*)*$`)

// named checks the number of arguments, and that the first so many of them, or
// all with -1, can be names.
func named(least, most, names int) cobra.PositionalArgs {
	number := arguments(least, most)
	return func(c *cobra.Command, args []string) error {
		if err := number(c, args); err != nil {
			return err
		}
		for i, arg := range args {
			if (names < 0 || i < names) && !reference.MatchString(arg) {
				return fmt.Errorf("no container or image can have the name %q: nothing was done", arg)
			}
		}
		return nil
	}
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// exit says what went wrong, if it has not been said, and returns the
// process's exit code for err.
func (a *app) exit(ctx context.Context, err error) int {
	if err == nil {
		return 0
	}
	var own exitError
	isOwn := errors.As(err, &own)
	var docker dockercli.StatusError // of its own commands
	isDocker := errors.As(err, &docker)
	if ctx.Err() != nil && (!isOwn && !isDocker || errors.Is(err, context.Canceled)) {
		return cmp.Or(interrupted(ctx), 130)
	}
	if errdefs.IsCanceled(err) && !errors.Is(err, context.Canceled) {
		return 0 // a question of docker's was answered with no
	}
	if isDocker && docker.Error() == "" {
		return docker.StatusCode
	}
	if !isOwn || own.err != nil {
		a.complain(err)
	}
	var usage usageError
	var unknown *pflag.NotExistError // before a command's name
	switch {
	case isOwn:
		return own.code
	case isDocker:
		return cmp.Or(docker.StatusCode, 1)
	case errors.As(err, &usage):
		return usage.code
	case errors.As(err, &unknown):
		return 125
	}
	return 1
}

// complain prints err as one sentence on standard error.
func (a *app) complain(err error) {
	fmt.Fprintln(a.Stderr, "Error: "+describe(err))
}

// describe turns an error of any layer into the sentence a user should read.
func describe(err error) string {
	var unreachable *unreachableError
	if errors.As(err, &unreachable) {
		return unreachable.Error()
	}
	var broken *url.Error // of ours: an extra command's own says better what it is about
	if errors.As(err, &broken) && strings.Contains(broken.URL, "//"+agentName+"/") {
		if errors.Is(err, context.DeadlineExceeded) {
			return `the ddocker agent did not answer in time: look at it with "ddocker nodes", or name another one with -H HOST`
		}
		return "the ddocker agent broke the connection off (" + broken.Err.Error() + "): see what came of it with \"ddocker ps -a\", or name another one with -H HOST"
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return `the ddocker agent broke off in the middle of its answer: see what came of it with "ddocker ps -a" or "ddocker images"`
	}
	text := strings.TrimPrefix(strings.TrimPrefix(err.Error(), "docker: "), "ddocker: ") // as docker's own commands begin
	text = strings.ReplaceAll(text, "\nError response from daemon: ", "\nError: ")       // one of several
	text = strings.ReplaceAll(text, "Error response from daemon: ", "")
	text = strings.ReplaceAll(text, "Run 'docker ", "Run 'ddocker ")
	return strings.TrimPrefix(text, "Error: ")
}

// each does the same to every name. What fails is told at once and the rest
// goes on, unless the agent is gone or the user has had enough.
func (a *app) each(ctx context.Context, names []string, do func(name string) error) error {
	var failed error
	for _, name := range names {
		err := do(name)
		if err == nil {
			continue
		}
		var unreachable *unreachableError
		if ctx.Err() != nil || errors.As(err, &unreachable) {
			return err
		}
		a.complain(err)
		failed = exitError{code: 1}
	}
	return failed
}
