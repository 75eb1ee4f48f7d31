package core

import (
	"context"
)

// Lookup decides where an identity lives. One instance runs on every node; instances talk to each
// other through Host.Call and Handle.
//
// Implemented by lookups/*; called by engine/cluster only. Start comes first, then Reshape at
// least once, then the rest at any time from any goroutine. Once Stop has returned, everything but
// Handle and Forget returns ErrStopped, and Stop returns nil.
type Lookup interface {
	// Start keeps host and env and launches background work. No network: there is no view yet.
	// ErrInvalid says that nothing was begun, as when the instance serves another node already: it
	// is not stopped then.
	Start(ctx context.Context, host Host, env Env) error

	// Resolve finds the live activation of id or has one made. It blocks up to ctx. Simultaneous
	// calls for one id share one attempt, which outlives a caller that gives up. It does not retry
	// a refusal; engine/cluster does.
	// Errors, all Undelivered: ErrNoMember, ErrNoKind, ErrBusy and ErrOverloaded (with RetryAfter),
	// ErrNotOwner (the view moved meanwhile), ErrUnreachable, ErrStopped.
	Resolve(ctx context.Context, id Identity) (Placement, error)

	// Forget says that a call to stale found nobody. A hint: it drops what equals stale and
	// returns at once; a newer placement is left alone.
	Forget(id Identity, stale PID)

	// Handle answers a message from the same lookup on another node, sent under the view that is
	// installed here: the engine checks that before. from is what the connection proved, not what
	// the message claims; a client is a Member without kinds. It may block up to ctx; it does not
	// call back to from. Sentinels, RetryAfter and Delivery survive the way back to Host.Call; a
	// redirect is part of the answer, ErrNotOwner names no owner. After Stop it goes on answering,
	// from state alone, until the engine closes the transport: it owns and starts nothing.
	Handle(ctx context.Context, from Member, m Message) (Message, error)

	// Reshape installs a topology: one call at a time, one per epoch that this node installs,
	// ascending. It decides, marks and returns; transfers and stops run on the lookup's own
	// goroutines, cancelled by the next Reshape where it overtakes them. Identities whose owner
	// did not change are not disturbed. An error says that the lookup cannot go on; the node stops.
	Reshape(t Topology) error

	// Stop hands over what this node still owns, flushes notices, joins its goroutines. It blocks
	// up to ctx. Safe before Start, and twice.
	Stop(ctx context.Context) error
}

// StopReason says why an activation ends.
type StopReason uint8

// The reasons.
const (
	StopIdle StopReason = iota + 1
	StopMoved
	StopLeaving
	StopFenced
	StopFailed
	StopRequested
)

// String is the reason as a word: "idle", "moved", "leaving", "fenced", "failed" or "requested".
func (r StopReason) String() string {
	words := [...]string{"unknown", "idle", "moved", "leaving", "fenced", "failed", "requested"}
	if int(r) < len(words) {
		return words[r]
	}
	return words[0]
}

// Router is offered by lookups that place by ownership alone, known without asking (disthash). The
// engine then sends a call whose placement is not cached to the owner together with the identity,
// and the owner activates on arrival: one hop. No strategy is asked: the owner is what Rendezvous picks
// (under Promises.Compat, by Proto.Actor's hash), and cluster.New refuses kinds that name another one.
type Router interface {
	Owner(id Identity) (Member, bool) // by the installed view; false: no member hosts the kind
}

// Holder is offered by Routers that know when the owner before may still run an identity. While Held
// is true the engine makes no activation of id here: it answers ErrBusy, and the caller tries again.
// Called for every new activation, from any goroutine; it does not block.
type Holder interface{ Held(id Identity) bool }

// Requirer is offered by lookups that need more than an unordered list of members. cluster.New
// refuses a provider that promises less, with ErrUnsupported.
type Requirer interface{ Requires() Promises }

// ReleaseListener is offered by lookups that keep a directory: called once per activation after
// its Stopped turn, from any goroutine, maybe before the Activate that made it has returned; it
// does not block.
type ReleaseListener interface {
	Released(a Activation, why StopReason)
}
