package gossip

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
)

func checkKeys(keys [][]byte) error {
	if len(keys) == 0 {
		return errors.New("gossip without a key")
	}
	for _, k := range keys {
		if len(k) != 32 {
			return fmt.Errorf("gossip with a key of %d bytes: want 32", len(k))
		}
	}
	return nil
}

// SetKeys replaces the keys of Config, while gossip goes on. A cluster changes its key
// in three steps, each once all members have done the one before: the new key second,
// the new key first, the old key gone.
func (g *Gossip) SetKeys(keys [][]byte) error {
	if err := checkKeys(keys); err != nil {
		return err
	}
	g.keys.Lock() // two rings in turn would leave a mixture
	defer g.keys.Unlock()
	for _, k := range keys {
		if err := g.ring.AddKey(k); err != nil {
			return fmt.Errorf("add a gossip key: %w", err)
		}
	}
	if err := g.ring.UseKey(keys[0]); err != nil {
		return fmt.Errorf("use a gossip key: %w", err)
	}
	return g.removeKeysBut(keys)
}

// removeKeysBut removes keys from the end on, down to one that is kept: the ring then
// only shortens what others may be reading, whereas a hole would be filled under them.
// What that takes too much is added again.
func (g *Gossip) removeKeysBut(keys [][]byte) error {
	had := g.ring.GetKeys()
	first := slices.IndexFunc(had, func(k []byte) bool {
		return !slices.ContainsFunc(keys, func(o []byte) bool { return bytes.Equal(k, o) })
	})
	if first < 0 {
		return nil
	}
	for i := len(had) - 1; i >= first; i-- {
		if err := g.ring.RemoveKey(had[i]); err != nil {
			return fmt.Errorf("remove a gossip key: %w", err)
		}
	}
	for _, k := range keys {
		if err := g.ring.AddKey(k); err != nil {
			return fmt.Errorf("add a gossip key: %w", err)
		}
	}
	return nil
}
