package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"ddocker/consensus"
	"ddocker/consensus/ledger"
	"ddocker/crash"
	"ddocker/identity"
)

// Files in the data directory beside the log.
const (
	dirTLS       = "tls"        // ca.pem, cert.pem, key.pem: also a client's DOCKER_CERT_PATH
	dirRaft      = "raft"       // consensus' own
	fileKey      = "gossip.key" // 32 bytes
	fileCAKey    = "ca-key.pem" // on voters only
	fileFounding = "founding"   // there from the first line of founding to the last
	fileJoined   = "joined"     // SHA-256 of the token with which the node has joined
)

// maxMessage bounds what nodes say to each other while joining, in bytes.
const maxMessage = 1 << 20

// joinRequest asks for membership. The token stands for the right to it.
type joinRequest struct {
	Token   string
	CSR     []byte
	Name    string
	Address string // that the node advertises
}

// joinReply makes the asker a node.
type joinReply struct {
	Cert      []byte
	CA, Links []byte // see identity.Trust
	GossipKey []byte
	Peers     map[string]string // addresses by node ID
	Now       time.Time         // by the clock of the node that signed
	Held      held
}

// maxSkew is how far clocks may be apart: certificates are valid from five
// minutes before they are made.
const maxSkew = 4 * time.Minute

// checkClock refuses a machine whose clock is off: it would take the others'
// certificates for expired or not yet valid.
func (r *joinReply) checkClock(host string) error {
	skew := time.Since(r.Now).Round(time.Second)
	switch {
	case skew > maxSkew:
		return fmt.Errorf("this machine's clock is %s ahead of that of %s: set it, for example with \"timedatectl set-ntp true\", and join again", skew, host)
	case skew < -maxSkew:
		return fmt.Errorf("this machine's clock is %s behind that of %s: set it, for example with \"timedatectl set-ntp true\", and join again", -skew, host)
	}
	return nil
}

// enter makes sure that the data directory belongs to a node: by its own past,
// by founding a cluster, or by joining one.
func enter(ctx context.Context, cfg *agentConfig) (*identity.Identity, error) {
	if err := os.MkdirAll(filepath.Join(cfg.DataDir, dirRaft), 0o700); err != nil {
		return nil, err
	}
	id, err := identity.Load(filepath.Join(cfg.DataDir, dirTLS))
	switch {
	case err == nil:
		return id, nil
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	case cfg.Join != "" && cfg.Token == "":
		return nil, fmt.Errorf("to join %s a token is needed: run \"ddocker token\" there and give it with --token", cfg.Join)
	case cfg.Token != "" && cfg.Join == "":
		return nil, errors.New("--token needs --join: which host is to be asked?")
	case cfg.Join != "":
		return join(ctx, cfg)
	}
	return found(cfg)
}

// found makes the certificates of a new cluster. The rest of founding needs the
// log, and is repeated from here after a crash: see agent.finishFounding.
func found(cfg *agentConfig) (*identity.Identity, error) {
	if exists(cfg.DataDir, fileKey) && !exists(cfg.DataDir, fileFounding) {
		return nil, fmt.Errorf("%s belonged to a cluster, but its certificates are gone: join again with --join HOST --token TOKEN and another --name, or give an empty --data-dir to found a new cluster", cfg.DataDir)
	}
	ca, err := identity.NewAuthority(identity.NewID())
	if err != nil {
		return nil, err
	}
	caKey, err := ca.KeyPEM()
	if err != nil {
		return nil, err
	}
	key := make([]byte, 32)
	rand.Read(key)
	// The marker comes first: what is there without it belongs to an older cluster.
	for _, f := range []struct {
		name string
		text []byte
	}{{fileFounding, nil}, {fileKey, key}, {fileCAKey, caKey}} {
		if err := writeDurably(filepath.Join(cfg.DataDir, f.name), f.text); err != nil {
			return nil, fmt.Errorf("found a cluster: %w", err)
		}
	}
	return identity.Create(filepath.Join(cfg.DataDir, dirTLS), func(csr []byte) ([]byte, identity.Trust, error) {
		cert, err := ca.Sign(csr, cfg.subject(identity.NewID(), cfg.Name, cfg.Advertise))
		return cert, identity.Trust{Roots: ca.CertPEM()}, err
	})
}

func exists(dir, name string) bool {
	_, err := os.Lstat(filepath.Join(dir, name))
	return err == nil
}

