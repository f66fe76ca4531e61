package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"ddocker/consensus/ledger"
	"ddocker/crash"
	"ddocker/identity"
)

// fileParted stands in the data directory of a machine that is no part of its cluster any
// more: a parting, in JSON. Until it is told to join again, no agent starts there.
const fileParted = "parted"

// fileLeaving stands there while a node leaves: before, in JSON.
const fileLeaving = "leaving"

// toLeave ends the name of who drains a node, where it is drained by its leave.
const toLeave = ", to leave"

// Bounds of a leave.
const (
	leaveTimeout = 20 * time.Second
	// createsGrace is how long a leave waits for creates under way here, of that.
	createsGrace = 10 * time.Second
	// voteEvery is how often a leaving voter looks whether others vote in its place.
	voteEvery = 20 * time.Millisecond
	// stayEvery is how often it is tried to undo a leave that failed.
	stayEvery = 2 * time.Second
)

// parting is why this machine is no part of the cluster any more. As an error it ends the
// agent.
type parting struct {
	Node, Name string
	At         time.Time
	By         string
	Left       bool   // by its own wish
	Host       string // of the cluster, where it may be joined again
	Token      string // SHA-256 of the join token that its agent had last: it is not used again
}

func partingOf(gone *ledger.Departed) *parting {
	return &parting{Node: gone.ID, Name: gone.Name, At: gone.At, By: gone.By, Left: gone.Left}
}

// partingIn returns the parting that an error tells of, or nil.
func partingIn(err error) (p *parting) {
	errors.As(err, &p)
	return p
}

// Error says what happened and what to do now.
func (p *parting) Error() string {
	how := fmt.Sprintf("host %s left the cluster", p.Name)
	if !p.Left {
		how = fmt.Sprintf("host %s was removed from the cluster by %s", p.Name, p.By)
	}
	return fmt.Sprintf("%s at %s; its containers were left as they are. An empty --data-dir founds a new cluster. To join again, for which nothing has to be wiped by hand, print a token with \"ddocker token\" on a host of the cluster, and run here: ddocker agent --join %s --token TOKEN",
		how, p.At.UTC().Format(time.RFC3339), cmp.Or(p.Host, "HOST"))
}

// leave has the cluster remove this node, after its vote was taken over, and returns when
// that is decided. The agent then ends. It goes on when ctx ends.
func (a *agent) leave(ctx context.Context, by string, force bool) error {
	select {
	case a.leaving <- struct{}{}:
		defer func() { <-a.leaving }()
	default:
		return &ledger.Refusal{Code: ledger.Conflict, Message: "this host is leaving already"}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTimeout)
	defer cancel()
	if err := a.undoLeave(ctx); err != nil { // one of before
		return err
	}
	if err := a.log.Read(ctx); err != nil {
		return err
	}
	command := ledger.Remove{Node: a.id.NodeID(), By: by, Left: true, Force: force}
	var refusal *ledger.Refusal
	was := ledger.Node{}
	a.log.View(func(l *ledger.Ledger) {
		if refusal = l.MayRemove(&command); refusal == nil && l.Node(command.Node) != nil {
			was = *l.Node(command.Node)
		}
	})
	if refusal != nil {
		return refusal
	}
	note := before{was.Drained, was.Vote, identity.NewID()}
	if err := a.noteLeaving(note); err != nil {
		return err
	}
	if err := a.stepBack(ctx, note, command); err != nil {
		if a.undoLeave(context.WithoutCancel(ctx)) != nil {
			a.stays()
		}
		if p := a.parting(); p != nil { // after all
			a.part(p)
			return nil
		}
		return err
	}
	a.cfg.Logger.Info("this host leaves the cluster; its containers run on", "by", by)
	a.part(a.parting())
	return nil
}

