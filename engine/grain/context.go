package grain

import (
	"context"

	"github.com/granary-go/granary/core"
)

// Turn is the present turn: its activation and who called. It is read only.
type Turn struct {
	Self
	Peer    core.Member       // as the connection proved it; a client has no kinds; this member for local calls
	Headers map[string]string // sent with the call; nil: none
	Chain   []core.Identity   // the grains that wait for this turn, outermost first, this one not included
}

// Header is the value of a header of the call; empty if it was not sent.
func (t Turn) Header(key string) string { return t.Headers[key] }

// TurnKey is the key under which a context carries its *Turn. The engine's own contexts answer it;
// everybody else uses FromContext.
type TurnKey struct{}

// WithTurn is ctx with t, in one allocation. The engine calls it, and tests of grains.
func WithTurn(ctx context.Context, t *Turn) context.Context { return &turnContext{ctx, t} }

type turnContext struct {
	context.Context
	turn *Turn
}

func (c *turnContext) Value(key any) any {
	if key == (TurnKey{}) {
		return c.turn
	}
	return c.Context.Value(key)
}

// FromContext is for code that has only ctx: it is true in every handler and hook of a grain. False: ctx is
// no turn's.
func FromContext(ctx context.Context) (Turn, bool) {
	if t, ok := ctx.Value(TurnKey{}).(*Turn); ok && t != nil {
		return *t, true
	}
	return Turn{}, false
}
