package main

import (
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sync/errgroup"

	"ddocker/api"
	"ddocker/audit"
	"ddocker/consensus"
	"ddocker/consensus/ledger"
	"ddocker/crash"
	"ddocker/engine"
	"ddocker/gossip"
	"ddocker/gpu"
	"ddocker/identity"
	"ddocker/image"
	"ddocker/node"
	"ddocker/relay"
	"ddocker/sched"
	"ddocker/settings"
)

//go:embed info_template.json
var infoTemplate string

// agentConfig is what the command line says, and in tests the world around.
type agentConfig struct {
	DataDir, Listen, Advertise, Socket, InfoFile, DockerHost, Name, Join, Token string
	Logger                                                                      *slog.Logger

	net, relays network // for the nodes among themselves, and for published ports
	// Tests may give these; the agent makes its own where they are nil.
	stores     *consensus.Stores
	dialEngine func(context.Context) (net.Conn, error)
	machine    node.Machine
	socket     net.Listener
	files      int                                    // descriptors that there may be
	life       time.Duration                          // of certificates
	peerUser   func(net.Conn) (uid uint32, err error) // of the socket
	crash      crash.Point

	settings *settings.File // from InfoFile
}

// agent knits the rooms together: it is the only one who knows them all.
type agent struct {
	cfg       agentConfig
	id        *identity.Identity
	peers     *peers
	transport *http.Transport
	port      *identity.Port
	gossip    *gossip.Gossip
	log       *consensus.Consensus
	engine    *engine.Engine
	gpus      *gpu.Reader
	library   *image.Library
	mover     *image.Mover
	node      *node.Node
	api       *api.API
	audit     *audit.Log
	pieces    pieces
	seeds     []string
	leaving   chan struct{} // held by whoever has this node leave
	staying   chan struct{} // 1 buffered: a leave is to be undone
	parted    chan *parting // 1 buffered: why this node is none any more
	secrets   *secrets
	boot      string    // of this life
	named     time.Time // when names were last asked for; keepCertificate's
	fetched   string    // the authorities whose keys are here; keepCertificate's
	outward   outward
}

// runAgent runs until ctx ends or something breaks that the agent cannot live
// without.
func runAgent(ctx context.Context, cfg agentConfig) error {
	if err := cfg.complete(); err != nil {
		return err
	}
	a, err := raise(ctx, cfg)
	if err == nil {
		err = a.run(ctx)
	}
	if errors.Is(err, syscall.ENOSPC) {
		err = fmt.Errorf("%w: make room on the disk of %s and start the agent again, the containers run on", err, cfg.DataDir)
	}
	return err
}

// raise builds the agent, of a machine that was removed meanwhile as of a new one if it is
// told to join.
func raise(ctx context.Context, cfg agentConfig) (*agent, error) {
	a, err := newAgent(ctx, cfg)
	if p := partingIn(err); p != nil && !exists(cfg.DataDir, fileParted) {
		if err := cfg.removedMeanwhile(p); err != nil {
			return nil, err
		}
		return newAgent(ctx, cfg) // which says so, or joins
	}
	return a, err
}

