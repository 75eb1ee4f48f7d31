// Package bbolt keeps the items of a core.Store in one file, by go.etcd.io/bbolt: for deployments on one
// machine that want state to outlive the process and run no server for it.
//
//	store, err := bbolt.Open(bbolt.Config{Path: "granary.db"})
//
// # What it promises
//
// A write is on disk (fsync) when the call returns, with all that it needs to be found again after a
// crash of the process or of the machine. Revisions are counted over the whole file and are never
// repeated. It offers core.Fencer: claims are kept in the file too, so a token stays refused after a
// restart.
//
// # What it does not
//
// One process at a time has the file open; Open of a second one fails with core.ErrBusy. So all grains
// whose state it holds live in that process, or reach the store through it. A write costs an fsync, and
// writes run one after the other; reads run beside them. The file does not shrink, the room of what was
// deleted is used again. bbolt keeps no checksums of its pages: a file that was cut is found when it is
// opened, one that was written to by others often, but not always, and then as core.ErrInvalid.
package bbolt
