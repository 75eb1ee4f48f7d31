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
// Nothing above the link seam (link.go) knows gRPC.
package remote
