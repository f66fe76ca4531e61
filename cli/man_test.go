package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestEveryCommandHasAManualPage(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "man")
	newAgent(t).runs(t, "", "man", dir).wants(t, 0, "", "")
	page, err := os.ReadFile(filepath.Join(dir, "ddocker-create.1"))
	if err != nil || !strings.Contains(string(page), "--gpus") || strings.Contains(string(page), "[flags]") {
		t.Errorf("ddocker-create.1: %v\n%s", err, page)
	}
}
