package core

import (
	"context"
	"iter"
)

// Host is the narrow view of its node that a lookup gets.
//
// Implemented by engine/cluster and by lookuptest; called by lookups. Safe for concurrent use.
type Host interface {
	Self() Member

	// Call carries one request to the lookup on another member and waits for the answer, both
	// stamped with the view (lineage, epoch, hash). At most once: never retried here. The error
	// tells the delivery; without a deadline in ctx it is 5 s.
	Call(ctx context.Context, to Member, m Message) (Message, error)

	// Activate runs id here under t. Idempotent by token: the same one gives the same placement.
	// While an activation runs, a smaller token gives ErrFenced, a larger one ErrConflict, each
	// with the placement of the running one, which is untouched; behind one that is stopping it
	// gives ErrBusy. The zero Token means "run it if it does not run". It returns when the mailbox
	// accepts messages; the grain's own start-up runs on its turn. Errors besides: ErrNoKind,
	// ErrOverloaded, ErrStopped.
	Activate(ctx context.Context, id Identity, t Token) (Placement, error)

	// Deactivate stops the activation with exactly token t and returns after its Stopped turn. Nil
	// if it does not run. It blocks up to ctx; the stop goes on behind an expired ctx.
	Deactivate(ctx context.Context, id Identity, t Token, why StopReason) error

	// Activations walks what runs here, in no order, without blocking activations.
	Activations() iter.Seq[Activation]

	// Strategy is the kind's choice among hosts; never nil. Of a kind that this member does not host the
	// strategy is not known, and chooses nobody: the engine asks a host to resolve such identities.
	Strategy(kind string) Strategy
}