func (cfg *agentConfig) subject(id, name, address string) identity.Subject {
	hosts := []string{name, "localhost"}
	if host, _, err := net.SplitHostPort(address); err == nil {
		hosts = append(hosts, host)
	}
	return identity.Subject{NodeID: id, Name: name, Hosts: hosts, Life: cfg.life}
}

// join asks a host of the cluster for membership.
func join(ctx context.Context, cfg *agentConfig) (*identity.Identity, error) {
	token, err := identity.ParseToken(cfg.Token)
	if err != nil {
		return nil, err
	}
	// What a founding that broke off has left would found it after all, inside the
	// cluster that is joined; what a leave has, would be undone for another node.
	for _, name := range []string{fileFounding, fileCAKey, fileSecrets, fileLeaving} {
		if err := os.Remove(filepath.Join(cfg.DataDir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	addr := withPort(cfg.Join)
	var reply joinReply
	var refused error
	id, err := identity.Create(filepath.Join(cfg.DataDir, dirTLS), func(csr []byte) (cert []byte, t identity.Trust, err error) {
		request := joinRequest{Token: cfg.Token, CSR: csr, Name: cfg.Name, Address: cfg.Advertise}
		cfg.crash.At(crash.JoinAsking)
		if refused = askToJoin(ctx, cfg.net, addr, token.Client(), request, &reply); refused == nil {
			refused = reply.checkClock(cfg.Join)
		}
		if refused != nil {
			return nil, t, refused
		}
		cfg.crash.At(crash.JoinAnswered)
		if err := writeDurably(filepath.Join(cfg.DataDir, fileKey), reply.GossipKey); err != nil {
			return nil, t, err
		}
		if err := writeDurably(filepath.Join(cfg.DataDir, fileJoined), []byte(hashOf(cfg.Token))); err != nil {
			return nil, t, err
		}
		text, err := json.Marshal(reply.Held)
		if err == nil && len(reply.Held.Salts) > 0 {
			err = writeDurably(filepath.Join(cfg.DataDir, fileSecrets), text)
		}
		if err != nil {
			return nil, t, err
		}
		cfg.crash.At(crash.JoinKeyed)
		return reply.Cert, identity.Trust{Roots: reply.CA, Links: reply.Links}, loadPeers(cfg.DataDir).learn(reply.Peers, nobody)
	})
	if refused != nil {
		return nil, fmt.Errorf("join the cluster of %s: %w%s", cfg.Join, refused, advice(refused))
	}
	if err != nil {
		return nil, err
	}
	cfg.crash.At(crash.JoinCertified)
	cfg.Logger.Info("joined the cluster", "cluster", id.Cluster(), "by", cfg.Join)
	return id, nil
}

// advice says what to look at when a host cannot be reached.
func advice(err error) string {
	var timeout net.Error
	if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.EHOSTUNREACH) || errors.As(err, &timeout) && timeout.Timeout() {
		return ": is its agent running, and is its port open here, TCP and UDP?"
	}
	return ""
}

func askToJoin(ctx context.Context, n network, addr string, config *tls.Config, request joinRequest, reply *joinReply) error {
	transport := &http.Transport{
		DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dialTLS(ctx, n, addr, config) },
	}
	defer transport.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	return post(ctx, transport, "https://node.ddocker.internal/ddocker/join", request, reply)
}

// post sends a message to a node and reads its reply.
func post(ctx context.Context, to http.RoundTripper, url string, message, reply any) error {
	body, err := json.Marshal(message)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := to.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxMessage))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		var m unwelcome
		if json.Unmarshal(text, &m); m.Message == "" {
			m.Message = resp.Status
		}
		if resp.StatusCode == http.StatusForbidden {
			return &m
		}
		return errors.New(m.Message)
	}
	return json.Unmarshal(text, reply)
}

func withPort(host string) string {
	if _, _, err := net.SplitHostPort(host); err == nil {
		return host
	}
	return net.JoinHostPort(host, defaultPort)
}

// finishFounding makes the log of a new cluster and seeds its settings. It does
// nothing in a cluster that was founded before.
func (a *agent) finishFounding(ctx context.Context) error {
	marker := filepath.Join(a.cfg.DataDir, fileFounding)
	if _, err := os.Stat(marker); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if _, _, err := a.log.Propose(ctx, ledger.Command{Raise: &ledger.Raise{To: ledger.Version}}); err != nil {
		return fmt.Errorf("begin the cluster's log: %w", err)
	}
	if a.cfg.settings != nil {
		command := ledger.Command{ID: "founding", Configure: &a.cfg.settings.Settings}
		if _, _, err := a.log.Propose(ctx, command); err != nil {
			return fmt.Errorf("seed the cluster's settings: %w", err)
		}
	}
	if err := os.Remove(marker); err != nil {
		return err
	}
	a.cfg.Logger.Info("founded a cluster of one; other machines join with ddocker agent --join HOST --token TOKEN, and \"ddocker token\" prints a token",
		"cluster", a.id.Cluster(), "host", a.cfg.Advertise)
	return nil
}

