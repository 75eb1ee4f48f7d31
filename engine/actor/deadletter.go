package actor

import (
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/granary-go/granary/core"
)

// DeadLetter is a message that found no actor, or that another member refused or may have lost. It is
// published on the event stream of the sender's system, and of the target's where it came that far.
type DeadLetter struct {
	Target  core.PID
	Message any    // nil when another member refused it or may have lost it: it is gone, Type tells what it was
	Type    string // full name of the type where Message is nil; empty: not known
	Count   int    // messages that this stands for: 1, or more where they are told of in sum
	Sender  *Ref
	Header  Header
	Err     error // why, with core.DeliveryOf: unknown for what may have been handled all the same
}

// Undeliverable is a message that hears of its end when a mailbox took it, nobody awaits an answer, and
// it will not be handled after all: its actor stopped, a newer message took its place, it could not be
// decoded. So remoting tells the member that it came from. Undelivered must not block.
type Undeliverable interface {
	Undelivered(target core.PID, err error)
}

// Dead letters are logged at most deadLetterLogs times in deadLetterPeriod; the rest is summed up.
const (
	deadLetterLogs   = 3
	deadLetterPeriod = time.Second
)

// throttle lets a few events a period through and counts the others.
type throttle struct {
	mu    sync.Mutex
	began time.Time
	n     int
}

// allow reports whether to log now, and how many were not logged in the period before.
func (t *throttle) allow(now time.Time) (ok bool, missed int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now.Sub(t.began) >= deadLetterPeriod {
		missed = max(t.n-deadLetterLogs, 0)
		t.began, t.n = now, 0
	}
	t.n++
	return t.n <= deadLetterLogs, missed
}

// deadLetter notes e as one and gives the error for whoever sent it.
func (s *System) deadLetter(target core.PID, e *Envelope) error {
	err := &DeadLetterError{Target: target}
	s.ReportDeadLetter(DeadLetter{Target: target, Message: e.Message, Count: 1, Sender: e.Sender, Header: e.Header, Err: err})
	return err
}

// ReportDeadLetter tells the observer, the event stream and, a few times a second, the log. It is for
// those who carry messages to other members.
func (s *System) ReportDeadLetter(d DeadLetter) {
	if f := s.observer.DeadLetter; f != nil {
		s.protect(nil, "Observer.DeadLetter", func() { f(d) })
	}
	if s.events.active() {
		s.events.Publish(d)
	}
	if ok, missed := s.letters.allow(s.clock.Now()); ok {
		s.log.Info("actor: dead letter", d.attrs(missed)...)
	}
}

func (d *DeadLetter) attrs(missed int) []any {
	attrs := []any{slog.String("target", d.Target.String()), slog.String("type", d.typeName()), slog.Int("unlogged", missed)}
	if _, plain := d.Err.(*DeadLetterError); plain || d.Err == nil {
		return attrs
	}
	return append(attrs, slog.Int("count", d.Count), slog.String("error", d.Err.Error()))
}

func (d *DeadLetter) typeName() string {
	if d.Message == nil {
		return d.Type
	}
	return fmt.Sprintf("%T", d.Message)
}

// discard answers an item that was left in the mailbox of an actor that stops.
func (s *System) discard(c *cell, it *item) {
	switch it.kind {
	case itemUser, itemNudge:
		s.unhandled(c, &it.env, s.deadLetter(c.ref.PID(), &it.env))
	case itemCall:
		s.giveUp(c, &it.env.Message.(*turnCall).env)
	case itemAgain:
		s.giveUp(c, &it.env)
	}
}

// unhandled tells whoever wants to know that a message of c's mailbox will not be handled.
func (s *System) unhandled(c *cell, e *Envelope, err error) {
	if e.Reply != nil {
		e.Reply.Reply(e.ReplyID, nil, err)
	} else if m, ok := e.Message.(Undeliverable); ok {
		m.Undelivered(c.ref.PID(), err)
	}
}

// giveUp answers a message that was handled in part.
func (s *System) giveUp(c *cell, e *Envelope) {
	if e.Reply != nil {
		err := fmt.Errorf("actor: %s stopped before it answered: %w", &c.ref, core.ErrStopped)
		e.Reply.Reply(e.ReplyID, nil, core.WithDelivery(err, core.DeliveryUnknown))
	}
}
