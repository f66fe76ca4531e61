package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"

	"ddocker/crash"
)

// crashVariable has an agent kill itself at a step, as STEP or STEP@FILE. With a file it
// does so only where that is not there yet, and makes it: whoever restarts it may do so
// in the same environment. It is for tests.
const crashVariable = "DDOCKER_CRASH"

// suicide returns what is to be done at steps by the value of crashVariable.
func suicide(value string) (crash.Point, error) {
	if value == "" {
		return nil, nil
	}
	name, file, _ := strings.Cut(value, "@")
	last := crash.Step(name)
	if !slices.Contains(crash.Steps(), last) {
		return nil, fmt.Errorf("%s=%s: there is no step %s, but %v", crashVariable, value, last, crash.Steps())
	}
	return func(s crash.Step) {
		if s != last || file != "" && !begun(file) {
			return
		}
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}, nil
}

// begun makes the file and says whether it was not there. One that cannot be made stops
// nothing.
func begun(file string) bool {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return !errors.Is(err, fs.ErrExist)
	}
	f.Close()
	return true
}
