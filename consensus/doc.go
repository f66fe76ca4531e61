// Package consensus keeps one ledger equal on every node, by raft.
//
//	stores, err := consensus.OpenStores(dir, logger)
//	c, err := consensus.Open(consensus.Config{ID: id, Stores: stores, …})
//	if c.Fresh() && founding {
//		err = c.Found(ctx)
//	}
//	go c.Run(ctx)                             // until ctx ends
//
//	res, index, err := c.Propose(ctx, cmd)    // on any node; durable on return
//	err = c.Read(ctx)                         // now View sees every acknowledged write
//	c.View(func(l *ledger.Ledger) { … })
//
// # Who is who
//
// Every node of the ledger is a raft server and holds the whole log. One,
// three or five of them vote; the leader appoints and replaces voters by
// itself (see plan). Servers are known by node ID; where a node lives comes
// from gossip (Config.Resolve), so that an address may change while there is
// no quorum.
//
// # Retries
//
// A ledger command that must not be applied twice carries a request ID, and the
// ledger remembers the result of each, so applying it twice is applying it once.
// Propose therefore retries always, also when an attempt may have been applied.
//
// # Errors
//
// A refusal of the ledger (a name that is taken, a full cluster) is a
// [ledger.Result]. An error of this package means that the command's fate is
// unknown or that it was not taken at all: [*NoLeaderError] when nobody could
// take it, the context's error when the caller gave up first.
package consensus
