package ledger

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"ddocker/sched"
	"ddocker/settings"
)

// script carries out the commands of a golden history:
//
//	register NODE NAME [cores=LIST] [memory=N] [card=UUID:MODEL[/index=N][/mem=N][/mig=PROFILE][/of=UUID][/near=LIST][/far=N,N…]]… [numa=LIST]… [physical=LIST]… [keep]
//	observe NODE [closed=WORD] [shut=UUID:WHY]… [port=N/PROTO]… [outsider=ID:NAME:CORES:MEMORY:GPU:IMAGE]… [has=IMAGE[,NAME…]]… [late=N]
//	reserve PLACEMENT NAME on=NODE[,NODE…] [cpu=THOUSANDTHS] [cores=LIST] [memory=N] [gpu=MODEL[/uuid=U][/index=N][/mem=N][/mig=PROFILE]]… [gpus=all] [port=[HOST:]CONTAINER/PROTO]… [host=NAME] [from=REF:IMAGE] [net=NAME]… [vol=NAME]… [project=NAME] [replaces=PLACEMENT] [apart]
//	confirm PLACEMENT CONTAINER [from=IMAGE] [on=NODE]
//	release PLACEMENT [expired] [on=NODE]
//	rename PLACEMENT NAME
//	limit PLACEMENT [cpu=THOUSANDTHS] [cores=LIST] [memory=N] [pin=LIST] [keep]
//	configure [buffer=CORES:MEMORY] [start=PORT] [replicas=N] [disk=PERCENT]
//	token HASH USES MINUTES
//	use HASH
//	revoke HASH
//	drain NODE [by=WORD] [open]
//	label NODE KEY=VALUE…
//	remove NODE [by=WORD] [left] [force]
//	forget PLACEMENT
//	claim CLAIM NAME on=NODE [owner=WORD] [commit]
//	unclaim CLAIM
//	name NAME IMAGE [on=NODE] [claim=CLAIM] [was=IMAGE] [owner=WORD] [layers=CHAIN:SIZE[,…]]
//	merge NODE has=IMAGE[,NAME…]… [layers=CHAIN:SIZE[,…]]
//	unname NAME IMAGE [force]
//	evict NODE IMAGE
//	define KIND NAME home=NODE [owner=WORD]
//	made KIND NAME ID on=NODE [found]
//	unmade KIND NAME ID on=NODE
//	undefine KIND NAME ID [done=NODE]…
//	attach PLACEMENT NETWORK [detach]
//	move PLACEMENT… to=NODE[,NODE…]
//	rotate SECRET ID [by=WORD]
//	advance SECRET ID to=STAGE
//	raise LEVEL
//	raw TEXT             an entry of these very bytes
//	resolve REF
//	find REF             the image that is meant
//	wait MINUTES         the leader's clock goes on
//	restart              the replica is replaced by one restored from its snapshot
//
// Commands take id=REQUEST. In a word "_" stands for a space. IMAGE is what follows
// "sha256:" in an ID. A list that is late by N was begun N entries ago.
type script struct {
	t      *testing.T
	ledger *Ledger
	at     time.Time
}

// args are the words of a command: those in order, and those with a key.
type args struct {
	t     *testing.T
	words []string
	keys  map[string][]string
	index uint64 // of the last entry
}

func (s *script) run(words []string) string {
	a := args{t: s.t, keys: map[string][]string{}, index: s.ledger.Index()}
	for _, w := range words[1:] {
		w = strings.ReplaceAll(w, "_", " ")
		if key, value, ok := strings.Cut(w, "="); ok && words[0] != "raw" {
			a.keys[key] = append(a.keys[key], value)
		} else {
			a.words = append(a.words, w)
		}
	}
	switch words[0] {
	case "raw":
		return s.apply([]byte(strings.Join(a.words, " ")))
	case "resolve":
		return s.resolve(a.word(0))
	case "find":
		return s.find(a.word(0))
	case "wait":
		s.at = s.at.Add(time.Duration(a.number(a.word(0))) * time.Minute)
		return "it is " + s.at.Format(time.TimeOnly)
	case "restart":
		s.ledger = s.restarted()
		return "ok"
	}
	data, err := Encode(a.command(words[0]))
	if err != nil {
		s.t.Fatal(err)
	}
	return s.apply(data)
}

