package actor

import (
	"errors"
	"fmt"

	"github.com/granary-go/granary/core"
)

// Props say how an actor is made. One value may serve any number of actors at once; it is not modified
// after its first use.
type Props struct {
	// New makes the actor: on the actor's own goroutine, at its start and at each restart. A panic
	// in it, or nil, is a failure of the actor. Required, except for System.SpawnActor.
	New func() Actor

	// Mailbox says what waits before the actor. Zero: bounded, 4,096 messages, 64 MiB.
	Mailbox MailboxConfig

	// Supervisor decides about failures of this actor's children. An actor that is itself a
	// Strategy decides in its place. Nil: OneForOne{}. For an actor without a parent it decides
	// about the actor itself too, unless Guardian is set.
	Supervisor Strategy

	// Guardian decides about failures of this actor if it has no parent.
	Guardian Strategy

	// Receive wraps the handling of each message, the first of the slice outermost.
	Receive []func(next ReceiveFunc) ReceiveFunc

	// Send wraps each message that the actor sends through its Context.
	Send []func(next SendFunc) SendFunc

	// Spawn wraps each child that the actor spawns.
	Spawn []func(next SpawnFunc) SpawnFunc

	// Gate, if set, sees each message on the sender's goroutine before it is queued, together with
	// the actor's present instance, which another goroutine may be running. taken means that the
	// gate consumed the message, or refused it by err: it is then not queued. A panic in it is
	// returned to the sender. The messages that come before New made the first instance are queued.
	Gate func(a Actor, e *Envelope) (taken bool, err error)

	// Closed, if set, is called once after the Stopped turn, on the actor's goroutine. What was left
	// in the mailbox has been answered by then. a is nil if New never made an instance.
	Closed func(a Actor)
}

// Types of middleware.
type (
	// ReceiveFunc handles the message in c.
	ReceiveFunc func(c *Context)

	// SendFunc sends e to to; c is the sender's context.
	SendFunc func(c *Context, to *Ref, e Envelope) error

	// SpawnFunc spawns a child of c's actor; an empty name asks for one to be made.
	SpawnFunc func(c *Context, name string, p *Props) (*Ref, error)
)

// FromFunc are Props of an actor without state of its own.
func FromFunc(f func(c *Context)) *Props {
	return &Props{New: func() Actor { return Func(f) }}
}

// check joins what is wrong with p.
func (p *Props) check(needNew bool) error {
	if p == nil {
		return fmt.Errorf("actor: spawn: props are nil: %w", core.ErrInvalid)
	}
	var errs []error
	if needNew && p.New == nil {
		errs = append(errs, errors.New("Props.New is nil"))
	}
	if p.Mailbox.Kind > Priority {
		errs = append(errs, fmt.Errorf("Props.Mailbox.Kind %d is unknown", p.Mailbox.Kind))
	}
	if p.Mailbox.Size < 0 || p.Mailbox.Size > maxMailbox {
		errs = append(errs, fmt.Errorf("Props.Mailbox.Size %d is not in 0..%d", p.Mailbox.Size, maxMailbox))
	}
	if p.Mailbox.Kind == Priority && p.Mailbox.Priority == nil {
		errs = append(errs, errors.New("Props.Mailbox.Priority is nil; a priority mailbox needs it"))
	}
	if len(errs) == 0 {
		return nil
	}
	return fmt.Errorf("actor: spawn: %w: %w", core.ErrInvalid, errors.Join(errs...))
}
