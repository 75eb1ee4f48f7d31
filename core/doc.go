// Package core holds the promises of Granary: the vocabulary of virtual actors, the contracts
// Provider, Lookup, Store and Strategy, and Host, the narrow view of its node that a lookup gets.
//
// Plug-ins (providers, lookups, stores) implement these contracts; engine/cluster calls them.
// Applications import engine/cluster and engine/grain instead, and meet core in an Identity, in
// errors, and where they pick parts. Package core and the packages below it import the standard
// library only.
//
// # Rules for every contract
//
//   - ctx is the first argument of whatever blocks, and is never stored. What has no ctx returns at
//     once.
//   - Values that cross a contract belong to the receiver, except *View, Member and slices of
//     members: those are shared and never modified.
//   - Constructors (New(Config[, collaborators]) (*T, error)) do no I/O and start nothing. Start and
//     Join may be called once; Stop and Leave any number of times, also before start.
//   - A part never panics for what happens at run time and never sleeps a fixed time. It takes time,
//     chance and goroutines from Env.
//   - Contracts grow by optional interfaces, asserted in exactly one place, cluster.New. Structs
//     (Promises, Env, Hooks, Member) grow by fields whose zero value means "as before".
//
// # Errors
//
// Every failed call says what is known of its request: DeliveryOf tells whether the handler did not
// run (Undelivered), ran (Delivered), or may have run (DeliveryUnknown). The sentinels are tested
// with errors.Is, on both sides of the wire.
//
// # Conformance
//
// The packages providertest, lookuptest, storetest and strategytest hold the public suites that
// every implementation runs; core/memory is the twin of each contract within one process, and runs
// them too.
//
// # Helpers
//
// Package viewedit is the arithmetic of view records that every ViewStore needs, rendezvous the hash
// by which members agree, strategy the choices among hosts, leaktest the check for goroutines left
// behind, failpoint the places where a test may interfere.
package core
