package grain

import (
	"context"

	"github.com/granary-go/granary/core"
)

// Activator may be offered by a grain: its first turn, before any message. An error ends the
// activation and answers the callers that wait for it.
type Activator interface {
	Activate(ctx context.Context) error
}

// Deactivator may be offered by a grain: its last turn. ctx ends when the node's time for stopping
// is over. An error goes to the log. A fenced activation ends without it.
type Deactivator interface {
	Deactivate(ctx context.Context, why core.StopReason) error
}
