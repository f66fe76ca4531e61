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
	for name, says := range map[string]string{"ddocker-create.1": "--gpus", "ddocker-image-replicate.1": "--hosts", "ddocker-history.1": "-H"} {
		page, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || !strings.Contains(string(page), says) || strings.Contains(string(page), "[flags]") {
			t.Errorf("%s: %v\n%s", name, err, page)
		}
	}
}
