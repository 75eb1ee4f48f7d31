// Package cluster is the front door of Granary: a Node is one member of a cluster, or one client of
// it, and the one type that an application holds.
//
// A node is made of parts: who is in the cluster (core.Provider), where identities live (core.Lookup),
// the kinds of grains it hosts, and some roles that may stay empty. New checks that they fit, Start
// brings the node up and returns when it is ready, Call and Tell reach grains wherever they live, and
// Stop takes the node out of the cluster without losing calls. Single gives the parts of a node that
// is alone in its process.
//
// # A call
//
// A call finds its grain in the location cache, or by the lookup, and goes to the mailbox of its
// activation, in this process or over the network. It is tried again only while it is known not to
// have run, or if the method is declared idempotent; what a failed call says of its fate is
// core.DeliveryOf. Deadlines, cancels and headers travel with it. A call that comes back to a grain
// which waits for it runs if the method is reentrant, and fails at once otherwise.
//
// # An activation
//
// A grain is made when it is first called, one turn at a time runs its code, and it ends when it was
// idle for its kind's time, when its identity moves to another member, when it panics, when it asks
// for it, or with the node. Between two activations nothing is lost: calls that come while one ends
// are handed to the next.
//
// # A view
//
// Reports of the provider become views (engine/internal/membership); each is installed in one order:
// links to members, the location cache, the lookup, services, observers. Messages that place grains
// carry the view under which they were sent, and wait at a member that does not have it yet. What happens
// to members is told by Subscribe, and put on the stream of Events.
//
// # Who is dead
//
// Only the provider takes a member out. A member from which nothing has come for Config.ProbeMisses
// intervals of Config.ProbeInterval, or at whose address nobody listens, is a suspect: nothing new is
// placed there, and where its grains are is asked anew. Where the provider keeps the view in one record
// (core.ViewStore), suspicion is a vote in it, and two votes evict; else the provider's own time decides.
// A member whose own timers are late is more patient, and not ready. Block puts a member out by hand.
//
// # Which lookup honours which strategy
//
// A strategy is a kind's own (grain.Kind.Strategy); all of them avoid suspects.
//
//	lookup                     nil, Rendezvous   RoundRobin, LocalFirst, LeastActivations, users' own
//	a directory (memory)       honoured          honoured
//	a core.Router (disthash)   it is ownership   New refuses them: core.ErrUnsupported
package cluster
