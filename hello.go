package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"ddocker/consensus"
	"ddocker/consensus/ledger"
	"ddocker/identity"
)

const pathHello = "/ddocker/hello"

// Bounds of a hello.
const (
	helloTimeout = 2 * time.Second
	twinTimeout  = time.Second // within it
	helloPeers   = 8           // asked at a time
	// lostAfter is how long a node hears no leader before it asks the others whether it
	// is still one of them, and lostPause how long it waits at most to ask again.
	lostAfter = 4 * time.Second
	lostPause = 30 * time.Second
)

// hello is what a node says to others when it starts, when it wants a certificate, and
// when it hears nothing from them. It goes to the route of clients, where the key that
// the node registered with counts, and not its certificate, which may have expired or be
// of an authority that is trusted no more.
type hello struct {
	Node, Name, Address string
	Boot                string // another one each time the agent starts
	CSR                 []byte `json:",omitempty"` // a certificate is asked for
}

// welcome is the answer.
type welcome struct {
	Cert  []byte `json:",omitempty"`
	Trust identity.Trust
	Held  held
	Peers map[string]string // addresses by node ID
	Now   time.Time
}

// unwelcome is an answer that is final: this machine is no node of the cluster, or must
// not be under this name.
type unwelcome struct {
	Message string           `json:"message"`
	Gone    *ledger.Departed `json:",omitempty"`
}

// Error returns the message.
func (u *unwelcome) Error() string { return u.Message }

// parting returns the answer as what ends an agent: a removed node's is a *parting.
func (u *unwelcome) parting() error {
	if u.Gone != nil {
		p := partingOf(u.Gone)
		p.Left = false // nothing is wiped on another's word
		return p
	}
	return u
}

// final says whether an error is the cluster's word on this machine.
func final(err error) bool {
	var no *unwelcome
	var gone *parting
	return errors.As(err, &no) || errors.As(err, &gone)
}

// sayHello tells some other nodes that this one is there, and takes what it has missed.
// An error that is final is the cluster's word, any other that nobody could say.
func (a *agent) sayHello(ctx context.Context, renew bool) error {
	h := hello{Node: a.id.NodeID(), Name: a.cfg.Name, Address: a.cfg.Advertise, Boot: a.boot}
	if renew {
		var err error
		if h.CSR, err = a.id.CSR(); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, helloTimeout)
	defer cancel()
	addrs := a.greeted()
	answers := make(chan error, len(addrs))
	replies := make(chan *welcome, len(addrs))
	for _, addr := range addrs {
		go func() {
			var w welcome
			err := a.askPublicly(ctx, addr, pathHello, h, &w)
			if err == nil && renew && len(w.Cert) == 0 {
				err = fmt.Errorf("%s gave no certificate", addr)
			}
			if err == nil {
				replies <- &w
			}
			answers <- err
		}()
	}
	failed := errors.New("no other node is known")
	for range addrs {
		err := <-answers
		var no *unwelcome
		if err == nil {
			return a.adopt(<-replies)
		}
		if errors.As(err, &no) {
			return no.parting()
		}
		failed = err
	}
	return failed
}

// greeted returns the addresses of the others that are asked, voters first.
func (a *agent) greeted() (addrs []string) {
	add := func(list ...string) {
		for _, addr := range list {
			if addr != a.cfg.Advertise && len(addrs) < helloPeers && !slices.Contains(addrs, addr) {
				addrs = append(addrs, addr)
			}
		}
	}
	if a.log != nil {
		for _, s := range a.log.Servers() {
			if addr, ok := a.resolve(s.ID); ok && s.Role != consensus.Nonvoter && s.ID != a.id.NodeID() {
				add(addr)
			}
		}
	}
	add(a.peers.addresses()...)
	add(a.seeds...)
	return addrs
}

// askPublicly asks a node over the protocol of clients, whichever node is there.
func (a *agent) askPublicly(ctx context.Context, addr, path string, message, reply any) error {
	return a.askAt(ctx, addr, identity.ProtoHTTP, "", path, message, reply)
}

