// Package audit keeps on this machine who did what, from where, and what came of it.
//
//	log, err := audit.Open(dir)
//	…
//	err = log.Append(audit.Entry{Time: time.Now(), User: "alice", Method: "POST", …})
//	lines, end, err := log.Last(audit.Filter{User: "alice"}, 100)
//	lines, end, err = log.After(end, audit.Filter{}) // what has come since
//
// An entry is a line of JSON at the end of the newest file of the directory. Files are
// numbered, never written again once there is a next one, and the oldest of them is
// removed when there are too many: the log is bounded, and what is in it stays as it was
// written. Lines are handed out as bytes, so that what a newer version adds to them passes
// by. An entry outlives the process that wrote it, but not a loss of power in the seconds
// after.
package audit
