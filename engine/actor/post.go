package actor

import (
	"context"

	"github.com/granary-go/granary/core"
)

// patience says how long a send waits for room in a Blocking mailbox.
type patience struct {
	waits   bool
	ungated bool            // the sender has asked Props.Gate itself
	ctx     context.Context // may be nil: until there is room or the actor stops
}

func patient(ctx context.Context) patience { return patience{waits: true, ctx: ctx} }

// post queues e the fast way. False: not queued, see sendSlowly for why.
func (c *cell) post(e *Envelope, w *worker) bool {
	return c.props.Gate == nil && c.postUngated(e, w)
}

func (c *cell) postUngated(e *Envelope, w *worker) bool {
	if c.box.kind > Blocking {
		return false
	}
	var size uint32
	if s, ok := e.Message.(Sizer); ok {
		size = clampSize(s.Size())
	}
	switch c.box.push(e, size, 0, &c.props.Mailbox, &c.ref.sys.chunks) {
	case taken:
		return true
	case takenWake:
		c.woken(w)
		return true
	}
	return false
}

// woken schedules the cell for the user message that came first.
func (c *cell) woken(w *worker) {
	s := c.ref.sys
	if s.observer.MailboxWait != nil {
		c.box.noteWoken(s.clock.Now().UnixNano())
	}
	s.dispatch.schedule(c, w)
}

func clampSize(n int) uint32 { return uint32(min(max(n, 0), 1<<31)) }

// sendSlowly queues e where there is a gate, a mailbox with rules of its own, or a reason to refuse.
func (c *cell) sendSlowly(e Envelope, w *worker, p patience) error {
	if c.props.Gate != nil && !p.ungated {
		if took, err := c.gate(&e); took || err != nil {
			return err
		}
	}
	size, rank := uint32(0), 0
	if s, ok := e.Message.(Sizer); ok {
		size = clampSize(s.Size())
	}
	if c.box.kind == Priority {
		if err := c.ref.sys.protect(&c.ref, "MailboxConfig.Priority", func() { rank = c.props.Mailbox.Priority(e.Message) }); err != nil {
			return err
		}
	}
	for {
		switch c.box.push(&e, size, rank, &c.props.Mailbox, &c.ref.sys.chunks) {
		case takenWake:
			c.woken(w)
			c.dropOldest()
			return nil
		case taken:
			c.dropOldest()
			return nil
		case isClosed:
			return c.ref.sys.deadLetter(c.ref.PID(), &e)
		case isRefused:
			return c.refused()
		case isFull:
			if c.box.kind != Blocking || !p.waits || w != nil && w.running == c {
				return c.overloaded()
			}
			if w != nil {
				w.flush()
			}
			if err := c.waitForRoom(p.ctx); err != nil {
				return err
			}
		}
	}
}

// gate asks Props.Gate. Messages for a closed or refusing mailbox do not get that far, and those before
// the first instance are queued.
func (c *cell) gate(e *Envelope) (took bool, err error) {
	c.box.mu.Lock()
	a := c.actor
	open := !c.box.closed && (c.box.side == nil || c.box.side.refuse == nil)
	c.box.mu.Unlock()
	if !open || a == nil {
		return false, nil
	}
	lent, _ := c.ref.sys.envelopes.Get().(*Envelope)
	if lent == nil {
		lent = new(Envelope)
	}
	*lent = *e
	defer func() {
		if v := recover(); v != nil {
			took, err = true, core.WithDelivery(&PanicError{Value: v}, core.Undelivered)
		}
		*e, *lent = *lent, Envelope{}
		c.ref.sys.envelopes.Put(lent)
	}()
	took, err = c.props.Gate(a, lent)
	return took || err != nil, err
}

// overloaded is the refusal of a full mailbox.
func (c *cell) overloaded() error {
	c.box.mu.Lock()
	e := &OverloadError{Target: c.ref.PID(), Messages: int(c.box.waiting()), Bytes: c.box.held()}
	c.box.mu.Unlock()
	err := core.Retry(e, overloadRetry)
	c.ref.sys.rejected(&c.ref, err)
	return err
}

// refused is the refusal that Context.Refuse asked for.
func (c *cell) refused() error {
	c.box.mu.Lock()
	err := c.box.side.refuse
	c.box.mu.Unlock()
	c.ref.sys.rejected(&c.ref, err)
	return err
}

// dropOldest brings a DropOldest mailbox back to its bound.
func (c *cell) dropOldest() {
	if c.box.kind != DropOldest {
		return
	}
	for {
		it, ok := c.box.dropped(&c.props.Mailbox)
		if !ok {
			return
		}
		err := c.overloaded()
		if it.env.Reply != nil {
			it.env.Reply.Reply(it.env.ReplyID, nil, err)
		}
	}
}

// waitForRoom waits until a Blocking mailbox has room, is closed, or ctx ends.
func (c *cell) waitForRoom(ctx context.Context) error {
	room := c.box.awaitRoom(&c.props.Mailbox)
	if room == nil {
		return nil
	}
	if ctx == nil {
		<-room
		return nil
	}
	select {
	case <-room:
		return nil
	case <-ctx.Done():
		return core.WithDelivery(ctx.Err(), core.Undelivered)
	}
}
