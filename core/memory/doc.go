// Package memory holds the twins of core's contracts within one process: a membership provider, a
// lookup with a directory, and a store. They are what a single node runs on, what tests run on, and
// the references of the conformance suites.
//
// A Hub stands for the backend: nodes of one process that are given parts of one hub form a cluster.
// The provider keeps every promise (Ordered, Linearizable, Leases); the lookup runs at most one
// activation of an identity at any moment among the members in the view, with growing tokens; the
// store fences. Nothing survives the process.
package memory
