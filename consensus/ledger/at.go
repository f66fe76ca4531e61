package ledger

// At returns the snapshot as the state at another place of the log, after all that it
// was taken from.
func (s Snapshot) At(index uint64) Snapshot {
	s.head.Index = index
	return s
}