// askAt asks the node at an address, which may be another than is known of it.
func (a *agent) askAt(ctx context.Context, addr, proto, id, path string, message, reply any) error {
	transport := &http.Transport{
		DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialTLS(ctx, a.cfg.net, addr, a.id.Client(proto, id))
		},
	}
	defer transport.CloseIdleConnections()
	return post(ctx, transport, "https://node.ddocker.internal"+path, message, reply)
}

// adopt takes what another node has of the cluster and this one has missed.
func (a *agent) adopt(w *welcome) error {
	if skew := time.Since(w.Now).Round(time.Second); skew > maxSkew || skew < -maxSkew {
		a.cfg.Logger.Warn("this machine's clock differs from another node's: set it, for example with \"timedatectl set-ntp true\"", "ahead", skew)
	}
	mine := a.secrets.get()
	// One node's word makes nobody an authority: those that are trusted have to vouch.
	if mine.CA.before(w.Held.CA) && !a.id.Proves(w.Trust) {
		w.Held.CA = mine.CA
	}
	if mine.CA.before(w.Held.CA) {
		if err := a.id.SetTrust(w.Trust); err != nil {
			return err
		}
	}
	if mine.CA.before(w.Held.CA) || mine.Gossip.before(w.Held.Gossip) {
		if err := a.secrets.set(func(h *held) { h.take(w.Held) }); err != nil {
			return err
		}
		if err := a.useKeys(); err != nil {
			return err
		}
	}
	if len(w.Cert) > 0 {
		if err := a.id.Renew(w.Cert); err != nil {
			return err
		}
	}
	delete(w.Peers, a.id.NodeID())
	return a.peers.learn(w.Peers, nobody)
}

// take takes over what is further than h.
func (h *held) take(o held) {
	if h.CA.before(o.CA) {
		h.CA = o.CA
	}
	if h.Gossip.before(o.Gossip) && len(o.Salts) > 0 {
		h.Gossip, h.Salts = o.Gossip, o.Salts
	}
}

func (a *agent) useKeys() error {
	if a.gossip == nil {
		return nil // it begins with them
	}
	return a.gossip.SetKeys(a.secrets.keys())
}

// introduce says hello before anything else is done in a node's name: should another
// machine run under it, two would vote as one. Where nobody answers the cluster is off,
// or this machine cut off from it.
func (a *agent) introduce(ctx context.Context) error {
	_, err := a.renewIfStale()
	if err != nil {
		a.cfg.Logger.Warn("certificate not renewed yet", "until", a.id.NotAfter(), "err", err)
	}
	// What it is told first may be that there is another authority.
	for range 2 {
		renew := a.staleCertificate()
		err = a.sayHello(ctx, renew)
		if final(err) {
			return err
		}
		if err == nil && !a.staleCertificate() {
			return nil
		}
		if err != nil && !renew {
			break
		}
	}
	if err != nil {
		a.cfg.Logger.Debug("no other node has answered yet", "err", err)
	}
	return nil
}

func (a *agent) renewIfStale() (bool, error) {
	if !a.staleCertificate() {
		return false, nil
	}
	return a.renewHere()
}

// belong asks the others, while this node hears of no leader, whether it is still one of
// them, and returns their word if it is not.
func (a *agent) belong(ctx context.Context) error {
	for heard, ask := time.Now(), lostAfter; sleep(ctx, lostAfter/4); {
		if _, led := a.log.Leader(); led {
			heard, ask = time.Now(), lostAfter
		}
		if time.Since(heard) < ask {
			continue
		}
		ask += min(ask, lostPause)
		if err := a.sayHello(ctx, false); final(err) {
			return err
		}
	}
	return nil
}

