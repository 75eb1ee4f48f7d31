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

// frame is one turn: it counts the calls that the turn waits for. Guarded by the turns of a.
type frame struct {
	a       *activation
	waiting int
	holds   bool          // the right to run
	ended   bool          // calls that goroutines of the handler left behind count no more
	number  uint64        // tells the uses of the outermost frame apart
	resume  chan struct{} // closed when the right is back; nil: nobody waits for it
}

// begin waits for the right to run.
func (f *frame) begin() {
	t := &f.a.turns
	t.mu.Lock()
	t.take()
	f.holds, f.ended = true, false
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

// leave is called before a call goes out in the frame's turn. The result is for back.
func (f *frame) leave() (number uint64) {
	t := &f.a.turns
	t.mu.Lock()
	defer t.mu.Unlock()
	if f.ended {
		return 0
	}
	if f.waiting++; f.waiting == 1 {
		t.suspended++
		f.yield()
	}
	return f.number
}

// back is called when the call has ended. The last one to come back waits until the turn may go on.
func (f *frame) back(number uint64) {
	t := &f.a.turns
	t.mu.Lock()
	defer t.mu.Unlock()
	if f.ended || f.number != number {
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

// waits reports whether some turn of the activation waits for a call of its own.
func (t *turns) waits() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.suspended > 0
}

// frameKey finds the frame of the turn that a context belongs to.
type frameKey struct{}

// frameOf is the frame of the turn in which code of a runs under ctx: that which ctx carries, else
// the outermost one, since calls from outside of grains pass the caller's own context through.
func (a *activation) frameOf(ctx context.Context) *frame {
	f, ok := ctx.Value(frameKey{}).(*frame)
	if !ok {
		return &a.outer
	}
	if f.a != a {
		return nil
	}
	return f
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
	return nil, core.WithDelivery(grain.ErrorOf(err), core.Delivered)
}
