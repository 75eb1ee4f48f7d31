package actor

import "github.com/granary-go/granary/core"

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