// helloHandler answers hellos. Whoever says one has shown nothing but a key.
func (a *agent) helloHandler(w http.ResponseWriter, r *http.Request) {
	var h hello
	reply, err := (*welcome)(nil), json.NewDecoder(http.MaxBytesReader(w, r.Body, maxMessage)).Decode(&h)
	if err == nil {
		ctx, cancel := context.WithTimeout(r.Context(), helloTimeout)
		reply, err = a.greet(ctx, h)
		cancel()
	}
	w.Header().Set("Content-Type", "application/json")
	var no *unwelcome
	switch {
	case errors.As(err, &no):
		w.WriteHeader(http.StatusForbidden)
		json.NewEncoder(w).Encode(no)
	case err != nil:
		w.WriteHeader(http.StatusServiceUnavailable)
		json.NewEncoder(w).Encode(map[string]string{"message": err.Error()})
	default:
		json.NewEncoder(w).Encode(reply)
	}
}

func (a *agent) greet(ctx context.Context, h hello) (*welcome, error) {
	if err := a.recognize(ctx, h); err != nil {
		return nil, err
	}
	if err := a.unlikeOthers(h); err != nil {
		return nil, err
	}
	if err := a.onlyOne(ctx, h); err != nil {
		return nil, err
	}
	w := &welcome{Peers: a.addresses(), Now: time.Now()}
	// The certificate is of an authority that what is told besides has to know.
	if len(h.CSR) > 0 {
		cert, err := a.certify(ctx, h)
		if err != nil {
			return nil, fmt.Errorf("renew the certificate of %s: %w", h.Name, err)
		}
		w.Cert = cert
	}
	w.Held, w.Trust = a.secrets.get(), a.id.Trust()
	return w, nil
}

// recognize checks that whoever says hello is the node that it says it is: it holds the
// key that the node has registered, or shows a good certificate.
func (a *agent) recognize(ctx context.Context, h hello) error {
	peer := callingPeer(ctx)
	known := func() (ok bool, no *unwelcome) {
		a.log.View(func(l *ledger.Ledger) {
			n := l.Node(h.Node)
			ok = n != nil && n.Key == peer.Key && peer.Key != "" || peer.Node != "" && peer.Node == h.Node && (n == nil || n.Key == "")
			if gone := l.GoneNode(h.Node); gone != nil {
				no = farewell(gone)
			}
		})
		return ok, no
	}
	ok, no := known()
	if no != nil {
		return no
	}
	if ok {
		return nil
	}
	if err := a.log.Read(ctx); err != nil { // this node itself may know too little
		return fmt.Errorf("find out whether %s is a node: %w", h.Name, err)
	}
	if ok, no = known(); no != nil {
		return no
	} else if !ok {
		return &unwelcome{Message: fmt.Sprintf("the cluster knows no node with this key and the ID %s: to join it, run on %s \"ddocker agent --join HOST --token TOKEN\" with an empty --data-dir", h.Node, h.Name)}
	}
	return nil
}

// farewell tells a removed node so.
func farewell(gone *ledger.Departed) *unwelcome {
	return &unwelcome{Message: partingOf(gone).Error(), Gone: gone}
}

// unlikeOthers refuses a node that comes back under the name of another.
func (a *agent) unlikeOthers(h hello) (err error) {
	if !nodeName.MatchString(h.Name) {
		return &unwelcome{Message: fmt.Sprintf("%q is no name for a node", h.Name)}
	}
	a.log.View(func(l *ledger.Ledger) {
		n := l.NodeNamed(h.Name)
		if n == nil || n.Node == h.Node {
			return
		}
		before := "as before"
		if own := l.Node(h.Node); own != nil {
			before = "as " + own.Name + ", its name until now"
		}
		err = &unwelcome{Message: fmt.Sprintf("a node named %s is already in the cluster, at %s: start this one with another --name, or %s", h.Name, n.Address, before)}
	})
	return err
}

// onlyOne refuses the copy of a node that runs elsewhere.
func (a *agent) onlyOne(ctx context.Context, h hello) error {
	boot, addr := a.boot, a.cfg.Advertise
	if h.Node != a.id.NodeID() {
		m, ok := a.gossip.Member(h.Node)
		if !ok || !m.Alive || m.Addr == h.Address {
			return nil
		}
		ctx, cancel := context.WithTimeout(ctx, twinTimeout)
		defer cancel()
		var there bootReply
		if a.askAt(ctx, m.Addr, identity.ProtoRPC, h.Node, "/rpc/boot", struct{}{}, &there) != nil {
			return nil // it has moved
		}
		boot, addr = there.Boot, m.Addr
	}
	if boot == h.Boot {
		return nil
	}
	return &unwelcome{Message: fmt.Sprintf("node %s runs at %s, and the data directory here is a copy of its: for a machine of its own, run \"ddocker agent --join HOST --token TOKEN\" with an empty --data-dir and another --name", h.Name, addr)}
}