func (s *script) apply(data []byte) string {
	r := s.ledger.Apply(s.ledger.Index()+1, s.at, data)
	switch {
	case r.Refusal != nil:
		return "refused, " + string(r.Refusal.Code) + ": " + r.Refusal.Message
	case r.Placement != nil:
		return "ok: " + r.Placement.ID
	case r.Image != nil:
		return "ok: " + r.Image.Name
	case r.Object != nil:
		return "ok: " + r.Object.Name
	}
	return "ok"
}

func (s *script) resolve(ref string) string {
	target, refused := s.ledger.Resolve(ref)
	if refused != nil {
		return "refused, " + string(refused.Code) + ": " + refused.Message
	}
	return target.Name + " on " + s.ledger.Node(target.Node).Name + ", container " + strconv.Quote(target.Container)
}

func (s *script) find(ref string) string {
	found, refused := s.ledger.FindImage(ref)
	if refused != nil {
		return "refused, " + string(refused.Code) + ": " + refused.Message
	}
	words := found.ID
	if found.Name != "" {
		words += " by the name " + found.Name
	}
	if found.Node != "" {
		words += " on " + s.ledger.Node(found.Node).Name
	}
	return words
}

func (s *script) restarted() *Ledger {
	before, fresh := saved(s.t, s.ledger), restored(s.t, s.ledger)
	if !bytes.Equal(saved(s.t, fresh), before) {
		s.t.Fatalf("restored from\n%s\ninto\n%s", before, saved(s.t, fresh))
	}
	return fresh
}

func (a args) command(verb string) Command {
	c := Command{ID: a.key("id")}
	switch verb {
	case "register":
		c.Register = a.register()
	case "observe":
		c.Observe = a.observe()
	case "reserve":
		c.Reserve = &Reserve{
			Placement: a.word(0), Name: a.word(1), Image: "debian",
			Request: a.request(), Candidates: strings.Split(a.key("on"), ","),
			Networks: a.keys["net"], Volumes: a.keys["vol"], Project: a.key("project"), Replaces: a.key("replaces"), Apart: a.has("apart"),
		}
		if at := strings.LastIndexByte(a.key("from"), ':'); at >= 0 {
			c.Reserve.Image, c.Reserve.ImageID = a.key("from")[:at], imageID(a.key("from")[at+1:])
		}
	case "confirm":
		c.Confirm = &Confirm{Placement: a.word(0), Container: a.word(1), ImageID: imageID(a.key("from")), Node: a.key("on")}
	case "release":
		c.Release = &Release{Placement: a.word(0), Expired: a.has("expired"), Node: a.key("on")}
	case "rename":
		c.Rename = &Rename{a.word(0), a.word(1)}
	case "limit":
		r := a.request()
		c.Limit = &Limit{a.word(0), r.MilliCPU, r.Cores, r.Memory, a.cores(a.key("pin")), a.has("keep")}
	case "configure":
		c.Configure = a.settings()
	case "drain":
		c.Drain = &Drain{Node: a.word(0), By: a.key("by"), Open: a.has("open")}
	case "label":
		c.LabelNode = &LabelNode{Node: a.word(0), Labels: map[string]string{}}
		for key, values := range a.keys {
			c.LabelNode.Labels[key] = values[0]
		}
	case "remove":
		c.Remove = &Remove{Node: a.word(0), By: a.key("by"), Left: a.has("left"), Force: a.has("force")}
	case "raise":
		c.Raise = &Raise{To: int(a.number(a.word(0)))}
	case "forget":
		c.Forget = &Forget{a.word(0)}
	case "revoke":
		c.Revoke = &Revoke{a.word(0)}
	case "token":
		life := time.Duration(a.number(a.word(2))) * time.Minute
		c.AddToken = &Token{Hash: a.word(0), Uses: int(a.number(a.word(1))), Expires: start().Add(life), By: a.key("by")}
	case "use":
		c.UseToken = &UseToken{a.word(0)}
	default:
		a.imageCommand(verb, &c)
	}
	return c
}

