package actor

import (
	"context"
	"math"
	"sync/atomic"

	"github.com/granary-go/granary/core"
)

// Ref is a reference to an actor or process: all that others hold of it. It is safe for concurrent use
// and stays valid after the actor's end, when sends give a DeadLetterError. A Ref made from a PID by
// System.Ref finds the actor anew if one of the same name was started since. Two Refs are to one actor
// if their PIDs are equal.
type Ref struct {
	sys     *System
	id      string
	cell    atomic.Pointer[cell] // of a local actor, once known
	foreign *foreign             // not of this system
}

// foreign is the part of a Ref to another member.
type foreign struct {
	pid     core.PID
	process atomic.Pointer[Process]
}

// PID is the address of what r refers to.
func (r *Ref) PID() core.PID {
	if r.foreign != nil {
		return r.foreign.pid
	}
	return core.PID{Address: r.sys.address, ID: r.id, Member: r.sys.member}
}

// String is the text form of the PID; "nobody" for a nil Ref.
func (r *Ref) String() string {
	if r == nil {
		return "nobody"
	}
	return r.PID().String()
}

// Tell sends msg without a sender. See Send.
func (r *Ref) Tell(msg any) error { return r.Send(Envelope{Message: msg}) }

// Send queues e at its target and does not wait for it to be handled. An error means that e will not
// be handled, carries core.Undelivered, and e.Reply is not called: a *DeadLetterError when there is no
// such actor, core.ErrOverloaded when its mailbox is full. The message belongs to the receiver from here
// on. Send never blocks, except for room in a mailbox of kind Blocking.
func (r *Ref) Send(e Envelope) error { return r.send(&e, nil, patient(nil)) }

// SendUngated is Send for those who have asked Props.Gate themselves: it is not asked again.
func (r *Ref) SendUngated(e Envelope) error {
	if c := r.cell.Load(); c != nil && c.postUngated(&e, nil) {
		return nil
	}
	return r.sendElsewhere(e, nil, patience{waits: true, ungated: true})
}

// SendContext is Send that waits for room in a Blocking mailbox no longer than ctx.
func (r *Ref) SendContext(ctx context.Context, e Envelope) error {
	return r.send(&e, nil, patient(ctx))
}

// send is behind all sends. w is the worker of the sending turn, if there is one; p says how long to wait
// for room. e does not escape.
func (r *Ref) send(e *Envelope, w *worker, p patience) error {
	if c := r.cell.Load(); c != nil {
		if c.post(e, w) {
			return nil
		}
		if !c.box.marked(dead) {
			return c.sendSlowly(*e, w, p)
		}
	}
	return r.sendElsewhere(*e, w, p)
}

// sendElsewhere finds the target anew.
func (r *Ref) sendElsewhere(e Envelope, w *worker, p patience) error {
	if r.foreign != nil {
		to, err := r.process()
		if err != nil {
			r.sys.rejected(r, err)
			return err
		}
		return to.Send(r.foreign.pid, e)
	}
	c, proc := r.sys.registry.get(r.id)
	if proc != nil {
		return proc.Send(r.PID(), e)
	}
	if c == nil {
		return r.sys.deadLetter(r.PID(), &e)
	}
	if r.cell.Load() != c {
		r.cell.Store(c)
	}
	if c.post(&e, w) {
		return nil
	}
	return c.sendSlowly(e, w, p)
}

// process is who carries messages to a foreign PID.
func (r *Ref) process() (Process, error) {
	if p := r.foreign.process.Load(); p != nil {
		return *p, nil
	}
	p, err := r.sys.carrier(r.foreign.pid)
	if err != nil {
		return nil, err
	}
	r.foreign.process.Store(&p)
	return p, nil
}

// SendSystem sends a message of the runtime; the rules are those of Process.SendSystem.
func (r *Ref) SendSystem(m SystemMessage) error {
	if r.foreign != nil {
		p, err := r.process()
		if err != nil {
			return err
		}
		return p.SendSystem(r.foreign.pid, m)
	}
	return r.sys.DeliverSystem(r.PID(), m)
}

// Stop asks the actor to stop after the message in hand; queued messages become dead letters. It
// returns at once.
func (r *Ref) Stop() error { return r.SendSystem(stopMessage) }

// Poison asks the actor to stop after the messages queued so far. It returns at once.
func (r *Ref) Poison() error { return r.SendSystem(poisonMessage) }

// StopWait is Stop that waits until the actor has ended, also when it is gone already. Another member's
// actor counts as ended when it is told to be; if its member is lost the error is core.ErrUnreachable.
// An actor must not wait for itself or for a parent.
func (r *Ref) StopWait(ctx context.Context) error { return r.sys.endAndWait(ctx, r, stopMessage) }

// PoisonWait is Poison that waits as StopWait does.
func (r *Ref) PoisonWait(ctx context.Context) error { return r.sys.endAndWait(ctx, r, poisonMessage) }

// Wait returns nil when the actor has ended, at once if there is none.
func (r *Ref) Wait(ctx context.Context) error { return r.sys.endAndWait(ctx, r, nil) }

// Ask sends msg and waits for the answer. See System.Ask.
func (r *Ref) Ask(ctx context.Context, msg any) (any, error) { return r.sys.Ask(ctx, r, msg) }

// local is r's cell in s, or nil.
func (r *Ref) local(s *System) *cell {
	if r.sys != s || r.foreign != nil {
		return nil
	}
	if c := r.cell.Load(); c != nil && !c.box.marked(dead) {
		return c
	}
	c, _ := r.sys.registry.get(r.id)
	return c
}

var poisonMessage = new(Poison)

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

func clampSize(n int) uint32 { return uint32(min(max(n, 0), math.MaxInt32)) }

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
			if err := c.waitForRoom(p.ctx, size); err != nil {
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
		c.ref.sys.unhandled(c, &it.env, c.overloaded())
	}
}

// waitForRoom waits until a Blocking mailbox has room, is closed, or ctx ends.
func (c *cell) waitForRoom(ctx context.Context, size uint32) error {
	room := c.box.awaitRoom(size, &c.props.Mailbox)
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