// bootReply tells two machines with one identity apart.
type bootReply struct{ Boot string }

func (a *agent) tellBoot(context.Context, struct{}) (*bootReply, error) {
	return &bootReply{a.boot}, nil
}

// certificateRequest asks a voter for a certificate for a node; empty: the one that asks.
type certificateRequest struct {
	Node          string
	CSR           []byte
	Name, Address string
}

// certify has a certificate signed for a node that was recognized.
func (a *agent) certify(ctx context.Context, h hello) ([]byte, error) {
	request := certificateRequest{h.Node, h.CSR, h.Name, h.Address}
	if a.authority() == nil {
		reply, err := askVoters[joinReply](ctx, a, "/rpc/renew", request)
		if no := (*unwelcome)(nil); errors.As(err, &no) && no.Gone == nil {
			return nil, errors.New(no.Message) // what one voter cannot do now is no last word
		}
		if err != nil {
			return nil, err
		}
		return reply.Cert, nil
	}
	return a.sign(request, h.Node)
}

// reissue signs a certificate for another node on its behalf, or on behalf of one that has
// said hello to that node.
func (a *agent) reissue(ctx context.Context, request certificateRequest) (*joinReply, error) {
	by := peerOf(ctx)
	if request.Node == "" {
		request.Node = by
	}
	cert, err := a.sign(request, by)
	return &joinReply{Cert: cert}, err
}

// sign signs a certificate for a node with the key that it has registered. Where the
// ledger has no key, only the node itself may ask.
func (a *agent) sign(request certificateRequest, by string) ([]byte, error) {
	ca := a.authority()
	if ca == nil {
		return nil, errors.New("this voter does not have the CA's key yet")
	}
	key, err := identity.RequestKey(request.CSR)
	if err != nil {
		return nil, err
	}
	registered := ""
	a.log.View(func(l *ledger.Ledger) {
		if gone := l.GoneNode(request.Node); gone != nil {
			err = farewell(gone)
		} else if err = alike(l, request.Node, request.Name); err != nil {
			return
		} else if n := l.Node(request.Node); n != nil {
			registered = n.Key
		}
	})
	switch {
	case err != nil:
		return nil, err
	case registered != "" && registered != key:
		return nil, fmt.Errorf("the key is not the one of node %s", request.Node)
	case registered == "" && by != request.Node:
		return nil, fmt.Errorf("the key of node %s is not known, and only itself may ask for its certificate", request.Node)
	}
	return ca.Sign(request.CSR, a.cfg.subject(request.Node, request.Name, a.ownedBy(request.Node, request.Address)))
}

// alike refuses a name by which clients would take a node for another: names of hosts
// have no case, and an address is no name.
func alike(l *ledger.Ledger, node, name string) error {
	if _, err := netip.ParseAddr(name); err == nil {
		return fmt.Errorf("%s is an address, and no name for a node", name)
	}
	for _, n := range l.Nodes() {
		if n.Node != node && strings.EqualFold(n.Name, name) {
			return fmt.Errorf("a node named %s is already in the cluster, at %s", n.Name, n.Address)
		}
	}
	return nil
}

// ownedBy returns the address, or none if it is another node's: no certificate is to
// stand for that.
func (a *agent) ownedBy(node, address string) string {
	a.log.View(func(l *ledger.Ledger) {
		host, _, _ := net.SplitHostPort(address)
		for _, n := range l.Nodes() {
			if other, _, _ := net.SplitHostPort(n.Address); n.Node != node && other == host {
				address = ""
			}
		}
	})
	return address
}
