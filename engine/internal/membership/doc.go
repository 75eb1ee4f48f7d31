// Package membership decides which views of the cluster a node installs. It is a pure reducer: the
// reports of a provider go in, topologies and the node's own eviction come out. It has no goroutine,
// lock, clock or I/O, so that random schedules of reports can be tried by the million.
//
// Members are told apart by ID, never by address.
package membership
