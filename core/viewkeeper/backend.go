package viewkeeper

import (
	"context"

	"github.com/granary-go/granary/core"
)

// Snapshot is what a backend holds of one cluster.
type Snapshot struct {
	Record []byte // the view record as JSON; nil: there is none
	Mark   string // where this stands in the backend's own order, for Await

	// Leases are by member a number that changes with every renewal. Where the backend watches leases itself,
	// a member that is not here has none any more.
	Leases map[core.MemberID]uint64
}

// Backend is one product that keeps a record. Its methods are called by several goroutines at once, block up
// to ctx, retry nothing, and name the server in their errors. An error that is core.ErrConflict, ErrInvalid or
// ErrUnsupported ends a join; any other has it tried again.
type Backend interface {
	Records
	Leases

	// Watches reports whether the backend takes leases away by itself. It always gives the same answer. A member
	// without one is taken out 0.15 TTL later, unless it has made another until then.
	Watches() bool
}

// Records keeps the record of one cluster.
type Records interface {
	// Read returns the present record and leases.
	Read(ctx context.Context) (Snapshot, error)

	// Write stores record, whose view is next, in place of the one whose write ID is old (empty: none), in one
	// step, and with it the lease of each member that joins, and the end of that of each that leaves.
	// ErrConflict: it is another one's turn. After any other error it may be stored or not.
	Write(ctx context.Context, old string, next core.Topology, record []byte) error

	// Await returns when there may be something newer than what seen shows, or ctx ends; or earlier. It
	// returns at once when ctx ends.
	Await(ctx context.Context, seen Snapshot) error
}

// Leases keeps the leases of the members.
type Leases interface {
	// Lease makes the lease of a member that is about to be stored, where the backend needs it before, or of
	// one that has lost it while it was stored.
	Lease(ctx context.Context, id core.MemberID) error

	// Renew extends the lease. ErrEvicted: there is none any more.
	Renew(ctx context.Context, id core.MemberID) error

	// Release ends the lease of a member that is about to leave the record, where leaving it does not.
	Release(ctx context.Context, id core.MemberID) error
}

// Runner is a Backend that keeps something going, such as a connection on which it hears of news for Await. Run
// has a goroutine of its own from the moment that Join or Watch has found the backend until Leave; it returns
// soon after ctx has ended.
type Runner interface {
	Run(ctx context.Context)
}
