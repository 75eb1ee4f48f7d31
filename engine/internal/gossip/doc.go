// Package gossip spreads small values among members: state by member, key and version. It decides
// what to tell whom, what to believe, and when all agree; it does nothing else. A Machine is pure:
// inputs and the time go in, effects come out, chance is handed in. It has no goroutine, lock, clock
// or I/O. One goroutine owns it.
//
// # State
//
// Every member owns one entry: up to 64 keys, each with a value of up to 64 KiB. All writes of a
// member are numbered in one sequence, its versions, which start at 1 with the process and only
// grow; a process that starts again has another ID and so another entry. Whoever merges keeps the
// higher version of each key, so messages may be lost, doubled, late or out of order.
//
// # Exchanges
//
// Each interval a member addresses FanOut peers, every peer once before any comes again. A request
// carries what is above the peer's water lines: for every pair of a peer and an owner, the version up
// to which the peer is known to hold the owner's writes. The response carries what the requester
// lacks. A line rises when the peer acknowledges the very exchange that carried the writes (the
// response for a request, the next request for a response) or when the peer itself passes them on. It
// never rises because something was sent. An exchange that is not answered in time, or that another
// has replaced, never counts.
//
// A member that comes into a view has no entry there yet, whatever was sent before, so the receiver
// tells each peer how little it holds, until that is acknowledged; that lowers the line. Between the
// two an entry may start above what the receiver holds. Its values are taken, but not passed on, and
// the receiver's line stays.
//
// # Belief
//
// Entries of members in the present view are accepted, and only these; those of a member that leaves
// the view are removed, and cannot come back by way of somebody who has not seen it leave. A sender
// speaks for itself, or marks what it relays. Nobody else speaks for this member: a peer that holds a
// version which this member never wrote makes it number its writes anew above that. Bounds are
// checked for every value; what breaks one is refused and counted.
//
// # Cost
//
// Measured by TestConvergence and TestBytes with 50 members, an interval of 300 ms and fan-out 3: see
// the figures there.
package gossip
