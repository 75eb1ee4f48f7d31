package actor

import (
	"time"

	"github.com/granary-go/granary/core"
)

// Observer sees what only the runtime knows. A nil field costs one comparison. The functions are
// called on the goroutine where the thing happened, must not block and must be safe for concurrent use;
// a panic in one is caught and logged. A name of an actor is never a good metric label.
type Observer struct {
	// MailboxWait is told, once a turn, how long the message that woke the actor had waited.
	MailboxWait func(to *Ref, waited time.Duration)

	// Rejected is told of each message that was not taken: a full mailbox, Context.Refuse.
	Rejected func(to core.PID, err error)

	// DeadLetter is told of each message that found no actor.
	DeadLetter func(d DeadLetter)

	// Panicked is told of each panic of user code in an actor.
	Panicked func(who *Ref, err *PanicError)

	// Restarted is told when a new incarnation begins.
	Restarted func(who *Ref)

	// Spawned and Stopped are told of the two ends of an actor's life.
	Spawned func(who *Ref)
	Stopped func(who *Ref)
}
