package ledger

import (
	"reflect"
	"testing"
	"time"

	"ddocker/sched"
	"ddocker/settings"
)

// rights says of each verb, in each way it is said, from whom the leader takes it: node
// "a" is the holder, "b" another.
var rights = []struct {
	name string
	c    Command
	a, b bool
}{
	{"a registers", Command{Register: &Register{Node: "a"}}, true, false},
	{"a observes", Command{Observe: &Observe{Node: "a"}}, true, false},
	{"a reservation on a", Command{Reserve: &Reserve{Placement: "q", Candidates: []string{"a"}}}, true, true},
	{"a confirms", Command{Confirm: &Confirm{Placement: "p", Node: "a"}}, true, false},
	{"a confirms, unnamed", Command{Confirm: &Confirm{Placement: "p"}}, true, false},
	{"a confirms what is not known", Command{Confirm: &Confirm{Placement: "x"}}, true, true},
	{"a releases", Command{Release: &Release{Placement: "p", Node: "a"}}, true, false},
	{"a releases, unnamed", Command{Release: &Release{Placement: "p"}}, true, false},
	{"a finds it expired", Command{Release: &Release{Placement: "p", Node: "a", Expired: true}}, true, false},
	{"it is abandoned", Command{Release: &Release{Placement: "p", Expired: true}}, true, true},
	{"a rename", Command{Rename: &Rename{Placement: "p", Name: "n"}}, true, true},
	{"a limits", Command{Limit: &Limit{Placement: "p"}}, true, false},
	{"settings", Command{Configure: &settings.Settings{}}, true, true},
	{"a token", Command{AddToken: &Token{}}, true, true},
	{"a joiner's token", Command{UseToken: &UseToken{}}, true, true},
	{"a token's end", Command{Revoke: &Revoke{}}, true, true},
	{"a is drained", Command{Drain: &Drain{Node: "a"}}, true, true},
	{"a is labelled", Command{LabelNode: &LabelNode{Node: "a"}}, true, true},
	{"a claim of an image that a makes", Command{Claim: &Claim{Node: "a"}}, true, true},
	{"a claim given up", Command{Unclaim: &Unclaim{}}, true, true},
	{"a names what it has", Command{NameImage: &NameImage{Image: Image{Node: "a"}}}, true, false},
	{"a name for what was seen", Command{NameImage: &NameImage{}}, true, true},
	{"a merges", Command{Merge: &Merge{Node: "a"}}, true, false},
	{"a name taken", Command{Unname: &Unname{}}, true, true},
	{"a evicts", Command{Evict: &Evict{Node: "a"}}, true, false},
	{"an object on a", Command{Define: &Define{Home: "a"}}, true, true},
	{"a made what is new", Command{Made: &Made{Kind: Network, Name: "new", Node: "a", ID: "1"}}, true, true},
	{"a made it, told again", Command{Made: &Made{Kind: Network, Name: "old", Node: "a", ID: "1"}}, true, true},
	{"a made another", Command{Made: &Made{Kind: Network, Name: "old", Node: "a", ID: "2"}}, true, false},
	{"a found it", Command{Made: &Made{Kind: Network, Name: "new", Node: "a", ID: "1", Found: true}}, true, false},
	{"a has it no more", Command{Unmade: &Unmade{Kind: Network, Name: "old", Node: "a", ID: "1"}}, true, false},
	{"an object ends", Command{Undefine: &Undefine{Done: []string{"a"}}}, true, true},
	{"a connection", Command{Attach: &Attach{Placement: "p"}}, true, true},
	{"a move to a", Command{Move: &Move{Candidates: []string{"a"}}}, true, true},
	{"the level that there is", Command{Raise: &Raise{To: Version}}, true, true},
	{"a level that none reads", Command{Raise: &Raise{To: Version + 1}}, false, false},
	{"a user", Command{AddUser: &AddUser{}}, true, true},
	{"a role", Command{ChangeUser: &ChangeUser{}}, true, true},
	{"a user's end", Command{RemoveUser: &RemoveUser{}}, true, true},
	{"a key", Command{AddKey: &AddKey{}}, true, true},
	{"a's vote", Command{Vote: &Vote{Node: "a"}}, true, true},
	{"a leaves", Command{Remove: &Remove{Node: "a", Left: true}}, true, false},
	{"a is removed", Command{Remove: &Remove{Node: "a"}}, true, true},
	{"what was lost", Command{Forget: &Forget{}}, true, true},
	{"a new key", Command{Rotate: &Rotate{}}, true, true},
	{"its next stage", Command{Advance: &Advance{}}, true, true},
	{"a newer entry", Command{Version: Version + 1, Revoke: &Revoke{}}, false, false},
	{"nothing", Command{ID: "r"}, false, false},
	{"two verbs", Command{Revoke: &Revoke{}, Observe: &Observe{Node: "a"}}, true, false},
	{"two nodes' words", Command{Observe: &Observe{Node: "b"}, Evict: &Evict{Node: "a"}}, false, false},
}

// told is a ledger with a placement p and a network "old" on a, and one that is defined.
func told(t *testing.T) *Ledger {
	t.Helper()
	l := New()
	at := uint64(0)
	for _, c := range []Command{
		{Raise: &Raise{To: Version}},
		{Register: &Register{Node: "a", Name: "a", Capacity: Capacity{Cores: sched.CPUs(0), Memory: 1 << 30}}},
		{Register: &Register{Node: "b", Name: "b"}},
		{Reserve: &Reserve{Placement: "p", Name: "p", Candidates: []string{"a"}}},
		{Define: &Define{Kind: Network, Name: "new", Home: "a"}},
		{Define: &Define{Kind: Network, Name: "old", Home: "a"}},
		{Made: &Made{Kind: Network, Name: "old", Node: "a", ID: "1"}},
	} {
		at++
		data, err := Encode(c)
		if err != nil {
			t.Fatal(err)
		}
		if r := l.Apply(at, time.Unix(1, 0), data); r.Refusal != nil {
			t.Fatalf("%s: %v", data, r.Refusal)
		}
	}
	return l
}

func TestANodeProposesOnlyWhatIsForItToSay(t *testing.T) {
	l := told(t)
	for _, r := range rights {
		for from, want := range map[string]bool{"a": r.a, "b": r.b} {
			if no := l.MayPropose(from, &r.c); (no == nil) != want {
				t.Errorf("%s, proposed by %s: %v", r.name, from, no)
			}
		}
	}
}

func TestEveryVerbHasARuleForWhoProposesIt(t *testing.T) {
	l := told(t)
	shape := reflect.TypeFor[Command]()
	for i := range shape.NumField() {
		f := shape.Field(i)
		if f.Type.Kind() != reflect.Pointer {
			continue
		}
		said := 0
		for _, r := range rights {
			if c := (Command{Version: r.c.Version}); !reflect.ValueOf(r.c).Field(i).IsNil() && r.a {
				reflect.ValueOf(&c).Elem().Field(i).Set(reflect.ValueOf(r.c).Field(i))
				if c == r.c {
					said++
				}
			}
		}
		if said == 0 {
			t.Errorf("%s is in no row of rights", f.Name)
		}
		c := Command{}
		reflect.ValueOf(&c).Elem().Field(i).Set(reflect.New(f.Type.Elem()))
		if _, rest := l.speakers(withoutCommon(c)); rest != (Command{}) {
			t.Errorf("nobody may propose %s: see MayPropose", f.Name)
		}
	}
}
