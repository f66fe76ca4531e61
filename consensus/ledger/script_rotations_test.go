package ledger

import (
	"fmt"
	"strings"
	"testing"
)

func (a args) rotationCommand(verb string, c *Command) {
	switch verb {
	case "rotate":
		c.Rotate = &Rotate{Kind: Secret(a.word(0)), ID: a.word(1), Data: "about " + a.word(1), By: a.key("by")}
	case "advance":
		c.Advance = &Advance{Secret(a.word(0)), a.word(1), Stage(a.key("to"))}
	case "remove":
		c.Remove = &Remove{Node: a.word(0), By: a.key("by"), Left: a.has("left"), Force: a.has("force")}
	default:
		a.t.Fatalf("no such command: %s", verb)
	}
}

func rotationState(b *strings.Builder, l *Ledger) {
	for _, r := range l.rotations {
		fmt.Fprintf(b, "rotation %s of the %s key: %s\n", r.ID, r.Kind, r.Stage)
	}
	if l.Spilled() {
		b.WriteString("a removed node knows the gossip key\n")
	}
}

func TestASnapshotWithTwoOpenRotationsOfAKindIsRefused(t *testing.T) {
	two := `{"v":5,"settings":{},"rotations":[{"kind":"gossip","id":"a","stage":"use"},{"kind":"gossip","id":"b","stage":"install"}]}`
	if err := New().Restore(strings.NewReader(two)); err == nil || !strings.Contains(err.Error(), "two rotations") {
		t.Errorf("restored: %v", err)
	}
}
