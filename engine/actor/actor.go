package actor

import (
	"errors"
	"fmt"

	"github.com/granary-go/granary/core"
)

// Actor is a unit of state that handles one message at a time. Receive is never called twice at once
// for one actor, so what only the actor touches needs no lock. Receive may block: it then holds up
// this actor alone. A panic in it is a failure of this actor, which its supervisor decides about.
type Actor interface {
	// Receive handles the message c.Message(): a lifecycle message (Started, Stopping, Stopped,
	// Restarting, ReceiveTimeout, *Terminated) or one that was sent. c is valid until Receive
	// returns and on its goroutine only.
	Receive(c *Context)
}

// Func is an Actor without state of its own.
type Func func(c *Context)

// Receive calls f.
func (f Func) Receive(c *Context) { f(c) }

// The lifecycle messages that an actor gets. All are values of zero size.
type (
	// Started is the first message of each incarnation.
	Started struct{}

	// Stopping comes before the actor's children are stopped. Its mailbox is closed by then.
	Stopping struct{}

	// Stopped is the last message: all children have ended.
	Stopped struct{}

	// Restarting is the last message of an incarnation that is about to be replaced.
	Restarting struct{}

	// ReceiveTimeout says that for the time set by Context.SetReceiveTimeout no message came. It
	// comes again and again while the silence lasts.
	ReceiveTimeout struct{}
)

// Header is what travels beside a message. Nil means none. It is never modified after it was sent.
type Header map[string]string

// Envelope is a message with what belongs to it. It is passed by value.
type Envelope struct {
	Message any
	Sender  *Ref    // nil: nobody
	Reply   Replier // nil: no answer is wanted
	ReplyID uint64  // what it means is the Replier's affair
	Header  Header
}

// Replier takes the one answer of an ask. Exactly one of msg and err is set; an answer that is nil is
// both nil. Reply never blocks and is safe for concurrent use; late and second answers are dropped.
type Replier interface {
	Reply(id uint64, msg any, err error)
}

// Process is a destination that is not an actor of this system: a raw process of the engine, or a
// member reached over the network.
type Process interface {
	// Send hands over e. It never blocks and is safe for concurrent use. An error means that e was
	// not accepted and will not be handled; it carries core.Undelivered, and e.Reply is then not
	// called. After nil, e.Reply is called at most once, where it is set.
	Send(target core.PID, e Envelope) error

	// SendSystem hands over a *Stop, *Poison, *Watch, *Unwatch or *Terminated, under the rules of Send.
	SendSystem(target core.PID, m SystemMessage) error
}

// SystemMessage is a message between the runtimes of actors, outside their mailboxes' bounds.
type SystemMessage interface{ system() }

type (
	// Stop ends an actor after the message in hand; what is queued becomes dead letters.
	Stop struct{}

	// Poison ends an actor after all messages queued before it.
	Poison struct{}

	// Watch asks that Watcher gets a *Terminated when the actor ends, at once if there is none.
	Watch struct{ Watcher *Ref }

	// Unwatch takes a Watch back.
	Unwatch struct{ Watcher *Ref }

	// Terminated says that a watched actor has ended. An actor gets it as a message, once a Watch,
	// and never after Context.Unwatch.
	Terminated struct {
		Who core.PID
		Why TerminatedReason
	}
)

func (*Stop) system()       {}
func (*Poison) system()     {}
func (*Watch) system()      {}
func (*Unwatch) system()    {}
func (*Terminated) system() {}

// TerminatedReason is why a watched actor is said to have ended.
type TerminatedReason uint8

// The reasons.
const (
	TerminatedStopped     TerminatedReason = iota // it stopped, by request or by its supervisor
	TerminatedUnreachable                         // its member was lost; the actor may still run there
	TerminatedNotFound                            // there was no such actor when the watch arrived
	TerminatedUnwatchable                         // the watch was refused, as beyond a limit; the actor may still run, unwatched
)

// String is "stopped", "unreachable", "not found" or "unwatchable".
func (r TerminatedReason) String() string {
	switch r {
	case TerminatedStopped:
		return "stopped"
	case TerminatedUnreachable:
		return "unreachable"
	case TerminatedNotFound:
		return "not found"
	case TerminatedUnwatchable:
		return "unwatchable"
	}
	return "invalid"
}

// Encoded is a message still in the form in which it came over the wire. An actor never sees it: it is
// decoded on the target's turn, and an answer by whoever waits for it.
type Encoded interface{ Decode() (any, error) }

// Sizer is a message that knows how many bytes it holds, so that mailboxes can be bounded in bytes.
type Sizer interface{ Size() int }

// NoReset marks a message that does not count as activity for Context.SetReceiveTimeout.
type NoReset interface{ NoReset() }

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
