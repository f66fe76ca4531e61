package image

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A note that was half written when the agent died is no note, and does not stay.
func TestWhatWasHalfNotedIsRemoved(t *testing.T) {
	j := journal{dir: t.TempDir()}
	kept := record{ID: "sha256:" + "11aa", Used: time.Now()}
	if err := j.write(kept); err != nil {
		t.Fatal(err)
	}
	half := filepath.Join(j.dir, "22bb.json.new")
	if err := os.WriteFile(half, []byte(`{"id":`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := j.tidy(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(half); err == nil {
		t.Error("it is still there")
	}
	if _, err := os.Stat(j.path(kept.ID)); err != nil {
		t.Errorf("what was there beside is gone: %v", err)
	}
}