// nodeName is what a host name may be: it stands in certificates.
var nodeName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9.-]{0,62}$`)

// complete checks the command line and fills in what it left out.
func (cfg *agentConfig) complete() (err error) {
	if cfg.files == 0 {
		cfg.files = descriptors()
	}
	if cfg.peerUser == nil {
		cfg.peerUser = peerUser
	}
	cfg.life = cmp.Or(cfg.life, certificateLife)
	if !nodeName.MatchString(cfg.Name) {
		return fmt.Errorf("--name %q: a node's name has 1 to 63 letters, digits, dots and dashes, and begins with a letter or digit", cfg.Name)
	}
	if cfg.Advertise == "" {
		_, port, err := net.SplitHostPort(cfg.Listen)
		if err != nil {
			return fmt.Errorf("--listen %q: %w", cfg.Listen, err)
		}
		host, err := ownAddress()
		if err != nil {
			return err
		}
		cfg.Advertise = net.JoinHostPort(host, port)
	}
	cfg.Advertise = withPort(cfg.Advertise)
	if at, err := netip.ParseAddrPort(cfg.Advertise); err != nil || at.Port() == 0 || at.Addr().IsUnspecified() {
		return fmt.Errorf("--advertise %q: it takes an IP address and a port, such as 10.0.0.1:%s", cfg.Advertise, defaultPort)
	}
	if cfg.InfoFile == "" {
		return nil
	}
	text, err := os.ReadFile(cfg.InfoFile)
	if err != nil {
		return err
	}
	cfg.settings, err = api.ReadSettings(filepath.Base(cfg.InfoFile), text)
	return err
}

// newAgent builds everything and starts nothing.
func newAgent(ctx context.Context, cfg agentConfig) (*agent, error) {
	if err := mayReturn(&cfg); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Join(cfg.DataDir, dirRaft), 0o700); err != nil {
		return nil, err
	}
	if cfg.stores == nil {
		stores, err := consensus.OpenStores(filepath.Join(cfg.DataDir, dirRaft), cfg.Logger)
		if err != nil {
			return nil, errors.Join(err, forget(cfg.DataDir, err))
		}
		cfg.stores = stores
	}
	id, err := enter(ctx, &cfg)
	if err != nil {
		return nil, errors.Join(err, cfg.stores.Close())
	}
	a := &agent{
		cfg: cfg, id: id, peers: loadPeers(cfg.DataDir), boot: identity.NewID(),
		leaving: make(chan struct{}, 1), staying: make(chan struct{}, 1), parted: make(chan *parting, 1),
	}
	if err := a.build(ctx); err != nil {
		return nil, errors.Join(err, cfg.stores.Close())
	}
	return a, nil
}

// forget sets a node's certificates aside with its damaged log: under its old
// ID it could vote twice.
func forget(dir string, err error) error {
	var damaged *consensus.DamagedError
	if !errors.As(err, &damaged) {
		return nil
	}
	return os.Rename(filepath.Join(dir, dirTLS), filepath.Join(damaged.Aside, dirTLS))
}

func (a *agent) build(ctx context.Context) (err error) {
	if a.secrets, err = loadSecrets(a.cfg.DataDir); err != nil {
		return err
	}
	if a.audit, err = audit.Open(filepath.Join(a.cfg.DataDir, dirAudit)); err != nil {
		return err
	}
	a.seeds = a.findSeeds(ctx)
	if err := a.introduce(ctx); err != nil {
		return errors.Join(err, a.audit.Close())
	}
	a.transport = a.peerTransport()
	if a.engine, err = engine.New(engine.Config{Host: a.cfg.DockerHost, Dial: a.cfg.dialEngine, Logger: a.cfg.Logger}); err != nil {
		return err
	}
	tcp, err := gathering{a.cfg.net, &a.pieces}.Listen(a.cfg.Listen)
	if err != nil {
		return err
	}
	udp, err := a.cfg.net.ListenPacket(a.cfg.Listen)
	if err != nil {
		return errors.Join(err, tcp.Close())
	}
	a.port = identity.NewPort(tcp, a.id, limitsOf(a.cfg.files).handshakes)
	if err := errors.Join(a.buildGossip(udp), a.buildLog()); err != nil {
		return errors.Join(err, tcp.Close(), udp.Close())
	}
	a.buildImages()
	a.buildNode()
	return a.foundLog(ctx)
}

func (a *agent) buildGossip(udp net.PacketConn) (err error) {
	a.gossip, err = gossip.New(gossip.Config{
		ID: a.id.NodeID(), Name: a.cfg.Name, Version: version,
		Cluster: a.id.Cluster(), Keys: a.secrets.keys(),
		Advertise: netip.MustParseAddrPort(a.cfg.Advertise),
		Packets:   udp, Streams: a.port.Listener(identity.ProtoGossip),
		Dial: func(ctx context.Context, addr string) (net.Conn, error) {
			return dialTLS(ctx, a.cfg.net, addr, a.id.Client(identity.ProtoGossip, ""))
		},
		Seeds:  func() []string { return append(a.peers.addresses(), a.seeds...) },
		Logger: a.cfg.Logger,
	})
	return err
}

func (a *agent) buildLog() (err error) {
	a.log, err = consensus.Open(consensus.Config{
		ID: a.id.NodeID(), Stores: a.cfg.stores,
		Address: func() string { return a.cfg.Advertise },
		Streams: a.port.Listener(identity.ProtoRaft),
		Dial: func(ctx context.Context, id, _ string) (net.Conn, error) {
			return a.dial(ctx, identity.ProtoRaft, id)
		},
		Resolve: a.resolve, Forward: a.forward, Members: a.members,
		Logger: a.cfg.Logger, Crash: a.cfg.crash,
	})
	if err == nil {
		a.id.Refuse(a.refusal)
	}
	return err
}

func (a *agent) members() []consensus.Member {
	var list []consensus.Member
	for _, m := range a.gossip.Members() {
		list = append(list, consensus.Member{ID: m.ID, Name: m.Name, Alive: m.Alive})
	}
	return list
}

func (a *agent) buildNode() {
	m := a.cfg.machine
	smi := func(context.Context, []string) (string, error) { return "", gpu.ErrNoGPU }
	if m == nil {
		a.gpus = gpu.New(gpu.Config{})
		own := &machine{gpus: a.gpus, topology: readTopology("/sys/devices/system")}
		m, smi = own, func(ctx context.Context, args []string) (string, error) { return own.SMI(ctx, a.cfg.Name, args) }
	}
	a.node = node.New(node.Config{
		ID: a.id.NodeID(), Name: a.cfg.Name, Address: a.cfg.Advertise, Version: version, Key: a.id.Key(),
		Log: a.log, Changed: a.log.Changed, Engine: a.engine, Peers: clusterPeers{a}, Machine: m, Tell: a.gossip.SetLoad, Logger: a.cfg.Logger,
		Started: func(ctx context.Context, container string) { a.api.Started(ctx, container) },
		Relay:   relay.New(relay.Config{Network: a.cfg.relays, Address: a.holderAddress, Logger: a.cfg.Logger}),
		Images:  a.mover, Library: a.library, Disk: imageEngine{a.engine}.disk,
		Crash: a.cfg.crash,
	})
	a.api = api.New(api.Config{
		Self: a.id.NodeID(), Name: a.cfg.Name, Version: version,
		Log: a.log, Raft: a.log, Restore: a.log.Restore, Node: a.node, Engine: a.engine, Socket: a.cfg.Socket,
		Images: clusterImages{a.node}, Update: a.node.Update, MoveName: a.node.MoveName, Furnish: a.node.Furnish, EngineImage: a.node.EngineImage, ClusterImage: a.clusterImage,
		Peer:  func(id string) http.RoundTripper { return toNode{a.transport, id} },
		Alive: a.alive, Caller: a.caller, CA: func() []byte { return a.id.Trust().Roots }, Token: a.newToken, Leave: a.leave,
		RotateKey: a.rotate, NodeKeys: a.nodeKeys, SMI: smi, GPUs: m.GPUs, Audit: a.audit,
		Logger: a.cfg.Logger, Crash: a.cfg.crash,
	})
}

// clusterPeers is what the node asks of the others.
type clusterPeers struct{ *agent }

// Alive says whether the node is believed to answer, by gossip and by whoever
// tried last.
func (p clusterPeers) Alive(id string) bool { return p.alive(id) && p.api.Reachable(id) }

// Load returns what the node last told of its load.
func (p clusterPeers) Load(id string) sched.Load {
	l, _ := p.gossip.Load(id)
	return sched.Load{CPU: int(l.CPUPercent), Memory: int(l.MemoryPercent)}
}

// HasImage asks the node itself.
func (p clusterPeers) HasImage(ctx context.Context, id, ref string) bool {
	return p.api.HasImage(ctx, id, ref)
}

// Bring has another node bring an image.
func (p clusterPeers) Bring(ctx context.Context, id, imageID, name string) error {
	return p.api.BringImage(ctx, id, imageID, name)
}

func (a *agent) alive(id string) bool {
	if id == a.id.NodeID() {
		return true
	}
	m, ok := a.gossip.Member(id)
	return ok && m.Alive
}

func (a *agent) addressInLedger(id string) (addr string) {
	a.log.View(func(l *ledger.Ledger) {
		if n := l.Node(id); n != nil {
			addr = n.Address
		}
	})
	return addr
}

// addresses returns where all nodes were last heard of.
func (a *agent) addresses() map[string]string {
	addrs := map[string]string{}
	for _, m := range a.gossip.Members() {
		addrs[m.ID] = m.Addr
	}
	addrs[a.id.NodeID()] = a.cfg.Advertise
	return addrs
}

// findSeeds turns the hosts that a person named into addresses.
func (a *agent) findSeeds(ctx context.Context) []string {
	var names, seeds []string
	if a.cfg.Join != "" {
		names = append(names, withPort(a.cfg.Join))
	}
	if a.cfg.settings != nil {
		for _, h := range a.cfg.settings.Hosts {
			names = append(names, withPort(h.Host))
		}
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	for _, name := range names {
		host, port, _ := net.SplitHostPort(name)
		if _, err := netip.ParseAddr(host); err == nil {
			seeds = append(seeds, name)
			continue
		}
		ips, err := net.DefaultResolver.LookupHost(ctx, host)
		if err != nil {
			a.cfg.Logger.Debug("host of info.json or --join not found", "host", host, "err", err)
		}
		for _, ip := range ips {
			seeds = append(seeds, net.JoinHostPort(ip, port))
		}
	}
	return seeds
}

// run serves until ctx ends.
func (a *agent) run(ctx context.Context) error {
	socket := a.cfg.socket
	if socket == nil {
		var err error
		if socket, err = listenSocket(a.cfg.Socket); err != nil {
			return errors.Join(err, a.cfg.stores.Close())
		}
	}
	all, ctx := errgroup.WithContext(ctx)
	all.Go(func() error { return a.gossip.Run(ctx) })
	all.Go(func() error { return a.log.Run(ctx) })
	all.Go(func() error { return a.mover.Run(ctx) })
	all.Go(func() error { return a.node.Run(ctx) })
	all.Go(func() error { return a.api.Run(ctx) })
	if a.gpus != nil {
		all.Go(func() error { return a.gpus.Run(ctx) })
	}
	serve := func(way server) { all.Go(func() error { return a.serve(ctx, way) }) }
	public, room := a.port.Listener(identity.ProtoHTTP), limitsOf(a.cfg.files)
	serve(server{rpcListener{a.port.Listener(identity.ProtoRPC)}, a.rpcHandler(), a.withPeer, a.newVisits(room.ofNodes())})
	all.Go(func() error { return a.port.Run(ctx) }) // which knows the listeners asked for so far
	a.catchUp(ctx)
	clients := a.newVisits(room)
	serve(server{readListener{socket}, a.api, a.withLocal, clients})
	serve(server{public, a.publicHandler(), a.withPeer, clients})
	all.Go(func() error { return a.finishFounding(ctx) })
	all.Go(func() error { return a.member(ctx) })
	all.Go(func() error { a.keepCertificate(ctx); return nil })
	all.Go(func() error { a.heed(ctx); return nil })
	all.Go(func() error { a.lead(ctx); return nil })
	all.Go(func() error { a.stay(ctx); return nil })
	all.Go(func() error { a.evict(ctx); return nil })
	all.Go(func() error { return a.belong(ctx) })
	all.Go(func() error { a.rememberPeers(ctx); return nil })
	a.cfg.Logger.Info("agent runs", "node", a.cfg.Name, "address", a.cfg.Advertise, "version", version)
	daemon.SdNotify(false, daemon.SdNotifyReady)
	<-ctx.Done()
	daemon.SdNotify(false, daemon.SdNotifyStopping)
	err := all.Wait()
	a.transport.CloseIdleConnections()
	a.engine.Close()
	err = errors.Join(err, a.audit.Close())
	if p := partingIn(err); p != nil {
		return a.cfg.settleParting(p)
	}
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// catchUp waits until this node knows what the cluster had decided when it came,
// so that the first client is not told that there is nothing. Without a quorum
// clients are served what this node knows.
func (a *agent) catchUp(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, catchUpTimeout)
	defer cancel()
	if err := a.log.Read(ctx); err != nil {
		a.cfg.Logger.Info("clients are served before this node has caught up with the cluster", "err", err)
	}
}

const (
	// catchUpTimeout is how long clients wait for a node that has just started.
	catchUpTimeout = 3 * time.Second
	// peersPause is how often commands may have the addresses of the others looked at.
	peersPause = time.Second
)

// rememberPeers keeps the others' addresses for the next start, and forgets those that
// the cluster has removed.
func (a *agent) rememberPeers(ctx context.Context) {
	for {
		changed, decided := a.gossip.Changed(), a.log.Changed()
		addrs := a.addresses()
		delete(addrs, a.id.NodeID())
		for id := range addrs {
			if a.gone(id) {
				a.gossip.Forget(id)
				delete(addrs, id)
			}
		}
		if err := a.peers.learn(addrs, a.gone); err != nil {
			a.cfg.Logger.Warn("addresses of the other nodes are not saved", "err", err)
		}
		select {
		case <-changed:
		case <-decided:
			if !sleep(ctx, peersPause) { // many commands count as one
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
