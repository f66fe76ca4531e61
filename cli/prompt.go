package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// prompt asks the user questions. Answers are lines of one reader, whether a
// person types them or a pipe brings them.
type prompt struct {
	in    *bufio.Reader
	out   io.Writer
	typed bool // a person types the answers
}

// question is one that the seed asks.
type question struct {
	text string
	flag string // that would have answered it
}

// ask puts a question until accept takes the answer. What cannot be right the
// second time, because no person is there, is an error at once; so is the end
// of the input. An empty answer reaches accept as "".
func ask[T any](ctx context.Context, p *prompt, q question, accept func(answer string) (T, error)) (T, error) {
	for {
		fmt.Fprint(p.out, q.text)
		answer, err := p.line(ctx)
		if !p.typed || err != nil {
			fmt.Fprintln(p.out, answer)
		}
		var value T
		if err == nil {
			value, err = accept(answer)
			if err != nil && p.typed {
				fmt.Fprintln(p.out, err)
				continue
			}
		}
		if errors.Is(err, io.EOF) {
			err = fmt.Errorf("no answer to %q, the input has ended: give %s", strings.TrimSpace(q.text), q.flag)
		}
		return value, err
	}
}

// line reads one line without its end. Once ctx has ended it returns at once,
// and the prompt must not be used again: the read is still waiting.
func (p *prompt) line(ctx context.Context) (string, error) {
	type result struct {
		text string
		err  error
	}
	read := make(chan result, 1)
	go func() {
		text, err := p.in.ReadString('\n')
		if err == io.EOF && text != "" {
			err = nil // the last line lacks its end
		}
		read <- result{strings.TrimSpace(text), err}
	}()
	select {
	case r := <-read:
		return r.text, r.err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// numberBelow accepts a number of a menu, or fallback for an empty answer.
func numberBelow(limit, fallback int) func(string) (int, error) {
	return func(answer string) (int, error) {
		if answer == "" {
			return fallback, nil
		}
		n, err := strconv.Atoi(answer)
		if err != nil || n < 0 || n >= limit {
			return 0, fmt.Errorf("%q is not a number from 0 to %d", answer, limit-1)
		}
		return n, nil
	}
}

// textOr accepts any answer, or fallback for an empty one.
func textOr(fallback string) func(string) (string, error) {
	return func(answer string) (string, error) { return firstOf(answer, fallback), nil }
}

func printMenu(w io.Writer, title string, entries []string) {
	fmt.Fprintln(w, title)
	for i, entry := range entries {
		fmt.Fprintf(w, "%d : %s\n", i, entry)
	}
}
