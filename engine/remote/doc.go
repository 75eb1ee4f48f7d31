// Package remote carries messages between members: one gRPC port a member, one ordered stream for
// each direction that sends, frames in the form of Proto.Actor's batches.
//
// A Remote keeps an endpoint for each member of the view, keyed by member ID. The endpoint dials,
// shakes hands and dials again by itself; it is an actor.Process, so that the local runtime sends to
// it like to anything else. Answers return on the stream their request came by. When a stream ends,
// what was outstanding on it fails at once, with what is known of its delivery.
//
// What arrives is checked before it reaches a mailbox: who sent it, to whom, of which type, and how
// large. Whatever breaks the frame's form ends the stream with a typed reason; a single message that
// is not allowed or not known is refused alone, and an ask is told so.
//
// A message of which no answer is awaited is accounted for as well. The peer sends receipts: how many it
// has handled, and which it refused (no such process, a full mailbox, not allowed, not known). A refused
// one is a dead letter of the sender's system, not delivered, with target, type and reason; those beyond
// 256 kinds or 64 KiB in 100 ms are told of as a number only. When a link breaks, what it took and no
// receipt covers is a dead letter of unknown fate: it may have been handled, up to 100 ms ago. The last
// 4,096 are known by target and type, of the others only the number. An orderly stop leaves none.
// What a receipt has covered and an actor gives up only after its link has ended, is a dead letter of the
// receiver's system alone.
//
// Nothing above the link seam (link.go) knows gRPC.
package remote
