package main

import (
	"path/filepath"
	"strings"
	"testing"

	"ddocker/crash"
)

func TestAnAgentIsToldOnlyOfStepsThatThereAre(t *testing.T) {
	if p, err := suicide(""); p != nil || err != nil {
		t.Errorf("of none it is told %v", err)
	}
	if _, err := suicide("create.gone"); err == nil || !strings.Contains(err.Error(), "there is no step create.gone, but [create.asked ") {
		t.Errorf("of another it is told: %v", err)
	}
	file := filepath.Join(t.TempDir(), "died")
	p, err := suicide("create.made@" + file)
	if err != nil {
		t.Fatal(err)
	}
	p.At(crash.CreateAsked) // and goes on
	if !begun(file) || begun(file) {
		t.Error("the file is not the first one's")
	}
	p.At(crash.CreateMade) // and goes on, since the file is there
}
