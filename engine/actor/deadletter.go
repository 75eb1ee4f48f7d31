package actor

import (
	"fmt"
	"sync"
	"time"

	"github.com/granary-go/granary/core"
)

// DeadLetter is a message that found no actor. It is published on the event stream.
type DeadLetter struct {
	Target  core.PID
	Message any
	Sender  *Ref
	Header  Header
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
	d := DeadLetter{Target: target, Message: e.Message, Sender: e.Sender, Header: e.Header}
	if f := s.observer.DeadLetter; f != nil {
		s.protect(nil, "Observer.DeadLetter", func() { f(d) })
	}
	if s.events.active() {
		s.events.Publish(d)
	}
	if ok, missed := s.letters.allow(s.clock.Now()); ok {
		s.log.Info("actor: dead letter", "target", target.String(), "type", fmt.Sprintf("%T", e.Message), "unlogged", missed)
	}
	return &DeadLetterError{Target: target}
}

// discard answers an item that was left in the mailbox of an actor that stops.
func (s *System) discard(c *cell, it *item) {
	switch it.kind {
	case itemUser, itemNudge:
		err := s.deadLetter(c.ref.PID(), &it.env)
		if it.env.Reply != nil {
			it.env.Reply.Reply(it.env.ReplyID, nil, err)
		}
	case itemCall:
		s.giveUp(c, &it.env.Message.(*turnCall).env)
	case itemAgain:
		s.giveUp(c, &it.env)
	}
}

// giveUp answers a message that was handled in part.
func (s *System) giveUp(c *cell, e *Envelope) {
	if e.Reply != nil {
		err := fmt.Errorf("actor: %s stopped before it answered: %w", &c.ref, core.ErrStopped)
		e.Reply.Reply(e.ReplyID, nil, core.WithDelivery(err, core.DeliveryUnknown))
	}
}
