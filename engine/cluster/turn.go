package cluster

import (
	"context"
	"sync"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/grain"
)

// turns is the right to run code of one activation. A turn holds it, except while all that the turn
// does is to wait for calls to other grains: then a call that comes back through the chain may run.
// Whoever has to wait does so on a channel, since turns may last as long as calls.
type turns struct {
	mu        sync.Mutex
	held      bool
	suspended int // turns that wait for calls of theirs
	waiters   []chan struct{}
}

// frame is one turn at a time: it counts the calls that the turn waits for. Guarded by the turns of a.
type frame struct {
	a       *activation
	waiting int
	astray  int           // calls under a context that does not tell whose turn made them
	holds   bool          // the right to run
	ended   bool          // calls that goroutines of the handler left behind count no more
	number  uint64        // tells the turns of one frame apart, from 1
	resume  chan struct{} // closed when the right is back; nil: nobody waits for it
}

// begin waits for the right to run.
func (f *frame) begin() {
	t := &f.a.turns
	t.mu.Lock()
	t.take()
	f.holds, f.ended, f.astray = true, false, 0
	f.number++
	t.mu.Unlock()
}

// take waits until held is this caller's; mu is held before and after.
func (t *turns) take() {
	if !t.held {
		t.held = true
		return
	}
	mine := make(chan struct{})
	t.waiters = append(t.waiters, mine)
	t.mu.Unlock()
	<-mine // handed over: held stays true
	t.mu.Lock()
}

// give passes the right on; mu is held.
func (t *turns) give() {
	if len(t.waiters) == 0 {
		t.held, t.waiters = false, nil
		return
	}
	close(t.waiters[0])
	t.waiters = t.waiters[1:]
}

// yield gives the right back if the frame holds it; mu is held.
func (f *frame) yield() {
	if f.holds {
		f.holds = false
		f.a.turns.give()
	}
}

// end ends the turn.
func (f *frame) end() {
	t := &f.a.turns
	t.mu.Lock()
	defer t.mu.Unlock()
	f.ended = true
	if f.waiting > 0 {
		f.waiting = 0
		t.suspended--
	}
	f.yield()
}

// leave is called before a call of turn number goes out. False: that turn is over, and this is a
// goroutine that it left behind; the turn that may be running now is none of its business.
func (f *frame) leave(number uint64) (counted bool) {
	t := &f.a.turns
	t.mu.Lock()
	defer t.mu.Unlock()
	if f.ended || f.number != number {
		return false
	}
	if f.waiting++; f.waiting == 1 {
		t.suspended++
		f.yield()
	}
	return true
}

// back is called when the call has ended. The last one to come back waits until the turn may go on.
func (f *frame) back(number uint64, counted bool) {
	t := &f.a.turns
	t.mu.Lock()
	defer t.mu.Unlock()
	if !counted || f.ended || f.number != number {
		return
	}
	if f.waiting--; f.waiting > 0 {
		return
	}
	t.suspended--
	switch {
	case f.resume != nil: // another goroutine of this turn is waiting for the right already
		resume := f.resume
		t.mu.Unlock()
		<-resume
		t.mu.Lock()
		return
	case !t.held:
		t.held, f.holds = true, true
		return
	}
	f.resume = make(chan struct{})
	t.take()
	close(f.resume)
	f.resume = nil
	if f.ended || f.number != number || f.waiting > 0 { // gone on without it
		t.give()
		return
	}
	f.holds = true
}

// strays is called before a call goes out under a context that tells of no turn, one of the grain's
// own. It may be the present turn's and may be not, so the turn keeps the right to run. The result is
// for strayed.
func (f *frame) strays() (number uint64) {
	t := &f.a.turns
	t.mu.Lock()
	defer t.mu.Unlock()
	if f.ended {
		return 0
	}
	f.astray++
	return f.number
}

// strayed is called when such a call has ended.
func (f *frame) strayed(number uint64) {
	t := &f.a.turns
	t.mu.Lock()
	defer t.mu.Unlock()
	if !f.ended && f.number == number {
		f.astray--
	}
}

// waits reports whether a call of m that comes back through its own chain is not to be queued, since
// a turn waits for it. Where that is no more than likely, a method that could not run anyway is
// refused, rather than left to wait for itself.
func (a *activation) waits(m *grain.MethodSpec) bool {
	t := &a.turns
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.suspended > 0 || a.outer.astray > 0 && !m.Reentrant
}

// heldUpBy reports whether the end of a has to wait for c: c is a turn of a, or of a grain that a turn of
// a waits for.
func (a *activation) heldUpBy(c *turnContext) bool {
	t := &a.turns
	t.mu.Lock()
	suspended := t.suspended > 0
	own := c.frame.a == a && !c.frame.ended && c.frame.number == c.number
	t.mu.Unlock()
	return own || suspended && c.frame.a != a && grain.InChain(c.chain(), a.id)
}

// invoke runs one method. The error is what the caller may see; a panic passes through.
func (a *activation) invoke(ctx context.Context, m *grain.MethodSpec, arg any) (any, error) {
	var v any
	var err error
	if a.node.handle == nil {
		v, err = m.Invoke(ctx, a.grain, arg)
	} else {
		v, err = a.node.handle(ctx, grain.Invocation{Self: grain.NewSelf(a), Method: m, Grain: a.grain, Arg: arg})
	}
	if err == nil {
		return v, nil
	}
	delivery := core.Delivered
	if grain.ArgumentRefused(err) { // as where an argument from the wire cannot be decoded
		delivery = core.Undelivered
	}
	return nil, core.WithDelivery(grain.ErrorOf(err), delivery)
}
