package app

import (
	"context"
	"errors"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/grain"
	"github.com/granary-go/granary/examples/cluster/history"
)

// sentinels are the errors that a call may end with, by the name that the records give them.
func sentinels() []named {
	return []named{
		{"fenced", core.ErrFenced}, {"no member", core.ErrNoMember}, {"unknown kind", core.ErrNoKind},
		{"not owner", core.ErrNotOwner}, {"busy", core.ErrBusy}, {"overloaded", core.ErrOverloaded},
		{"unreachable", core.ErrUnreachable}, {"stopped", core.ErrStopped}, {"invalid", core.ErrInvalid},
		{"unsupported", core.ErrUnsupported}, {"conflict", core.ErrConflict}, {"not found", core.ErrNotFound},
		{"evicted", core.ErrEvicted},
		{"deadline exceeded", context.DeadlineExceeded}, {"canceled", context.Canceled},
	}
}

type named struct {
	name string
	err  error
}

// outcome names an error: a sentinel, the code of a *grain.Error, or untyped.
func outcome(err error) string {
	for _, s := range sentinels() {
		if errors.Is(err, s.err) {
			return s.name
		}
	}
	if e, ok := errors.AsType[*grain.Error](err); ok {
		return "code " + e.Code.String()
	}
	return history.Untyped
}
