package ledger

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"ddocker/sched"

	"pgregory.net/rapid"
)

// replicas are two ledgers that are given the same random history. One of them
// is now and then restored from the other's snapshot.
type replicas struct {
	a, b  *Ledger
	index uint64
	at    time.Time
	past  [][]byte // entries, some of which come again
}

func TestNothingIsHeldTwiceAndReplicasAgreeAfterAnyHistory(tb *testing.T) {
	rapid.Check(tb, func(t *rapid.T) {
		r := &replicas{a: twoHosts(tb), b: twoHosts(tb), at: start()}
		level := rapid.IntRange(firstLevel, Version).Draw(t, "first level")
		r.a.raise(&Raise{level})
		r.b.raise(&Raise{level})
		t.Repeat(map[string]func(*rapid.T){
			"commands": func(t *rapid.T) {
				for range rapid.IntRange(1, 5).Draw(t, "commands") {
					r.command(t, drawCommand(t))
				}
			},
			"repeat":  r.repeat,
			"garbage": r.garbage,
			"restore": r.restore,
			"":        r.agree,
		})
	})
}

func (r *replicas) command(t *rapid.T, c Command) {
	data, err := Encode(c)
	if err != nil {
		t.Fatal(err)
	}
	r.at = r.at.Add(time.Duration(rapid.IntRange(0, 3600).Draw(t, "seconds")) * time.Second)
	r.past = append(r.past, data)
	result := r.apply(t, data)
	if c.ID != "" {
		if again := r.apply(t, data); !bytes.Equal(marshal(t, again), marshal(t, result)) {
			t.Fatalf("%s: first %s, then %s", data, marshal(t, result), marshal(t, again))
		}
	}
}

// apply applies an entry to both replicas, and checks what it granted.
func (r *replicas) apply(t *rapid.T, data []byte) Result {
	r.index++
	before, images := heldOf(r.a), imagesOf(r.a)
	snapshot := r.a.Snapshot()
	frozen := written(t, snapshot)
	known, told := len(r.a.placements), tolds(r.a)
	got, want := r.a.Apply(r.index, r.at, data), r.b.Apply(r.index, r.at, data)
	if !bytes.Equal(marshal(t, got), marshal(t, want)) {
		t.Fatalf("%s: one replica answers %s, the other %s", data, marshal(t, got), marshal(t, want))
	}
	if now := written(t, snapshot); !bytes.Equal(now, frozen) {
		t.Fatalf("%s changed a snapshot from\n%s\nto\n%s", data, frozen, now)
	}
	if got.Refusal == nil {
		images.keptBy(t, r.a, data)
		r.traced(t, told, data)
	}
	if len(r.a.placements) > known {
		before.free(t, got.Placement)
	}
	return got
}

// traced fails where an entry left no trace of a container that it took from where it was.
func (r *replicas) traced(t *rapid.T, told map[string]*Placement, data []byte) {
	var c Command
	if json.Unmarshal(data, &c) != nil || c.ID != "" {
		return // or it has come before
	}
	if c.Remove != nil {
		notDropped(t, r.a, told, c.Remove)
	}
	if c.Move != nil {
		leftBehind(t, r.a, told, c.Move)
	}
}

func (r *replicas) repeat(t *rapid.T) {
	if len(r.past) == 0 {
		t.Skip("nothing is past")
	}
	r.apply(t, rapid.SampledFrom(r.past).Draw(t, "entry"))
}

func (r *replicas) garbage(t *rapid.T) {
	data := rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, "bytes")
	if len(r.past) > 0 && rapid.Bool().Draw(t, "damaged") {
		data = slices.Clone(rapid.SampledFrom(r.past).Draw(t, "entry"))
		data[rapid.IntRange(0, len(data)-1).Draw(t, "at")] = rapid.Byte().Draw(t, "byte")
	}
	r.apply(t, data)
}

func (r *replicas) restore(t *rapid.T) {
	if err := r.b.Restore(bytes.NewReader(written(t, r.a.Snapshot()))); err != nil {
		t.Fatal(err)
	}
}