// stepBack hands everything on that others count on this node for, and has it removed.
func (a *agent) stepBack(ctx context.Context, note before, command ledger.Remove) error {
	draining, unvoting, removing := note.requests()
	a.cfg.crash.At(crash.LeaveAsked)
	// What is asked for meanwhile goes to hosts that stay.
	if err := a.decree(ctx, ledger.Command{ID: draining, Drain: &ledger.Drain{Node: command.Node, By: command.By + toLeave}}); err != nil {
		return err
	}
	a.cfg.crash.At(crash.LeaveDrained)
	a.finishCreates(ctx, command.Node)
	if err := a.giveUpVote(ctx, unvoting); err != nil {
		return err
	}
	a.cfg.crash.At(crash.LeaveVoteless)
	if err := a.handOnKey(ctx); err != nil {
		return err
	}
	a.cfg.crash.At(crash.LeaveKeyless)
	// Once it is removed others need not answer it any more, and what this replica was
	// told of it counts as an answer.
	err := a.decree(ctx, ledger.Command{ID: removing, Remove: &command})
	a.cfg.crash.At(crash.LeaveRemoved)
	if a.parting() != nil {
		return nil
	}
	return err
}

// finishCreates waits until what was reserved here is made, for createsGrace at most: an
// engine may carry out also a create that its agent has broken off, and then nobody knows
// whose the container is.
func (a *agent) finishCreates(ctx context.Context, self string) {
	ctx, cancel := context.WithTimeout(ctx, createsGrace)
	defer cancel()
	if a.log.Read(ctx) != nil { // what was reserved before the drain is not all known here
		return
	}
	for {
		changed := a.log.Changed()
		making := false
		a.log.View(func(l *ledger.Ledger) {
			making = slices.ContainsFunc(l.Placed(self), func(p *ledger.Placement) bool { return p.Container == "" })
		})
		if !making {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// before is what a node was before it began to leave. It lies in the data directory until
// the node has left, or is again what it was.
type before struct {
	Drained string          `json:"drained,omitempty"` // by whom
	Vote    ledger.Suffrage `json:"vote,omitempty"`
	Leave   string          `json:"leave,omitempty"` // names this leave; older agents give none
}

// requests returns the IDs of what a leave asks of the ledger.
func (b before) requests() (drain, vote, remove string) {
	return b.Leave + "/drain", b.Leave + "/vote", b.Leave + "/remove"
}

// noteLeaving notes what is to be undone if this node does not leave after all.
func (a *agent) noteLeaving(note before) error {
	text, err := json.Marshal(note)
	if err != nil {
		return err
	}
	return writeDurably(filepath.Join(a.cfg.DataDir, fileLeaving), text)
}

// stays has undone what a leave that failed has done, as soon as that can be.
func (a *agent) stays() {
	select {
	case a.staying <- struct{}{}:
	default: // it is being done
	}
}

// stay undoes leaves that failed, and one that a crash has ended.
func (a *agent) stay(ctx context.Context) {
	if exists(a.cfg.DataDir, fileLeaving) {
		a.stays()
	}
	for {
		select {
		case <-a.staying:
		case <-ctx.Done():
			return
		}
		for told := false; ; told = true {
			err := a.undoAlone(ctx)
			if err == nil {
				break
			}
			if !told {
				a.cfg.Logger.Warn("this host did not leave, and is still drained or without a vote: that is tried to be undone", "err", err)
			}
			if !sleep(ctx, stayEvery) {
				return
			}
		}
	}
}

// undoAlone is undoLeave after a leave that is under way.
func (a *agent) undoAlone(ctx context.Context) error {
	select {
	case a.leaving <- struct{}{}:
		defer func() { <-a.leaving }()
		return a.undoLeave(ctx)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// undoLeave undoes what stepBack did, and no drain or vote that somebody has decided since;
// that it is never to vote is what stepBack wishes too. Its caller holds leaving.
func (a *agent) undoLeave(ctx context.Context) error {
	if p := a.parting(); p != nil { // nobody answers it any more
		a.part(p)
		return nil
	}
	path := filepath.Join(a.cfg.DataDir, fileLeaving)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var was before
	if err := json.Unmarshal(text, &was); err != nil {
		return err
	}
	if err := a.settleRequests(ctx, was); err != nil {
		return err
	}
	if err := a.log.Read(ctx); err != nil {
		return err
	}
	var now *ledger.Node
	a.log.View(func(l *ledger.Ledger) { now = l.Node(a.id.NodeID()) })
	if now == nil { // it has left after all
		if p := a.parting(); p != nil {
			a.part(p)
		}
		return nil
	}
	if strings.HasSuffix(now.Drained, toLeave) {
		err = a.decree(ctx, ledger.Command{Drain: &ledger.Drain{Node: a.id.NodeID(), Open: was.Drained == "", By: was.Drained}})
	}
	if now.Vote == ledger.Never {
		err = errors.Join(err, a.wishVote(ctx, was.Vote, ""))
	}
	if err != nil {
		return err
	}
	a.cfg.Logger.Info("this host did not leave, and is again what it was before")
	return errors.Join(os.Remove(path), syncDir(a.cfg.DataDir))
}

// settleRequests has what a leave asked for, and heard no answer to, be done by now or
// never: a request that has an ID in common with one of before changes nothing, and a
// drain of no node does not either.
func (a *agent) settleRequests(ctx context.Context, was before) error {
	if was.Leave == "" {
		return nil
	}
	drain, vote, remove := was.requests()
	for _, id := range []string{drain, vote, remove} {
		if _, _, err := a.log.Propose(ctx, ledger.Command{ID: id, Drain: &ledger.Drain{}}); err != nil {
			return err
		}
	}
	return nil
}

// decree has the ledger carry out a command.
func (a *agent) decree(ctx context.Context, command ledger.Command) error {
	result, _, err := a.log.Propose(ctx, command)
	if err == nil && result.Refusal != nil {
		return result.Refusal
	}
	return err
}

func (a *agent) wishVote(ctx context.Context, want ledger.Suffrage, request string) error {
	return a.decree(ctx, ledger.Command{ID: request, Vote: &ledger.Vote{Node: a.id.NodeID(), Want: want}})
}

// giveUpVote returns when this node neither leads nor votes, so that nobody misses it.
func (a *agent) giveUpVote(ctx context.Context, request string) error {
	if !a.isVoter(a.id.NodeID()) {
		return nil
	}
	if err := a.wishVote(ctx, ledger.Never, request); err != nil {
		return err
	}
	a.cfg.crash.At(crash.LeaveWished)
	for a.isVoter(a.id.NodeID()) {
		if !sleep(ctx, voteEvery) {
			return fmt.Errorf("host %s still votes on the cluster's log, because no other host that answers took over within %s: see \"ddocker raft peers\"; nothing was changed",
				a.cfg.Name, leaveTimeout)
		}
	}
	return nil
}

// handOnKey returns when one of the voters at least has the CA's key, if this node has it:
// it may be the only one.
func (a *agent) handOnKey(ctx context.Context) error {
	ca := a.authority()
	if ca == nil {
		return nil
	}
	key, err := ca.KeyPEM()
	if err != nil {
		return err
	}
	for {
		_, err := askVoters[struct{}](ctx, a, "/rpc/ca-key/keep", caKey{key})
		if err == nil {
			return nil
		}
		if !sleep(ctx, voteEvery) {
			return fmt.Errorf("hand the CA's key on: %w", err)
		}
	}
}

// takeKey keeps the CA's key for a voter that leaves.
func (a *agent) takeKey(_ context.Context, k caKey) (*struct{}, error) {
	switch {
	case !a.isVoter(a.id.NodeID()):
		return nil, errors.New("the CA's key is for voters")
	case a.authority() != nil:
		return &struct{}{}, nil
	}
	if _, err := identity.ParseAuthority(a.id.Trust().Roots, k.Key); err != nil {
		return nil, err
	}
	err := writeDurably(filepath.Join(a.cfg.DataDir, fileCAKey), k.Key)
	a.cfg.crash.At(crash.LeaveKeyKept)
	return &struct{}{}, err
}

// parting returns what the ledger says of this node's removal; nil: nothing.
func (a *agent) parting() (p *parting) {
	a.log.View(func(l *ledger.Ledger) {
		if g := l.GoneNode(a.id.NodeID()); g != nil {
			p = partingOf(g)
		}
	})
	return p
}

// gone says whether the cluster has removed the node.
func (a *agent) gone(id string) (gone bool) {
	a.log.View(func(l *ledger.Ledger) { gone = l.GoneNode(id) != nil })
	return gone
}

// part ends the agent of a machine that is no part of the cluster any more.
func (a *agent) part(p *parting) {
	if p == nil { // this replica lags
		p = &parting{Node: a.id.NodeID(), Name: a.cfg.Name, At: time.Now(), Left: true}
	}
	select {
	case a.parted <- p:
	default: // it ends already
	}
}

// member returns when this node has been removed from the cluster, as an error, or with
// ctx.
func (a *agent) member(ctx context.Context) error {
	for {
		changed := a.log.Changed()
		// Who leaves by its own wish says so itself, when it has been answered.
		if p := a.parting(); p != nil && len(a.leaving) == 0 {
			return p
		}
		select {
		case p := <-a.parted:
			return p
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}

// settleParting leaves the data directory as one of a machine that is in no cluster. It
// returns an error if that was not this machine's own wish.
func (cfg *agentConfig) settleParting(p *parting) error {
	p.Token = hashOf(cfg.Token)
	if err := cfg.keepParting(p); err != nil {
		return errors.Join(p, err)
	}
	if !p.Left {
		return p
	}
	cfg.crash.At(crash.LeaveParted)
	err := wipe(cfg.DataDir, cfg.crash)
	cfg.crash.At(crash.LeaveWiped)
	return err
}

// removedMeanwhile notes at a start that the machine was removed while its agent was off.
// A token that is given now is a new one, unless the machine has joined with it.
func (cfg *agentConfig) removedMeanwhile(p *parting) error {
	joined, err := os.ReadFile(filepath.Join(cfg.DataDir, fileJoined))
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // a founder's
		return errors.Join(p, err)
	}
	p.Token = string(joined)
	return cfg.keepParting(p)
}

func (cfg *agentConfig) keepParting(p *parting) error {
	if known := loadPeers(cfg.DataDir).addresses(); len(known) > 0 {
		p.Host = known[0]
	}
	text, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return writeDurably(filepath.Join(cfg.DataDir, fileParted), text)
}

func hashOf(token string) string {
	if token == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

// wipe removes what made the machine a node: identity, keys, log, and where the others are.
func wipe(dir string, point crash.Point) error {
	next, failed := filepath.Glob(filepath.Join(dir, nextKeys))
	for _, path := range next {
		failed = errors.Join(failed, os.Remove(path))
	}
	for _, name := range []string{dirTLS, fileKey, fileCAKey, fileSecrets, fileJoined, fileLeaving, fileFounding, filePeers, dirRaft} {
		failed = errors.Join(failed, os.RemoveAll(filepath.Join(dir, name)))
		point.At(crash.LeaveWiping)
	}
	return failed
}

// mayReturn refuses to start on a machine that is no part of its cluster any more, unless
// it is told to join one: it is then as good as new.
func mayReturn(cfg *agentConfig) error {
	path := filepath.Join(cfg.DataDir, fileParted)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var p parting
	if err == nil {
		err = json.Unmarshal(text, &p)
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	id, err := identity.Load(filepath.Join(cfg.DataDir, dirTLS))
	switch {
	case err == nil && id.NodeID() != p.Node:
		return os.Remove(path) // it has joined since
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err // it may be a member's, which is not to be wiped
	case p.Left && (cfg.Join == "" || cfg.Token == ""):
		return errors.Join(&p, wipe(cfg.DataDir, cfg.crash)) // which may have been cut short
	case cfg.Join == "" || cfg.Token == "":
		return &p
	case p.Token == hashOf(cfg.Token):
		return fmt.Errorf("the token that was given is the one of before: %w", &p)
	}
	return wipe(cfg.DataDir, cfg.crash)
}
