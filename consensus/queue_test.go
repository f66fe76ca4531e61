package consensus

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestWhoAsksTheLeaderWaitsForItsTurn(t *testing.T) {
	inCluster(t, 3, func(t *testing.T, c *cluster) {
		asker := c.others(c.leader())[0]
		for range maxAsking {
			asker.asking <- struct{}{}
		}
		began := time.Now()
		_, _, err := asker.Propose(t.Context(), write(1))
		var none *NoLeaderError
		if !errors.As(err, &none) || !strings.Contains(err.Error(), "64 others ask it at once") || time.Since(began) != holdLeaderless {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		time.AfterFunc(time.Second, func() { <-asker.asking })
		began = time.Now()
		if _, _, err := asker.Propose(t.Context(), write(2)); err != nil || time.Since(began) < time.Second {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		if len(asker.asking) != maxAsking-1 {
			t.Errorf("%d ask in the end", len(asker.asking))
		}
		for range maxAsking - 1 {
			<-asker.asking
		}
	})
}
