package engine

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// machine lays out files of a machine: path to content.
func machine(t *testing.T, files map[string]string) (root string) {
	t.Helper()
	root = t.TempDir()
	for name, content := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestCoresAreTheEnginesOwnThatAreOnline(t *testing.T) {
	root := machine(t, map[string]string{
		"proc/77/comm":                  "dockerd\n",
		"proc/77/status":                "Name:\tdockerd\nCpus_allowed:\tff\nCpus_allowed_list:\t2-7\nMems_allowed:\t1\n",
		"sys/devices/system/cpu/online": "0-3,6\n",
	})
	if got := daemon(root, 77).cores(); !slices.Equal(got, []int{2, 3, 6}) {
		t.Errorf("cores are %v", got)
	}
	if got := (process{}).cores(); got != nil {
		t.Errorf("no process has cores %v", got)
	}
}

func TestSocketOfSystemdLeadsToTheOnlyDockerd(t *testing.T) {
	files := map[string]string{"proc/1/comm": "systemd\n", "proc/50/comm": "bash\n", "proc/77/comm": "dockerd\n"}
	if got := daemon(machine(t, files), 1).pid; got != 77 {
		t.Errorf("the engine is %d, want 77", got)
	}
	files["proc/78/comm"] = "dockerd\n"
	if got := daemon(machine(t, files), 1).pid; got != 0 {
		t.Errorf("of two engines %d was chosen", got)
	}
	if got := daemon(machine(t, files), 78).pid; got != 78 {
		t.Errorf("the engine is %d, want 78 that opened the socket", got)
	}
}
