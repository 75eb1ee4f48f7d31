package actor

import (
	"errors"
	"fmt"
	"time"

	"github.com/granary-go/granary/core"
)

// ErrDeadLetter is wrapped by every DeadLetterError. It is a core.ErrStopped.
var ErrDeadLetter = fmt.Errorf("dead letter: %w", core.ErrStopped)

// ErrNoSender is returned by Context.Respond when nobody waits for an answer.
var ErrNoSender = errors.New("actor: respond: the message has no sender")

// DeadLetterError says that a message found no actor: none of that name runs here, or it has stopped.
// The message was not and will not be handled.
type DeadLetterError struct {
	Target core.PID
}

// Error names the target.
func (e *DeadLetterError) Error() string {
	return "actor: send to " + e.Target.String() + ": dead letter: no such process, or it has stopped"
}

// Unwrap is ErrDeadLetter.
func (e *DeadLetterError) Unwrap() error { return ErrDeadLetter }

// Delivery is core.Undelivered.
func (e *DeadLetterError) Delivery() core.Delivery { return core.Undelivered }

// OverloadError says that a mailbox was full and the message was not taken. It is a
// core.ErrOverloaded; core.RetryAfter tells when to try again.
type OverloadError struct {
	Target   core.PID
	Messages int   // waiting in the mailbox
	Bytes    int64 // held by them, as far as they know their size
}

// Error names the target and what its mailbox holds.
func (e *OverloadError) Error() string {
	return fmt.Sprintf("actor: send to %s: mailbox is full (%d messages, %d bytes): %v; send less, or set Props.Mailbox",
		e.Target, e.Messages, e.Bytes, core.ErrOverloaded)
}

// Unwrap is core.ErrOverloaded.
func (e *OverloadError) Unwrap() error { return core.ErrOverloaded }

// Delivery is core.Undelivered.
func (e *OverloadError) Delivery() core.Delivery { return core.Undelivered }

// overloadRetry is what a refused sender is told to wait: some turns of a busy actor.
const overloadRetry = 10 * time.Millisecond

// Goexit is the Value of a PanicError where the code did not panic, but ended its goroutine.
const Goexit = "the handler ended its goroutine (runtime.Goexit)"

// PanicError is a panic of user code as an error. Whoever waits for the answer of the message in hand
// gets it.
type PanicError struct {
	Value any    // what the code panicked with; for runtime.Goexit the text Goexit
	Stack []byte // of the goroutine at that moment; for the log, it never crosses the wire
}

// Error tells the value, not the stack.
func (e *PanicError) Error() string { return fmt.Sprintf("actor: panic: %v", e.Value) }

// Unwrap is the value if that is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// Delivery is core.Delivered: the handler ran.
func (e *PanicError) Delivery() core.Delivery { return core.Delivered }

// DecodeError says that a message from the wire could not be decoded; the actor did not see it.
type DecodeError struct {
	Target core.PID
	Err    error
}

// Error names the target and the cause.
func (e *DecodeError) Error() string {
	return "actor: decode message for " + e.Target.String() + ": " + e.Err.Error()
}

// Unwrap is the cause; the error also is a core.ErrInvalid.
func (e *DecodeError) Unwrap() []error { return []error{core.ErrInvalid, e.Err} }

// Delivery is core.Undelivered.
func (e *DecodeError) Delivery() core.Delivery { return core.Undelivered }

var (
	errSystemStopped = core.WithDelivery(fmt.Errorf("actor: spawn: the system is stopping: %w", core.ErrStopped), core.Undelivered)
	errAsksExhausted = core.Retry(core.WithDelivery(
		fmt.Errorf("actor: ask: too many answers are awaited: %w", core.ErrOverloaded), core.Undelivered), overloadRetry)
)