func (a args) register() *Register {
	r := &Register{Node: a.word(0), Name: a.word(1), Address: a.word(1) + ":2377", Keep: a.has("keep")}
	r.Capacity = Capacity{Cores: a.cores(a.key("cores")), Memory: a.number(a.key("memory"))}
	for _, card := range a.keys["card"] {
		name, said := options(card)
		uuid, model, _ := strings.Cut(name, ":")
		c := sched.Card{
			UUID: uuid, Model: model, Index: said["index"], Memory: a.number(said["mem"]), Profile: said["mig"], Of: said["of"], Near: a.cores(said["near"]),
		}
		for far := range strings.SplitSeq(said["far"], ",") {
			if far != "" {
				c.Far = append(c.Far, int(a.number(far)))
			}
		}
		r.Capacity.Cards = append(r.Capacity.Cards, c)
	}
	for _, list := range a.keys["numa"] {
		r.Capacity.Topology.Nodes = append(r.Capacity.Topology.Nodes, a.cores(list))
	}
	for _, list := range a.keys["physical"] {
		r.Capacity.Topology.Physical = append(r.Capacity.Topology.Physical, a.cores(list))
	}
	return r
}

// options cuts a word from what is said of it, "a/key=value/key=value".
func options(text string) (word string, said map[string]string) {
	parts := strings.Split(text, "/")
	said = map[string]string{}
	for _, part := range parts[1:] {
		key, value, _ := strings.Cut(part, "=")
		said[key] = value
	}
	return parts[0], said
}

func (a args) observe() *Observe {
	o := &Observe{Node: a.word(0), Closed: a.key("closed"), Images: a.holdings(), Seen: a.index - uint64(a.number(a.key("late")))}
	for _, text := range a.keys["shut"] {
		uuid, why, _ := strings.Cut(text, ":")
		o.Cards = append(o.Cards, ClosedCard{uuid, why})
	}
	for _, text := range a.keys["port"] {
		number, proto, _ := strings.Cut(text, "/")
		o.Ports = append(o.Ports, sched.Port{Number: uint16(a.number(number)), Proto: proto})
	}
	for _, text := range a.keys["outsider"] {
		f := append(strings.Split(text, ":"), "", "", "", "", "")
		g := sched.Grant{Cores: a.cores(f[2]), Memory: a.number(f[3])}
		if f[4] != "" {
			g.GPUs = []string{f[4]}
			g.Of = sched.CutFrom([]sched.Card{{UUID: f[4], Of: wholeOf(f[4])}}, g.GPUs)
		}
		o.Containers = append(o.Containers, Outsider{ID: f[0], Name: f[1], Image: "debian", ImageID: imageID(f[5]), Grant: g})
	}
	return o
}

func (a args) request() sched.Request {
	r := sched.Request{
		MilliCPU: a.number(a.key("cpu")), Cores: a.cores(a.key("cores")), Memory: a.number(a.key("memory")),
		AllGPUs: a.key("gpus") == "all", Host: a.key("host"),
	}
	for _, text := range a.keys["gpu"] {
		model, said := options(text)
		r.GPUs = append(r.GPUs, sched.GPUWish{Model: model, UUID: said["uuid"], Index: said["index"], Memory: a.number(said["mem"]), Profile: said["mig"]})
	}
	for _, text := range a.keys["port"] {
		numbers, proto, _ := strings.Cut(text, "/")
		host, container, both := strings.Cut(numbers, ":")
		if !both {
			host, container = "", host
		}
		r.Ports = append(r.Ports, sched.PortWish{Host: uint16(a.number(host)), Container: uint16(a.number(container)), Proto: proto})
	}
	return r
}

func (a args) settings() *settings.Settings {
	set := settings.Default()
	cores, memory, _ := strings.Cut(a.key("buffer"), ":")
	set.Buffer = settings.Buffer{Cores: int(a.number(cores)), Memory: a.number(memory)}
	if first := a.number(a.key("start")); first > 0 {
		set.StartPort = uint16(first)
	}
	set.ImageReplicas, set.ImageDisk = int(a.number(a.key("replicas"))), int(a.number(a.key("disk")))
	return &set
}

func (a args) has(word string) bool { return slices.Contains(a.words, word) }

func (a args) word(i int) string {
	a.t.Helper()
	if i >= len(a.words) {
		a.t.Fatalf("a word is missing after %v", a.words)
	}
	return a.words[i]
}

func (a args) key(name string) string {
	if v := a.keys[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}

func (a args) number(text string) int64 {
	a.t.Helper()
	if text == "" {
		return 0
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		a.t.Fatal(err)
	}
	return n
}

func (a args) cores(text string) sched.CPUSet {
	a.t.Helper()
	s, err := sched.ParseCPUSet(text)
	if err != nil {
		a.t.Fatal(err)
	}
	return s
}
