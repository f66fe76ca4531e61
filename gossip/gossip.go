// Package gossip tells who is in the cluster, who is alive and how loaded each
// node is. It is hints all through: a stale one costs a retry, never a wrong
// answer, for what must not be given twice is in the ledger.
//
//	g, err := gossip.New(gossip.Config{ID: id, Name: host, Cluster: cluster, Key: key, …})
//	go g.Run(ctx)                      // until ctx ends, then leaves
//	g.SetLoad(gossip.Load{FreeGPUs: 2}) // as often as you like: sends are paced
//	for _, m := range g.Members() {
//		load, known := g.Load(m.ID)
//		…
//	}
//
// Membership is hashicorp/memberlist's (SWIM): probes over UDP, and a full
// exchange over a stream with one member every 30 s. A member's name there is
// its node ID, so that neither a host's name nor its address is its identity.
// Packets and streams are encrypted with the cluster's key and carry the
// cluster's name: two clusters never merge.
package gossip

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"
)

// Config is what a node gossips as, with and over. All fields are required but
// Version, Seeds and Logger.
type Config struct {
	ID      string // the node's ID, at most 128 bytes, never that of another node
	Name    string // for people, at most 255 bytes
	Version string // of the program, at most 200 bytes

	Cluster string // the cluster's ID, at most 255 bytes: others' gossip is dropped
	// Keys are the cluster's keys, each of 32 bytes for AES-256: what is sent is
	// encrypted with the first, and what comes may be with any. See SetKeys.
	Keys [][]byte

	// Advertise is where the other members send packets and open streams.
	Advertise netip.AddrPort

	// Packets and Streams bring what the others send there. Run owns both and
	// closes them when it ends.
	Packets net.PacketConn
	Streams net.Listener

	// Dial opens a stream that arrives at addr's Streams. It returns when ctx
	// ends.
	Dial func(ctx context.Context, addr string) (net.Conn, error)

	// Seeds returns addresses, each a literal ip:port, at which the cluster may
	// be found: asked for at start, 2 s later, then every minute, or every 2 s
	// while no other member is alive. The own address among them does no harm.
	// It must not block.
	Seeds func() []string

	Logger *slog.Logger // nil for none
}

func (c *Config) validate() error {
	switch {
	case c.ID == "" || len(c.ID) > 128:
		return fmt.Errorf("gossip as node %q: an ID has 1 to 128 bytes", c.ID)
	case len(c.Name) > 255 || len(c.Version) > 200:
		return fmt.Errorf("gossip as node %s: name or version is too long", c.ID)
	case c.Cluster == "" || len(c.Cluster) > memberlist.LabelMaxSize:
		return fmt.Errorf("gossip in cluster %q: a cluster's ID has 1 to 255 bytes", c.Cluster)
	case !c.Advertise.IsValid() || c.Advertise.Addr().IsUnspecified():
		return fmt.Errorf("gossip at %s: others cannot reach this address", c.Advertise)
	case c.Packets == nil || c.Streams == nil || c.Dial == nil:
		return errors.New("gossip without a network")
	}
	return checkKeys(c.Keys)
}

// Gossip is this node's part in the cluster's gossip. Its methods may be called
// from any goroutine, before, during and after Run, and do not block.
type Gossip struct {
	cfg     Config
	log     *slog.Logger
	roster  *roster
	board   *board
	queue   *memberlist.TransmitLimitedQueue // loads to be sent on
	keys    sync.Mutex                       // held by whoever changes ring
	ring    *memberlist.Keyring
	reloads chan struct{} // 1 buffered: SetLoad was called
	moved   atomic.Bool   // a peer lately knew this node at another address
}

// New checks cfg. It opens and starts nothing: Run does.
func New(cfg Config) (*Gossip, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Seeds == nil {
		cfg.Seeds = func() []string { return nil }
	}
	self := Member{ID: cfg.ID, Name: cfg.Name, Addr: cfg.Advertise.String(), Version: cfg.Version, Alive: true}
	g := &Gossip{
		cfg:     cfg,
		log:     cfg.Logger,
		roster:  newRoster(self),
		board:   newBoard(cfg.ID, uint64(time.Now().UnixMilli())),
		reloads: make(chan struct{}, 1),
		ring:    &memberlist.Keyring{},
	}
	if err := g.SetKeys(cfg.Keys); err != nil {
		return nil, err
	}
	g.queue = &memberlist.TransmitLimitedQueue{NumNodes: g.roster.alive, RetransmitMult: retransmitMult}
	return g, nil
}

// leaveTimeout bounds how long the farewell may take.
const leaveTimeout = 500 * time.Millisecond

// Run gossips until ctx ends, then tells the others that this node leaves and
// closes Packets, Streams and every open stream, within a second. It returns
// an error only when gossip could not start or its network broke. Run once.
//
// Memberlist cannot be waited for: a probe that it had under way ends by itself
// within 8 s, holding nothing of what Run owns. A synctest bubble must sleep so
// long at its end.
func (g *Gossip) Run(ctx context.Context) error {
	t := newTransport(&g.cfg)
	list, err := memberlist.Create(g.memberlistConfig(t))
	if err != nil {
		t.Shutdown()
		return fmt.Errorf("start gossip: %w", err)
	}
	working, stop := context.WithCancel(ctx)
	var work sync.WaitGroup
	for _, do := range []func(context.Context){g.announce, g.report} {
		work.Go(func() { do(working) })
	}
	work.Go(func() { g.rejoin(working, list) })
	// Not working: whoever closes the port because ctx ended may be ahead of that.
	err = t.serve(ctx)
	stop()
	if err := list.Leave(leaveTimeout); err != nil {
		g.log.Warn("left the gossip unheard", "err", err)
	}
	list.Shutdown()
	work.Wait()
	return err
}

const (
	retransmitMult = 4    // a broadcast is sent 4·log10(n+1) times
	packetBytes    = 1400 // below an Ethernet frame with IP, UDP and a tunnel
)

// memberlistConfig is the LAN default with dissemination quickened: measured,
// records of 48 bytes then reach 300 nodes within 0.3 s. Compression would save
// a fifth of the bytes for three times the CPU.
func (g *Gossip) memberlistConfig(t memberlist.Transport) *memberlist.Config {
	c := memberlist.DefaultLANConfig()
	c.Name = g.cfg.ID
	c.Label = g.cfg.Cluster
	c.Keyring = g.ring
	c.Transport = t
	c.AdvertiseAddr = g.cfg.Advertise.Addr().Unmap().String()
	c.AdvertisePort = int(g.cfg.Advertise.Port())
	c.GossipInterval = 100 * time.Millisecond
	c.GossipNodes = 4
	c.RetransmitMult = retransmitMult
	c.EnableCompression = false
	c.UDPBufferSize = packetBytes
	c.HandoffQueueDepth = 8192
	// A node that comes back at another address is taken at once when it is
	// known to be dead. Until then it is refused, see rejoin.
	c.DeadNodeReclaimTime = time.Millisecond
	d := delegate{g}
	c.Delegate, c.Events, c.Merge = d, d, d
	c.Logger = newLogger(g.log)
	return c
}
