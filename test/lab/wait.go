package lab

import (
	"context"
	"fmt"
	"testing"
	"time"
)

// beat is how often a condition is looked at.
const beat = 50 * time.Millisecond

// Poll calls holds until it returns nil, and returns nil then; or its last error
// when ctx ends first.
func Poll(ctx context.Context, holds func() error) error {
	tick := time.NewTicker(beat)
	defer tick.Stop()
	for {
		err := holds()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
	}
}

// Eventually fails the test unless holds returns nil within the limit.
func Eventually(t testing.TB, limit time.Duration, holds func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	if err := Poll(ctx, holds); err != nil {
		t.Fatal(err)
	}
}
