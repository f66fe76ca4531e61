package ledger

import (
	"testing"
	"time"
)

func TestALedgerOfBeforeKnowsWhatWasTakenBackSince(t *testing.T) {
	index := uint64(0)
	do := func(l *Ledger, c Command) {
		t.Helper()
		data, err := Encode(c)
		if err != nil {
			t.Fatal(err)
		}
		index++
		if res := l.Apply(index, start(), data); res.Refusal != nil {
			t.Fatal(res.Refusal)
		}
	}
	later := start().Add(time.Hour)
	now := New()
	for _, c := range []Command{
		{Register: &Register{Node: "n1", Name: "gpu1", Speaks: 5}}, {Register: &Register{Node: "n2", Name: "gpu2", Speaks: 5}}, {Raise: &Raise{To: 5}},
		{AddToken: &Token{Hash: "kept", Expires: later, Uses: 1}}, {AddToken: &Token{Hash: "revoked", Expires: later, Uses: 1}},
		{AddUser: &AddUser{Name: "alice", Role: Member}}, {AddKey: &AddKey{"alice", UserKey{"k1", later}}},
		{AddUser: &AddUser{Name: "bob", Role: Member}}, {AddKey: &AddKey{"bob", UserKey{"k2", later}}},
	} {
		do(now, c)
	}
	before := restored(t, now)
	for _, c := range []Command{{Remove: &Remove{Node: "n2", By: "root"}}, {Revoke: &Revoke{"revoked"}}, {RemoveUser: &RemoveUser{"bob"}}} {
		do(now, c)
	}
	before.Outlive(now)
	if before.Node("n2") != nil || before.GoneNode("n2") == nil || before.Node("n1") == nil {
		t.Error("the node that was removed is one again")
	}
	if before.HasToken("revoked") || !before.HasToken("kept") {
		t.Error("the token that was revoked is good again")
	}
	if before.UserByKey("k2", start()) != nil || before.UserByKey("k1", start()) == nil {
		t.Error("the key of a removed user speaks for him again")
	}
	consistent(t, before)
}
