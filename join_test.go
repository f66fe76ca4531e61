package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func founder(t *testing.T, dir string) *agentConfig {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(dir, dirRaft), 0o700); err != nil {
		t.Fatal(err)
	}
	return &agentConfig{DataDir: dir, Name: "n1", Advertise: "10.0.0.1:7722", life: certificateLife, Logger: slog.New(slog.DiscardHandler)}
}

func TestNoSecondClusterIsFoundedWhereOneWas(t *testing.T) {
	dir := t.TempDir()
	cfg := founder(t, dir)
	first, err := enter(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, fileFounding)); err != nil { // as when founding is over
		t.Fatal(err)
	}
	if again, err := enter(t.Context(), cfg); err != nil || again.NodeID() != first.NodeID() {
		t.Fatalf("the second start: %v", err)
	}
	key, err := os.ReadFile(filepath.Join(dir, fileCAKey))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, dirTLS)); err != nil { // as a damaged log does
		t.Fatal(err)
	}
	if _, err := enter(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "belonged to a cluster") {
		t.Errorf("got %v", err)
	}
	if now, err := os.ReadFile(filepath.Join(dir, fileCAKey)); err != nil || string(now) != string(key) {
		t.Errorf("the CA's key was touched: %v", err)
	}
}

func TestFoundingThatBrokeOffBeginsAnew(t *testing.T) {
	dir := t.TempDir()
	cfg := founder(t, dir)
	if _, err := enter(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, dirTLS)); err != nil { // the marker is still there
		t.Fatal(err)
	}
	if _, err := enter(t.Context(), cfg); err != nil {
		t.Error(err)
	}
}

func TestNodeNamesAreThoseOfHosts(t *testing.T) {
	for _, name := range []string{"", "grün", "a b", "-x", strings.Repeat("x", 64), "a/b"} {
		cfg := agentConfig{Name: name, Advertise: "10.0.0.1"}
		if err := cfg.complete(); err == nil || !strings.Contains(err.Error(), "--name") {
			t.Errorf("%q: got %v", name, err)
		}
	}
}
