// Package memberlist is a membership provider that needs no server: the members gossip among
// themselves by the SWIM protocol of github.com/hashicorp/memberlist, on a UDP and TCP port of
// their own.
//
// Applications make a Provider with New (or with Set, under google/wire) and hand it to
// cluster.Components; they call nothing else of it but Addr, which is what other members take as a
// seed. The first member of a cluster has no seeds.
//
// # What it promises
//
// Nothing in core.Promises. Gossip is eventually consistent: it agrees on no order of views, so
// each view carries an empty lineage and an epoch that is local to its member. It therefore backs
// Level 0 alone, and lookups that need more refuse it.
//
// # How it works
//
// The library's node name is the member ID, and the library decides which nodes are alive. What it
// gossips about a node (its meta data, at most 512 bytes) carries the ID, status, role, protocol
// and the revision of the member's row. The row itself (address, kinds, weight, time of joining)
// travels with the state exchange of a join and of each push/pull, and by messages of its own when
// it changes; a member that is alive but whose row has not come is asked for it, and is reported
// when the row is here. A new ID at a known address retires the older one at once.
//
// While a member has found nobody and no seed answers, it warns once, with the seeds and what to do,
// goes on trying, and tells when that is over.
//
// A client (Watch) joins the pool in the role client and is left out of views; it needs the gossip
// key as a member does.
//
// # Time
//
// A killed member is out of the views of the others after a probe found it silent and the
// suspicion time passed unrefuted; see Preset for what that is.
//
// # Security
//
// The port is not covered by the TLS of the cluster's own port. Whoever holds the gossip key, or
// reaches the port of a pool without one, equals a member. So an address that is not loopback is
// refused without a key, unless that is asked for by name.
//
// Such a process can also make up rows, departures and deaths of others. Each member is shown at once
// what others took in about it, and refutes what it did not say by a later word of its own, with a
// warning in its log; until then, some milliseconds, it may be out of views or in them with a wrong
// row. Only a revision past 2^62 - 2^32 cannot be refuted: then the log says that the process has to be
// started again.
package memberlist
