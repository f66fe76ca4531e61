package ledger

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"ddocker/sched"
	"ddocker/settings"
)

// start is when the histories of these tests begin.
func start() time.Time { return time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC) }

// do applies a command as the next entry of the log.
func do(t testing.TB, l *Ledger, c Command) Result {
	t.Helper()
	data, err := Encode(c)
	if err != nil {
		t.Fatal(err)
	}
	return l.Apply(l.Index()+1, start(), data)
}

// must applies a command that may not be refused.
func must(t testing.TB, l *Ledger, c Command) *Placement {
	t.Helper()
	r := do(t, l, c)
	if r.Refusal != nil {
		t.Fatalf("refused: %s", r.Refusal.Message)
	}
	return r.Placement
}

// saved is the ledger's snapshot as bytes.
func saved(t testing.TB, l *Ledger) []byte {
	t.Helper()
	var b bytes.Buffer
	if _, err := l.Snapshot().WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// restored is a new replica made from the ledger's snapshot.
func restored(t testing.TB, l *Ledger) *Ledger {
	t.Helper()
	fresh := New()
	if err := fresh.Restore(bytes.NewReader(saved(t, l))); err != nil {
		t.Fatal(err)
	}
	return fresh
}

// twoHosts is a ledger of gpu1 and gpu2, each with 4 cores, 8 bytes and a card.
func twoHosts(t testing.TB) *Ledger {
	t.Helper()
	l := New()
	for i, name := range []string{"gpu1", "gpu2"} {
		id := fmt.Sprintf("n%d", i+1)
		must(t, l, Command{Register: &Register{Node: id, Name: name, Address: name + ":2377", Capacity: Capacity{
			Cores: sched.CPUs(0, 1, 2, 3), Memory: 8, Cards: []sched.Card{{UUID: "card-" + id, Model: "TITAN Xp"}},
		}}})
	}
	return l
}

func place(id, name string, r sched.Request) Command {
	return Command{Reserve: &Reserve{Placement: id, Name: name, Image: "debian", Request: r, Candidates: []string{"n1", "n2"}}}
}

func TestARepeatedRequestHasTheFirstOnesResultAndNoSecondEffect(t *testing.T) {
	l := twoHosts(t)
	c := place("p1", "web", sched.Request{Ports: []sched.PortWish{{Proto: "tcp"}}})
	c.ID = "r1"
	first := must(t, l, c)
	before := l.Snapshot()
	if again := must(t, l, c); again != first {
		t.Errorf("got %+v, want %+v", again, first)
	}
	if after := l.Snapshot(); len(after.placements) != 1 || len(after.memos) != len(before.memos) {
		t.Errorf("%d placements, %d memos", len(after.placements), len(after.memos))
	}
	must(t, l, Command{Release: &Release{Placement: "p1"}})
	if r := do(t, l, c); r.Refusal == nil || r.Refusal.Code != Gone {
		t.Errorf("after its release the request is answered %+v", r)
	}
}

func TestARefusalIsRememberedToo(t *testing.T) {
	l := twoHosts(t)
	must(t, l, place("p1", "web", sched.Request{}))
	c := place("p2", "web", sched.Request{})
	c.ID = "r2"
	first := do(t, l, c)
	must(t, l, Command{Release: &Release{Placement: "p1"}})
	again := do(t, restored(t, l), c)
	if again.Refusal == nil || *again.Refusal != *first.Refusal || again.Refusal.Code != Conflict {
		t.Errorf("got %+v, want %+v", again.Refusal, first.Refusal)
	}
}

func TestWhatIsRememberedIsBounded(t *testing.T) {
	l := New()
	for i := range maxMemos + 10 {
		id := fmt.Sprint("p", i)
		must(t, l, Command{ID: "r" + id, Release: &Release{Placement: id, Expired: true}})
	}
	for _, l := range []*Ledger{l, restored(t, l)} {
		if len(l.memos.order) != maxMemos || len(l.memos.byID) != maxMemos || len(l.expired) != maxExpired {
			t.Errorf("%d and %d memos, %d expired", len(l.memos.order), len(l.memos.byID), len(l.expired))
		}
		newest, oldest := fmt.Sprint("p", maxMemos+9), fmt.Sprint("p", maxMemos+9-maxExpired)
		if !l.Expired(newest) || l.Expired(oldest) {
			t.Error("not the newest are remembered")
		}
	}
}

func TestARepeatedExpiryIsRememberedOnce(t *testing.T) {
	l := New()
	for range 3 {
		must(t, l, Command{Release: &Release{Placement: "p1", Expired: true}})
	}
	if !l.Expired("p1") || len(l.expired) != 1 {
		t.Errorf("got %v", l.expired)
	}
}

func TestCommandsThatMakeNoSenseAreRefusedAndChangeNothing(t *testing.T) {
	l := twoHosts(t)
	must(t, l, place("p1", "web", sched.Request{}))
	before := saved(t, l)
	tcp := func(proto string) sched.Request { return sched.Request{Ports: []sched.PortWish{{Proto: proto}}} }
	for name, c := range map[string]Command{
		"no verb":             {},
		"no node ID":          {Register: &Register{Name: "x"}},
		"no node name":        {Register: &Register{Node: "x"}},
		"no placement ID":     place("", "a", sched.Request{}),
		"no container name":   place("p2", "", sched.Request{}),
		"used placement ID":   place("p1", "a", sched.Request{}),
		"negative CPU":        place("p2", "a", sched.Request{MilliCPU: -1000}),
		"negative memory":     place("p2", "a", sched.Request{Memory: -1}),
		"unknown protocol":    place("p2", "a", tcp("TCP")),
		"renamed to nothing":  {Rename: &Rename{Placement: "p1"}},
		"negative buffer":     {Configure: withBuffer(-1)},
		"negative replicas":   {Configure: &settings.Settings{ImageReplicas: -1}},
		"a disk over-full":    {Configure: &settings.Settings{ImageDisk: 101}},
		"no claim":            {Claim: &Claim{Name: "web:1", Node: "n1"}},
		"a claim of no name":  {Claim: &Claim{Claim: "c", Node: "n1"}},
		"a claim by nobody":   {Claim: &Claim{Claim: "c", Name: "web:1"}},
		"a name of no image":  {NameImage: &NameImage{Image: Image{Name: "web:1", Node: "n1"}}},
		"an image nowhere":    {NameImage: &NameImage{Image: Image{Name: "web:1", ID: "sha256:a"}}},
		"nobody's images":     {Merge: &Merge{Node: "n9"}},
		"no such image":       {Unname: &Unname{Name: "web:1", ID: "sha256:a"}},
		"nothing to unname":   {Unname: &Unname{}},
		"nothing to evict":    {Evict: &Evict{Node: "n1", ID: "sha256:a"}},
		"evicted by nobody":   {Evict: &Evict{Node: "n9", ID: "sha256:a"}},
		"no such placement":   {Confirm: &Confirm{Placement: "p9"}},
		"nothing to rename":   {Rename: &Rename{Placement: "p9", Name: "a"}},
		"no such node":        {Observe: &Observe{Node: "n9"}},
		"name of a node":      {Register: &Register{Node: "n9", Name: "gpu1"}},
		"name of a container": place("p2", "web", sched.Request{}),
		"unknown candidates":  {Reserve: &Reserve{Placement: "p2", Name: "a", Candidates: []string{"n8", "n9"}}},
		"unknown token":       {UseToken: &UseToken{Hash: "h"}},
		"drain of no node":    {Drain: &Drain{Node: "n9"}},
		"label of no node":    {LabelNode: &LabelNode{Node: "n9"}},
		"label without a key": {LabelNode: &LabelNode{"n1", map[string]string{"": "a"}}},
		"label for no rule":   {LabelNode: &LabelNode{"n1", map[string]string{"a b": "c"}}},
		"label of a name":     {LabelNode: &LabelNode{"n1", map[string]string{"node": "c"}}},
		"label too long":      {LabelNode: &LabelNode{"n1", map[string]string{"a": strings.Repeat("x", maxLabel+1)}}},
	} {
		data, err := Encode(c)
		if err != nil {
			t.Fatal(err)
		}
		if r := l.Apply(l.Index(), start(), data); r.Refusal == nil || r.Refusal.Message == "" || r.Placement != nil {
			t.Errorf("%s: got %+v", name, r)
		}
		if !bytes.Equal(saved(t, l), before) {
			t.Fatalf("%s changed the state", name)
		}
	}
}

func TestEntriesThatAreNoCommandsAreRefusedAndPassed(t *testing.T) {
	for _, entry := range []string{"", "null", "[]", "{", `{"v":0,"release":{}}`, `{"v":-1}`, `{"v":1}`} {
		l := New()
		if r := l.Apply(1, start(), []byte(entry)); r.Refusal == nil || r.Refusal.Code != Invalid || l.Index() != 1 {
			t.Errorf("%q: got %+v at index %d", entry, r, l.Index())
		}
	}
}

func TestAnEntryOfANewerVersionIsNotPassed(t *testing.T) {
	for _, entry := range []string{`{"v":7,"release":{"placement":"p1"}}`, `{"v":7,"reserve":"in another way"}`, `{"v":99}`} {
		l := twoHosts(t)
		before := saved(t, l)
		r := l.Apply(l.Index()+1, start(), []byte(entry))
		if r.Refusal == nil || r.Refusal.Code != Newer || !strings.Contains(r.Refusal.Message, "upgrade ddocker") {
			t.Errorf("%q: got %+v", entry, r)
		}
		if !bytes.Equal(saved(t, l), before) {
			t.Errorf("%q changed the state", entry)
		}
	}
}

func TestASnapshotOfANewerVersionIsToldFromADamagedOne(t *testing.T) {
	err := New().Restore(strings.NewReader(`{"v":7}`))
	if refusal := (*Refusal)(nil); !errors.As(err, &refusal) || refusal.Code != Newer {
		t.Errorf("newer: %v", err)
	}
	err = New().Restore(strings.NewReader(`{"v":2,"images":-1}`))
	if refusal := (*Refusal)(nil); err == nil || errors.As(err, &refusal) {
		t.Errorf("damaged: %v", err)
	}
}

func TestAResultSurvivesItsJSON(t *testing.T) {
	l := twoHosts(t)
	want := Result{Placement: must(t, l, place("p1", "web", sched.Request{MilliCPU: 2000, Ports: []sched.PortWish{{Proto: "tcp"}}}))}
	for _, want := range []Result{want, do(t, l, place("p2", "web", sched.Request{}))} {
		data, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		var got Result
		if err := json.Unmarshal(data, &got); err != nil {
			t.Fatal(err)
		}
		if again, err := json.Marshal(got); err != nil || !bytes.Equal(again, data) {
			t.Errorf("got %s, %v; want %s", again, err, data)
		}
	}
}

func TestAPortOnTwoAddressesIsFreedOnce(t *testing.T) {
	l := twoHosts(t)
	onTwo := sched.Request{Ports: []sched.PortWish{{Host: 25000, Proto: "tcp", IP: "127.0.0.1"}, {Host: 25000, Proto: "tcp", IP: "::1"}}}
	must(t, l, place("p1", "web", onTwo))
	summed(t, l)
	must(t, l, Command{Release: &Release{Placement: "p1"}})
	p := must(t, l, place("p2", "db", sched.Request{Ports: []sched.PortWish{{Proto: "tcp"}}}))
	if got := p.Grant.Ports[0].Host; got != 25000 {
		t.Errorf("got port %d", got)
	}
}