// foundLog makes this node the first voter, where founding has begun.
func (a *agent) foundLog(ctx context.Context) error {
	if _, err := os.Stat(filepath.Join(a.cfg.DataDir, fileFounding)); err != nil || !a.log.Fresh() {
		return nil
	}
	return a.log.Found(ctx)
}

// admit answers a joining machine: from here if this node has the CA key, else
// from a voter.
func (a *agent) admit(ctx context.Context, request joinRequest) (*joinReply, error) {
	token, err := identity.ParseToken(request.Token)
	if err != nil {
		return nil, err
	}
	if err := a.tokenKnown(ctx, token.Hash()); err != nil {
		return nil, err
	}
	if a.authority() == nil {
		return askVoters[joinReply](ctx, a, "/rpc/join", request)
	}
	return a.admitHere(ctx, request)
}

// tokenKnown refuses an invented token before anything is written to the log.
func (a *agent) tokenKnown(ctx context.Context, hash string) error {
	known := false
	look := func(l *ledger.Ledger) { known = l.HasToken(hash) }
	if a.log.View(look); known {
		return nil
	}
	if err := a.log.Read(ctx); err != nil {
		return err
	}
	if a.log.View(look); !known {
		return errors.New("the join token is not one of this cluster, or has expired: print a new one with \"ddocker token\" on any host of the cluster")
	}
	return nil
}

// admitHere signs the certificate of a joining machine.
func (a *agent) admitHere(ctx context.Context, request joinRequest) (*joinReply, error) {
	ca := a.authority()
	if ca == nil {
		return nil, errors.New("this voter does not have the CA's key yet")
	}
	token, err := identity.ParseToken(request.Token)
	if err != nil {
		return nil, err
	}
	if err := a.tokenKnown(ctx, token.Hash()); err != nil {
		return nil, err
	}
	if !nodeName.MatchString(request.Name) {
		return nil, fmt.Errorf("%q is no name for a node", request.Name)
	}
	if err := a.nameFree(request.Name); err != nil {
		return nil, err
	}
	id := identity.NewID()
	cert, err := ca.Sign(request.CSR, a.cfg.subject(id, request.Name, a.ownedBy(id, request.Address)))
	if err != nil {
		return nil, err
	}
	a.cfg.crash.At(crash.JoinSigned)
	result, _, err := a.log.Propose(ctx, ledger.Command{ID: id, UseToken: &ledger.UseToken{Hash: token.Hash()}})
	if err != nil {
		return nil, err
	}
	if result.Refusal != nil {
		return nil, result.Refusal
	}
	a.cfg.crash.At(crash.JoinAdmitted)
	a.cfg.Logger.Info("admitted a node", "node", request.Name, "address", request.Address, "id", id)
	trust := a.id.Trust()
	return &joinReply{
		Cert: cert, CA: trust.Roots, Links: trust.Links, GossipKey: a.secrets.root, Held: a.secrets.get(), Peers: a.addresses(), Now: time.Now(),
	}, nil
}

func (a *agent) nameFree(name string) error {
	var taken *ledger.Node
	a.log.View(func(l *ledger.Ledger) { taken = l.NodeNamed(name) })
	switch {
	case taken == nil:
		return nil
	case a.alive(taken.Node):
		return fmt.Errorf("a node named %s is already in the cluster, at %s: start this one with another --name", name, taken.Address)
	}
	return fmt.Errorf("a node named %s is already in the cluster, at %s, and does not answer: if this machine is to take its place, run \"ddocker node rm %s\" on %s and join again; else start this one with another --name",
		name, taken.Address, name, a.cfg.Name)
}

// askVoters asks the voters one after another until one answers.
func askVoters[T any](ctx context.Context, a *agent, path string, message any) (*T, error) {
	err := errors.New("no voter is known yet: try again in a moment")
	for _, s := range a.log.Servers() {
		if s.ID == a.id.NodeID() || s.Role == consensus.Nonvoter {
			continue
		}
		var reply T
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		err = post(ctx, toNode{a.transport, s.ID}, "http://node"+path, message, &reply)
		cancel()
		if err == nil {
			return &reply, nil
		}
	}
	return nil, err
}
