package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
)

// coreShare is the metric of gpu's own benchmark.
var coreShare = regexp.MustCompile(`([0-9.e+-]+) %core`)

// gpu measures what it takes to read eight cards at each interval. The child is no
// part of what can be called from here, and its twin of the driver is in its tests.
func (b *bench) gpu(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, "go", "test", "ddocker/gpu", "-run", "^$", "-bench", "^BenchmarkReadingOfEightCards$", "-benchtime", "1000x", "-count", strconv.Itoa(b.n))
	cmd.Env = append(os.Environ(), "CGO_CFLAGS=-Wno-deprecated-declarations")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	share := sample{unit: "%"}
	for _, found := range coreShare.FindAllSubmatch(out, -1) {
		percent, err := strconv.ParseFloat(string(found[1]), 64)
		if err != nil {
			return err
		}
		share.values = append(share.values, percent)
	}
	b.limited("reading 8 GPUs: CPU of one core, driver's own time aside", share.median(), "%.3f %%", 1, share.String())
	return nil
}
