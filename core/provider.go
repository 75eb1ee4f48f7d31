package core

import (
	"context"
	"time"
)

// Provider decides who is in the cluster: the one source of truth of membership.
//
// Implemented by providers/*; called by engine/cluster only, one instance per node. Of Join and
// Watch one is called, once. Update and Leave may run while a report is in progress. After Leave,
// every method returns ErrStopped; Leave itself then returns nil.
type Provider interface {
	// Promises says what reports and optional interfaces are worth with the present configuration.
	// It does no I/O and always gives the same answer.
	Promises() Promises

	// Join keeps env, stores self and starts reporting. It blocks until self is stored or ctx ends,
	// and retries transient faults itself, with jittered back-off. Reports are whole views, the
	// first one as soon as known, then after every change; they may repeat and may skip epochs.
	// They come one at a time from one goroutine, and none after Leave has returned. report does
	// not block. A row that this call may itself have stored is no conflict.
	// Errors: ErrConflict (the ID is another's, or departed), ErrUnreachable, ErrStopped; ErrInvalid
	// says that nothing was begun, as when the instance serves another node already: Leave is not
	// called then.
	Join(ctx context.Context, env Env, self Member, report func(*View)) error

	// Watch reports as Join does, without becoming a member: for client nodes.
	Watch(ctx context.Context, env Env, report func(*View)) error

	// Update replaces this member's own row: status, kinds, weight. ID, Address and Joined never
	// change. Idempotent. Errors: ErrEvicted, ErrUnreachable.
	Update(ctx context.Context, self Member) error

	// Leave removes self, stops reporting and joins its goroutines (a client library's own may end
	// up to 1 s later); with ctx at its end it still stops locally and returns the error. Safe
	// before Join, during Join (which then returns ErrStopped), and twice.
	Leave(ctx context.Context) error
}

// Promises is what a provider's word is worth. The zero value promises nothing.
type Promises struct {
	Ordered      bool // views carry a lineage and an epoch that members can compare
	Linearizable bool // ViewStore swaps are linearizable
	Leases       bool // MemberLeases is kept by the backend, and renewal fails once evicted
	Compat       bool // rows are written as Proto.Actor writes them
}

// Patient is offered by providers without Ordered whose own patience decides how long the engine keeps
// a member that is reported no more, in case it is a flap. Without it that is 2 s.
type Patient interface {
	// RemovalGrace is that time: 0 is none at all. It always gives the same answer.
	RemovalGrace() time.Duration
}

// Refresher is offered by providers that can ask their backend now: the engine calls it when a peer
// shows a later epoch. It returns at once; the answer is a report.
type Refresher interface{ Refresh() }

// ViewStore is offered by providers that keep the view in one record (consul, redis, memory). The
// engine uses it for changes to other members' rows: votes, evictions, guards.
type ViewStore interface {
	// SwapView stores next if the record still is old, and returns what it stored, with the next
	// revision, a new write ID and, where ownership changed, the next epoch and its Changes. On
	// ErrConflict it returns the present view instead. After any other error the outcome is
	// unknown. Safe for concurrent use; blocks up to ctx.
	SwapView(ctx context.Context, old *View, next ViewRecord) (*View, error)
}

// MemberLeases is offered by providers whose backend can tell that a member stopped renewing. The
// engine drives it from one goroutine: it renews each TTL×0.3, and the member fences itself at
// (Clock.Elapsed taken before the renewal was sent) + TTL×0.7.
type MemberLeases interface {
	LeaseTTL() time.Duration

	// RenewLease returns nil only if the backend still listed the member when it extended the
	// lease. It blocks up to ctx. ErrEvicted is final; any other error may be tried again.
	RenewLease(ctx context.Context) error
}
