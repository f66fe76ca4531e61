// Package ledger is the record of who holds what in the cluster: the nodes and
// their capacity, the placements and what each is granted, container names,
// image names and who has the images, join tokens and the cluster's settings.
//
//	l := ledger.New()
//	data, _ := ledger.Encode(ledger.Command{ID: "r1", Reserve: &ledger.Reserve{…}})
//	result := l.Apply(index, leaderTime, data)
//	if result.Refusal != nil { … }
//
// It is a pure state machine. Apply is the only writer, and every replica that
// applies the same commands in the same order holds the same state and gives the
// same results: there is no clock (commands come with the leader's time), no
// randomness, no order of maps, no I/O and no lock. Whoever shares a Ledger
// between goroutines guards it.
//
// The proposer suggests hosts, the ledger decides: a Reserve names candidates,
// and Apply takes the first that fits by sched.Fit as the holdings then stand.
package ledger
