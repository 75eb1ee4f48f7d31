package core

import (
	"context"
)

// ViewStore is offered by providers that keep the view in one record (consul, redis, memory). The
// engine uses it for changes to other members' rows: votes, evictions, guards.
type ViewStore interface {
	// SwapView stores next if the record still is old, and returns what it stored, with the next
	// revision, a new write ID and, where ownership changed, the next epoch and its Changes. On
	// ErrConflict it returns the present view instead. After any other error the outcome is
	// unknown. Safe for concurrent use; blocks up to ctx.
	SwapView(ctx context.Context, old *View, next ViewRecord) (*View, error)
}
