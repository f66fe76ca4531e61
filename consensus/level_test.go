package consensus

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"ddocker/consensus/ledger"
)

// upgrade starts the node again as one that reads what this ddocker does.
func (nd *node) upgrade() {
	nd.halt()
	nd.reads = 0
	nd.start()
	nd.of.eventually("the upgraded node follows", nd.of.complete)
}

func (c *cluster) lifted() bool {
	for _, nd := range c.nodes {
		if nd.host != nil && nd.level() != ledger.Version {
			return false
		}
	}
	return true
}

// tooNew returns an entry in the node's log that an older ddocker would halt at.
func (nd *node) tooNew() string {
	first, err := nd.stores.log.FirstIndex()
	last, err2 := nd.stores.log.LastIndex()
	if err != nil || err2 != nil {
		return fmt.Sprint(err, err2)
	}
	for i := first; i <= last && i > 0; i++ {
		var entry raft.Log
		if err := nd.stores.log.GetLog(i, &entry); err != nil {
			return err.Error()
		}
		if entry.Type == raft.LogCommand && !strings.HasPrefix(string(entry.Data), `{"v":4`) {
			return string(entry.Data)
		}
	}
	return ""
}

var addAlice = ledger.Command{AddUser: &ledger.AddUser{Name: "alice", Role: ledger.Member}}

// refused proposes a command on the node and returns why not.
func (nd *node) refused(cmd ledger.Command) string {
	nd.of.t.Helper()
	res, _, err := nd.Propose(nd.of.t.Context(), cmd)
	if err != nil {
		nd.of.t.Fatal(err)
	}
	if res.Refusal == nil {
		return ""
	}
	return res.Refusal.Message
}

// Hosts are upgraded one by one, whichever leads, and what is new is refused by name
// until the last one is.
func TestAClusterIsUpgradedNodeByNode(t *testing.T) {
	for _, order := range [][]int{{0, 1, 2}, {2, 1, 0}, {1, 0, 2}} {
		inMixedCluster(t, 3, []int{0, 1, 2}, func(t *testing.T, c *cluster) {
			for i, at := range order {
				c.nodes[at].upgrade()
				c.nodes[at].propose(write(uint16(100 + i)))
				if i == len(order)-1 {
					break
				}
				time.Sleep(time.Minute)
				said := c.nodes[at].refused(addAlice)
				if !strings.Contains(said, "upgrade it on") {
					t.Errorf("after %v: said %q", order[:i+1], said)
				}
				for _, left := range order[i+1:] {
					// an older leader does not know who else is behind
					if name := fmt.Sprintf("h%d", left+1); !strings.Contains(said, name) && !strings.Contains(said, "h"+c.leader().id[1:]) {
						t.Errorf("after %v: %s is not named in %q", order[:i+1], name, said)
					}
				}
				for _, nd := range c.nodes {
					if entry := nd.tooNew(); entry != "" {
						t.Fatalf("%s has in its log %s", nd.id, entry)
					}
				}
			}
			c.eventually("the level is raised by itself", c.lifted)
			c.nodes[order[0]].propose(addAlice)
		})
	}
}

func TestACommandRaisesTheLevelThatItNeedsAtOnce(t *testing.T) {
	inCluster(t, 3, func(t *testing.T, c *cluster) {
		nd := c.others(c.leader())[0]
		if nd.level() >= addAlice.Since() {
			t.Fatal("it was raised by itself before")
		}
		index := nd.propose(addAlice)
		if err := nd.Wait(t.Context(), index); err != nil || nd.level() != addAlice.Since() {
			t.Errorf("level %d, %v", nd.level(), err)
		}
	})
}

// A host that is gone for good with an old ddocker keeps nobody from removing it.
func TestAnOldNodeThatIsGoneCanBeRemoved(t *testing.T) {
	inMixedCluster(t, 4, []int{3}, func(t *testing.T, c *cluster) {
		old := c.nodes[3]
		if said := c.nodes[0].refused(addAlice); !strings.HasSuffix(said, "upgrade it on h4") {
			t.Errorf("said %q", said)
		}
		old.crash()
		time.Sleep(time.Minute)
		if said := c.nodes[0].refused(addAlice); !strings.HasSuffix(said, "upgrade it on h4") {
			t.Errorf("dead: said %q", said)
		}
		c.nodes[0].propose(ledger.Command{Remove: &ledger.Remove{Node: old.id}})
		c.nodes[0].propose(addAlice)
	})
}

// Replicas that were an older ddocker's when a node said what it reads never heard of it:
// they must not come to another answer for that.
func TestTheLevelIsRaisedOnEveryReplicaAlike(t *testing.T) {
	inMixedCluster(t, 3, []int{1, 2}, func(t *testing.T, c *cluster) {
		for _, nd := range c.nodes {
			nd.propose(ledger.Command{Register: &ledger.Register{Node: nd.id, Name: "h" + nd.id[1:], Key: "k"}})
		}
		for _, nd := range c.nodes {
			nd.View(func(l *ledger.Ledger) {
				if n := l.Node("n1"); n == nil || n.Key != "" {
					t.Errorf("%s has %+v", nd.id, n)
				}
			})
		}
		c.nodes[1].upgrade()
		c.nodes[2].upgrade()
		c.eventually("the level is raised", c.lifted)
		index := c.nodes[0].propose(ledger.Command{Register: &ledger.Register{Node: "n1", Name: "h1", Key: "k"}})
		for _, nd := range c.nodes {
			if err := nd.Wait(t.Context(), index); err != nil {
				t.Fatal(err)
			}
			nd.View(func(l *ledger.Ledger) {
				if l.Node("n1").Key != "k" {
					t.Errorf("%s has no key", nd.id)
				}
			})
		}
	})
}