func (r *replicas) agree(t *rapid.T) {
	consistent(t, r.a)
	consistent(t, r.b)
	if a, b := written(t, r.a.Snapshot()), written(t, r.b.Snapshot()); !bytes.Equal(a, b) {
		t.Fatalf("one replica holds %s\nthe other %s", a, b)
	}
}

func written(t *rapid.T, s Snapshot) []byte {
	var b bytes.Buffer
	if _, err := s.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func marshal(t *rapid.T, r Result) []byte {
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func drawCommand(t *rapid.T) Command {
	c := rapid.SampledFrom([]func(*rapid.T) Command{
		drawRegister, drawObserve, drawReserve, drawReserve, drawReserve, drawConfirm, drawRelease, drawRename, drawLimit, drawLimit, drawConfigure, drawToken, drawNode, drawTrust,
		drawImageCommand, drawImageCommand, drawImageCommand, drawImageCommand,
		drawObjectCommand, drawObjectCommand, drawObjectCommand,
	}).Draw(t, "verb")(t)
	if rapid.Bool().Draw(t, "with an ID") {
		c.ID = pool(t, "request", "r", 40)
	}
	return c
}

// pool draws one of a few names, so that commands meet.
func pool(t *rapid.T, label, prefix string, n int) string {
	return fmt.Sprint(prefix, rapid.IntRange(1, n).Draw(t, label))
}

func drawRegister(t *rapid.T) Command {
	c := Capacity{Cores: sched.CPUs(0, 1, 2, 3, 4, 5)}
	if rapid.IntRange(0, 3).Draw(t, "shrunk") == 0 {
		c.Cores = sched.CPUs(0, 1)
	}
	c.Memory = rapid.Int64Range(0, 30).Draw(t, "memory")
	node := pool(t, "node", "n", 3)
	c.Cards = drawCards(t, node)
	if rapid.Bool().Draw(t, "topology") {
		c.Topology = sched.Topology{
			Nodes:    []sched.CPUSet{sched.CPUs(0, 1, 2), sched.CPUs(3, 4, 5)},
			Physical: []sched.CPUSet{sched.CPUs(0, 1), sched.CPUs(2), sched.CPUs(3, 4), sched.CPUs(5)},
		}
	}
	return Command{Register: &Register{Node: node, Name: pool(t, "node name", "gpu", 3), Capacity: c, Keep: rapid.Bool().Draw(t, "keep"), Speaks: rapid.SampledFrom([]int{0, 5, 6, 6}).Draw(t, "speaks")}}
}

// drawCards draws cards of the node's own, and some that go from node to node.
func drawCards(t *rapid.T, node string) (cards []sched.Card) {
	for i, uuid := range []string{node + "a", node + "b", node + "b.0", "s1", "s2", "s1.0", "s1.1"} {
		if least := map[bool]int{true: 2, false: 1}[i < 3]; rapid.IntRange(0, 3).Draw(t, uuid) > least {
			continue
		}
		c := sched.Card{UUID: uuid, Index: fmt.Sprint(i), Model: "NVIDIA TITAN Xp", Memory: 12, Near: sched.CPUs(i), Far: []int{0, 1, 4, 6, i}}
		if c.Of = wholeOf(uuid); c.Of != "" {
			c.Model, c.Profile, c.Memory = "NVIDIA A100-SXM4-80GB MIG 3g.40gb", "3g.40gb", 40
		}
		cards = append(cards, c)
	}
	return cards
}

// drawUUID draws one of the cards that there are.
func drawUUID(t *rapid.T) string {
	return rapid.SampledFrom([]string{"s1", "s2", "s1", "s2", "n1a", "n2b", "n3b.0", "s1.0"}).Draw(t, "UUID")
}

func drawObserve(t *rapid.T) Command {
	o := &Observe{Node: pool(t, "node", "n", 3), Closed: rapid.SampledFrom([]string{"", "", "", "drained"}).Draw(t, "closed")}
	for range rapid.IntRange(0, 2).Draw(t, "outsiders") {
		g := sched.Grant{
			Cores: drawCores(t), MilliCPU: rapid.Int64Range(-500, 1500).Draw(t, "cpu"), Memory: rapid.Int64Range(-5, 10).Draw(t, "memory"),
			Ports: []sched.Binding{{Host: rapid.Uint16Range(25000, 25005).Draw(t, "port"), Proto: "tcp"}},
		}
		if rapid.IntRange(0, 3).Draw(t, "with a card") == 0 {
			if g.GPUs = []string{drawUUID(t)}; wholeOf(g.GPUs[0]) != "" {
				g.Of = []string{wholeOf(g.GPUs[0])}
			}
		}
		o.Containers = append(o.Containers, Outsider{ID: pool(t, "container", "c", 9), Name: pool(t, "name", "web", 6), Grant: g})
	}
	for range rapid.IntRange(0, 2).Draw(t, "listeners") {
		o.Ports = append(o.Ports, sched.Port{Number: rapid.Uint16Range(25000, 25005).Draw(t, "port"), Proto: "tcp"})
	}
	for range rapid.IntRange(0, 2).Draw(t, "closed cards") / 2 {
		o.Cards = append(o.Cards, ClosedCard{drawUUID(t), rapid.SampledFrom([]string{"", "lost: gone", "busy: used"}).Draw(t, "why")})
	}
	return Command{Observe: o}
}

func drawCores(t *rapid.T) sched.CPUSet {
	return sched.CPUs(rapid.SliceOfN(rapid.IntRange(0, 5), 0, 2).Draw(t, "cores")...)
}

func drawReserve(t *rapid.T) Command {
	r := sched.Request{
		MilliCPU: rapid.SampledFrom([]int64{0, 300, 1000, 2000, -1000}).Draw(t, "cpu"),
		Cores:    drawCores(t),
		Memory:   rapid.Int64Range(-1, 12).Draw(t, "memory"),
		GPUs:     rapid.SliceOfN(rapid.SampledFrom([]sched.GPUWish{{}, {}, {Model: "titan xp"}, {UUID: "s1"}, {UUID: "n1a"}, {UUID: "s1.0"}, {Index: "3"}, {Memory: 20}, {Memory: 12}, {Profile: "3g.40gb"}, {Memory: -1}}), 0, 2).Draw(t, "gpus"),
		AllGPUs:  rapid.IntRange(0, 9).Draw(t, "all") == 0,
	}
	for range rapid.IntRange(0, 3).Draw(t, "ports") {
		r.Ports = append(r.Ports, sched.PortWish{
			Host:  rapid.SampledFrom([]uint16{0, 0, 80, 25001}).Draw(t, "port"),
			Proto: rapid.SampledFrom([]string{"tcp", "tcp", "udp", "TCP"}).Draw(t, "proto"),
		})
	}
	image := rapid.SampledFrom([]string{"", "", "sha256:aaaa1"}).Draw(t, "image")
	return Command{Reserve: &Reserve{
		Image: "web:1", ImageID: image,
		Placement: pool(t, "placement", "p", 9), Name: pool(t, "name", "web", 6), Request: r,
		Candidates: rapid.Permutation([]string{"n1", "n2", "n3"}).Draw(t, "candidates"),
		Networks:   drawNames(t, "net"), Volumes: drawNames(t, "vol"), Project: rapid.SampledFrom([]string{"", "", "shop"}).Draw(t, "project"),
		Replaces: rapid.SampledFrom([]string{"", "", "", "p1", "p2"}).Draw(t, "replaces"), Apart: rapid.IntRange(0, 3).Draw(t, "apart") == 0,
	}}
}

func drawConfirm(t *rapid.T) Command {
	return Command{Confirm: &Confirm{Placement: pool(t, "placement", "p", 9), Container: pool(t, "container", "c", 9), ImageID: drawImageID(t)}}
}

func drawRelease(t *rapid.T) Command {
	return Command{Release: &Release{Placement: pool(t, "placement", "p", 9), Expired: rapid.Bool().Draw(t, "expired")}}
}

func drawLimit(t *rapid.T) Command {
	c := Limit{
		Placement: pool(t, "placement", "p", 9), MilliCPU: rapid.SampledFrom([]int64{0, 500, 1000, 2000, 3000, -1}).Draw(t, "cpu"),
		Memory: rapid.Int64Range(0, 20).Draw(t, "memory"), Keep: rapid.Bool().Draw(t, "keep"),
	}
	if rapid.IntRange(0, 3).Draw(t, "these cores") == 0 {
		c.Cores = drawCores(t)
	}
	if rapid.IntRange(0, 3).Draw(t, "pinned") == 0 {
		c.Pin = drawCores(t)
	}
	return Command{Limit: &c}
}

func drawRename(t *rapid.T) Command {
	return Command{Rename: &Rename{Placement: pool(t, "placement", "p", 9), Name: rapid.SampledFrom([]string{"", "web1", "web2", "web7"}).Draw(t, "name")}}
}

func drawConfigure(t *rapid.T) Command {
	s := withBuffer(rapid.IntRange(-1, 2).Draw(t, "buffer"))
	s.StartPort = rapid.SampledFrom([]uint16{0, 25000, 25003, 65534}).Draw(t, "first port")
	s.ImageReplicas = rapid.IntRange(-1, 3).Draw(t, "replicas")
	return Command{Configure: s}
}

func drawNode(t *rapid.T) Command {
	node := pool(t, "node", "n", 3)
	if rapid.Bool().Draw(t, "label") {
		value := rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "zone")
		return Command{LabelNode: &LabelNode{Node: node, Labels: map[string]string{"zone": value}}}
	}
	return Command{Drain: &Drain{Node: node, Open: rapid.Bool().Draw(t, "open"), By: rapid.SampledFrom([]string{"", "alice"}).Draw(t, "by")}}
}

func drawTrust(t *rapid.T) Command {
	node, user := pool(t, "node", "n", 3), pool(t, "user", "u", 3)
	role := rapid.SampledFrom([]Role{Admin, Member, "king"}).Draw(t, "role")
	secret := rapid.SampledFrom([]Secret{AuthorityKey, GossipKey, GossipKey, "wine"}).Draw(t, "secret")
	switch rapid.IntRange(0, 11).Draw(t, "trust") {
	case 0:
		return Command{AddUser: &AddUser{Name: user, Role: role, By: "root"}}
	case 1:
		return Command{ChangeUser: &ChangeUser{Name: user, Role: role}}
	case 2:
		return Command{RemoveUser: &RemoveUser{Name: user}}
	case 3, 4:
		life := time.Duration(rapid.IntRange(-1, 9).Draw(t, "hours")) * time.Hour
		return Command{AddKey: &AddKey{User: user, Key: UserKey{pool(t, "key", "k", 4), start().Add(life)}}}
	case 5:
		return Command{Vote: &Vote{Node: node, Want: rapid.SampledFrom([]Suffrage{"", Always, Never, "maybe"}).Draw(t, "want")}}
	case 6:
		return Command{Forget: &Forget{Placement: pool(t, "placement", "p", 12)}}
	case 7:
		return Command{Raise: &Raise{To: rapid.IntRange(3, Version+1).Draw(t, "level")}}
	case 8:
		return Command{Rotate: &Rotate{Kind: secret, ID: pool(t, "rotation", "r", 3), Data: "d"}}
	case 9, 10:
		return Command{Advance: &Advance{secret, pool(t, "rotation", "r", 3), rapid.SampledFrom([]Stage{Install, Use, Done}).Draw(t, "stage")}}
	}
	return Command{Remove: &Remove{Node: node, By: user, Left: rapid.Bool().Draw(t, "left"), Force: rapid.Bool().Draw(t, "force")}}
}

func drawToken(t *rapid.T) Command {
	hash := pool(t, "token", "h", 3)
	switch rapid.IntRange(0, 3).Draw(t, "use") {
	case 0:
		return Command{Revoke: &Revoke{Hash: hash}}
	case 1:
		return Command{UseToken: &UseToken{Hash: hash}}
	}
	life := time.Duration(rapid.IntRange(-1, 9).Draw(t, "hours")) * time.Hour
	return Command{AddToken: &Token{Hash: hash, Expires: start().Add(life), Uses: rapid.IntRange(-1, 2).Draw(t, "uses")}}
}
