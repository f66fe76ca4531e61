package consensus

import (
	"encoding/json"
	"testing"

	"ddocker/consensus/ledger"
)

func TestANodesWordForAnotherIsRefusedByTheLeader(t *testing.T) {
	inCluster(t, 3, func(t *testing.T, c *cluster) {
		leader := c.leader()
		others := c.others(leader)
		liar, victim := others[0], others[1]
		for _, by := range []*node{liar, victim} {
			res, _, err := by.Propose(t.Context(), ledger.Command{Observe: &ledger.Observe{Node: victim.id, Closed: "said by " + by.id}})
			if err != nil || (res.Refusal == nil) != (by == victim) {
				t.Errorf("what %s says of %s: %v, %v", by.id, victim.id, res.Refusal, err)
			}
		}
		// It may say what it likes beside Propose too.
		index := leader.Applied()
		for _, entry := range []string{
			`{"v":4,"register":{"node":"n9","name":"h9"}}`, `{"v":99,"revoke":{}}`, `{"v":5,"raise":{"to":99}}`, `{"v":4,"better":{}}`, `{}`, `{`, `7`,
			`{"v":4,"release":{"placement":"p","node":"` + victim.id + `"}}`, `{"v":4,"REVOKE":{},"Evict":{"node":"` + victim.id + `"}}`,
		} {
			body, err := json.Marshal(request{Op: opPropose, Data: []byte(entry)})
			if err != nil {
				t.Fatal(err)
			}
			reply, err := leader.Serve(t.Context(), liar.id, body)
			var ans answer
			if err != nil || json.Unmarshal(reply, &ans) != nil || ans.Error == "" && ans.Result.Refusal == nil {
				t.Errorf("%s is answered with %s, %v", entry, reply, err)
			}
		}
		if now := leader.Applied(); now != index {
			t.Errorf("the log went on from %d to %d", index, now)
		}
		liar.propose(write(7))
	})
}
