package grain

import (
	"context"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/actor"
)

// Service is a part built of grains and processes. Its kinds are registered before Start, its Start
// runs before the member is visible, its Stop after activations were drained. It may offer
// Reshape(core.Topology): called after the lookup's, under the same rules.
//
// Implemented by pubsub and applications; called by engine/cluster.
type Service interface {
	Kinds() []Kind
	// Start returns when the service works. It blocks up to ctx. core.ErrInvalid says that nothing was
	// begun, as when the service serves another node already: it is not stopped then.
	Start(ctx context.Context, rt Runtime) error
	// Stop joins what Start started. It blocks up to ctx. Safe before Start, and twice.
	Stop(ctx context.Context) error
}

// Services are the services of a node, started in this order, as one type for wire.
type Services []Service

// Runtime is what a node lends to a service.
type Runtime struct {
	Caller
	Env    core.Env
	Self   core.Member
	View   func() *core.View
	Actors *actor.System

	// Handle registers a raw process: its messages come from members only, are bounded but not
	// decoded by the engine. Send reaches it on another member.
	Handle func(process string, h Handler)
	Send   func(ctx context.Context, to core.Member, process string, m core.Message) (core.Message, error)
}

// Handler answers one message to a raw process. It may block up to ctx; from is what the connection
// proved.
type Handler func(ctx context.Context, from core.Member, m core.Message) (core.Message, error)
