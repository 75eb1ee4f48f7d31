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
// A key that is removed leaves no trace of its own. The owner writes what keys it still has, with the version
// of each, under KeyKeys; whatever it wrote before and did not list is gone for whoever holds that list, and is
// not taken from anybody who does not. So a removal merges as any write does, whatever the order. The key
// counts against the bound of 64 until all members of the view have acknowledged the list.
//
// # Exchanges
//
// Each interval a member addresses FanOut peers, every peer once before any comes again. A request
// pushes what is above the peer's water lines, and pulls. A water line belongs to a pair of a peer and
// an owner: it is the version up to which the peer is known to hold the owner's writes. The response
// carries what the requester lacks. A line rises when the peer acknowledges the very exchange that
// carried the writes (the response for a request, the next request for a response), when the peer
// itself passes them on, or when it says in a request how much it holds of everybody, which costs one
// number a member and is understood by those who have the same view. It never rises because something
// was sent. An exchange that is not answered in time, or that another has replaced, never counts.
//
// To a peer that has the same view and gets through, only what is newer than two rounds is pushed: it
// asks for the rest, and by then has most of it from others. To any other peer all above its lines is
// pushed until it is acknowledged.
//
// A member that comes into a view has an empty entry there, whatever was sent before. So the receiver
// tells each peer how little of it is held, until that is acknowledged, and the peer lowers its line.
// In the meantime an entry may start above what the receiver holds: its values are taken, but not
// passed on, and the receiver's own line stays.
//
// # Belief
//
// Entries of members in the present view are accepted, and only these; those of a member that leaves
// the view are removed, and cannot come back by way of somebody who has not seen it leave. A sender
// speaks for itself, or marks what it relays. Nobody else speaks for this member: a peer that holds a
// version which this member never wrote makes it number its writes anew above that. Bounds are
// checked for every value; what breaks one is refused and counted. The line stops below it.
//
// # Cost
//
// Measured with 50 members, an interval of 300 ms and fan-out 3 (TestConvergence, TestBytes). At 20 %
// loss a changed key is everywhere after 2.4 intervals on average and 3.8 at worst of 200 runs; the
// bound of the design is ⌈log₂ 50⌉ + 4 = 10. A member sends 6 messages an interval, half of them
// responses, and so many bytes:
//
//	nothing changes              342
//	heartbeat every 5 s        2,003
//	heartbeat every second     8,013
//	heartbeat every 300 ms    21,200
//
// A change of size s costs every member about 6 × s in the two rounds after it has arrived.
package gossip
