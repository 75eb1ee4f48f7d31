package cluster

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/grain"
)

// turns is the right to run code of one activation. A turn holds it, except while all that the turn
// does is to wait for calls to other grains: then a call that comes back through the chain may run.
// Whoever has to wait does so on a channel, since turns may last as long as calls.
type turns struct {
	mu        sync.Mutex
	held      bool
	suspended int32   // turns that wait for calls of theirs
	last      *waiter // in the order of their coming; its next is the first
}

// waiter waits for the right to run.
type waiter struct {
	mine chan struct{} // closed when the right is handed over
	next *waiter
}

// frame is one turn at a time: it counts the calls that the turn waits for. Guarded by the turns of a.
type frame struct {
	a       *activation
	waiting int32
	astray  int32         // calls under a context that does not tell whose turn made them
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
	w := &waiter{mine: make(chan struct{})}
	if w.next = w; t.last != nil {
		w.next, t.last.next = t.last.next, w
	}
	t.last = w
	t.mu.Unlock()
	<-w.mine // handed over: held stays true
	t.mu.Lock()
}

// give passes the right on; mu is held.
func (t *turns) give() {
	if t.last == nil {
		t.held = false
		return
	}
	first := t.last.next
	if t.last.next = first.next; first == t.last {
		t.last = nil
	}
	close(first.mine)
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
	return own || suspended && c.frame.a != a && grain.InChain(c.chain(), a.id())
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

// turnKey finds the turn that a context belongs to.
type turnKey struct{}

// turnContext is the context of one turn: of a call, of a hook, of a timer. It ends with its turn, and
// is never used for another one, since a handler may keep it. It is small, as each call needs one: what
// tells of the end, and what FromContext gives of a plain call, are only made for those who ask.
type turnContext struct {
	parent context.Context // whose end and values are this one's too
	frame  *frame
	number uint64 // of the turn in its frame
	// nil: nobody has asked for anything yet, and the turn runs. over: it has ended so.
	more atomic.Pointer[turnMore]
}

// turnMore is the rest of a turnContext, made when first used.
type turnMore struct {
	deadline time.Time // zero: only the parent's; set before others know the context

	mu    sync.Mutex
	err   error
	told  *grain.Turn          // nil: of a plain call, and nobody has asked yet
	done  chan struct{}        // nil: nobody has asked for it
	stops [3]func() bool       // of what watches over the end, once there is done
	after map[*func()]struct{} // what AfterFunc registered
}

// over is of all contexts whose turn has ended before anybody asked for anything. It never changes.
var over = func() *turnMore {
	m := &turnMore{err: context.Canceled, done: make(chan struct{})}
	close(m.done)
	return m
}()

// toldContext is a turnContext with what the call brought along, in one allocation.
type toldContext struct {
	turnContext
	own  turnMore
	told grain.Turn
}

// newTurn makes a context for the turn f. The chain is that of the calls which wait for the turn.
func (f *frame) newTurn(parent context.Context, from core.Member, headers map[string]string, chain []core.Identity) *turnContext {
	return new(toldContext).begin(f, parent, from, headers, chain)
}

func (c *toldContext) begin(f *frame, parent context.Context, from core.Member, headers map[string]string, chain []core.Identity) *turnContext {
	c.told = grain.Turn{Self: grain.NewSelf(f.a), Peer: from, Headers: headers, Chain: chain}
	c.parent, c.frame, c.number, c.own.told = parent, f, f.number, &c.told
	c.more.Store(&c.own)
	return &c.turnContext
}

// plainTurn makes a context for the turn f of a call from outside of grains in this process, which
// brings nothing but its own context.
func (f *frame) plainTurn(parent context.Context) *turnContext {
	c := f.a.node.plainContext()
	c.parent, c.frame, c.number = parent, f, f.number
	return c
}

// contextBatch is contexts of plain calls that are made at once, so that nearly all of these calls allocate
// nothing. It is 2 KiB, a size class of the allocator; no more, since one that is kept keeps them all.
type contextBatch struct {
	used int
	of   [50]turnContext
}

func (n *Node) plainContext() *turnContext {
	b, ok := n.contexts.Get().(*contextBatch)
	if !ok {
		b = new(contextBatch)
	}
	c := &b.of[b.used]
	if b.used++; b.used < len(b.of) {
		n.contexts.Put(b)
	}
	return c
}

// turnOf is the turn that ctx belongs to, if it is one of a grain in this node's cluster: of this node,
// or of another one in the same process.
func (n *Node) turnOf(ctx context.Context) *turnContext {
	c, ok := ctx.Value(turnKey{}).(*turnContext)
	if !ok {
		return nil
	}
	if from := c.frame.a.node; from != n {
		v := n.View()
		if v == nil {
			return nil
		}
		if _, there := v.Member(from.id); !there {
			return nil
		}
	}
	return c
}

// rest makes what is made for those who ask; over, if the turn has ended before that.
func (c *turnContext) rest() *turnMore {
	if m := c.more.Load(); m != nil {
		return m
	}
	c.more.CompareAndSwap(nil, new(turnMore))
	return c.more.Load()
}

// limit ends the context at a time. It is called before others know it.
func (c *turnContext) limit(at time.Time) {
	if m := c.rest(); m.deadline.IsZero() || at.Before(m.deadline) {
		m.deadline = at
	}
}

// turn is what FromContext tells.
func (c *turnContext) turn() *grain.Turn {
	m := c.rest()
	if m == over {
		return c.plain()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.told == nil {
		m.told = c.plain()
	}
	return m.told
}

func (c *turnContext) plain() *grain.Turn {
	return &grain.Turn{Self: grain.NewSelf(c.frame.a), Peer: c.frame.a.node.Self()}
}

// chain is the grains that wait for this turn, and its own.
func (c *turnContext) chain() []core.Identity {
	var before []core.Identity
	if m := c.more.Load(); m != nil && m != over {
		m.mu.Lock()
		if m.told != nil {
			before = m.told.Chain
		}
		m.mu.Unlock()
	}
	return grain.AppendChain(before, c.frame.a.id())
}

// Deadline is the earlier one of the call's and the parent's.
func (c *turnContext) Deadline() (time.Time, bool) {
	at, ok := c.parent.Deadline()
	if m := c.more.Load(); m != nil && !m.deadline.IsZero() && (!ok || !at.Before(m.deadline)) {
		return m.deadline, true
	}
	return at, ok
}

// Value answers for the turn; everything else is the parent's.
func (c *turnContext) Value(key any) any {
	switch key.(type) {
	case grain.TurnKey:
		return c.turn()
	case turnKey:
		return c
	}
	return c.parent.Value(key)
}

// Err looks at the clock and the parent too, so that it is right without a timer.
func (c *turnContext) Err() error {
	m := c.more.Load()
	if err := m.ended(); err != nil {
		return err
	}
	n := c.frame.a.node
	err := c.parent.Err()
	if err == nil {
		err = n.base.Err()
	}
	if err == nil && m != nil && !m.deadline.IsZero() && !n.clock.Now().Before(m.deadline) {
		err = context.DeadlineExceeded
	}
	if err != nil {
		c.cancel(err)
	}
	return err
}

// ended is why the context has ended; nil if it has not, as far as it has been told.
func (m *turnMore) ended() error {
	if m == nil {
		return nil
	}
	if m == over { // one lock for all would be one for all to meet at
		return m.err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.err
}

// Done makes what watches over the end.
func (c *turnContext) Done() <-chan struct{} {
	m := c.rest()
	m.mu.Lock()
	defer m.mu.Unlock()
	c.watch(m)
	return m.done
}

// watch has m hear of the end; its mu is held.
func (c *turnContext) watch(m *turnMore) {
	if m.done != nil {
		return
	}
	m.done = make(chan struct{})
	if m.err != nil {
		close(m.done)
		return
	}
	n := c.frame.a.node
	if !m.deadline.IsZero() {
		m.stops[0] = n.clock.AfterFunc(m.deadline.Sub(n.clock.Now()), func() { c.cancel(context.DeadlineExceeded) })
	}
	if c.parent.Done() != nil {
		m.stops[1] = context.AfterFunc(c.parent, func() { c.cancel(c.parent.Err()) })
	}
	if c.parent != n.base { // a call from outside of grains ends with the node too
		m.stops[2] = context.AfterFunc(n.base, func() { c.cancel(n.base.Err()) })
	}
}

// AfterFunc lets package context make children without a goroutine for each.
func (c *turnContext) AfterFunc(f func()) (stop func() bool) {
	m := c.rest()
	m.mu.Lock()
	defer m.mu.Unlock()
	c.watch(m)
	if m.err != nil {
		c.frame.a.node.group.Go("context", f)
		return func() bool { return false }
	}
	if m.after == nil {
		m.after = map[*func()]struct{}{}
	}
	key := &f
	m.after[key] = struct{}{}
	return func() bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		_, there := m.after[key]
		delete(m.after, key)
		return there
	}
}

// cancel ends the context, the first time it is called. The end of a turn calls it too.
func (c *turnContext) cancel(err error) {
	if err == context.Canceled && c.more.CompareAndSwap(nil, over) { //nolint:errorlint // it is that one itself
		return
	}
	m := c.rest()
	m.mu.Lock()
	if m.err != nil {
		m.mu.Unlock()
		return
	}
	m.err = err
	if m.done == nil {
		m.mu.Unlock()
		return
	}
	close(m.done)
	after := m.after
	m.after = nil
	m.mu.Unlock()
	for _, stop := range m.stops { // set before done could be seen
		if stop != nil {
			stop()
		}
	}
	for f := range after {
		c.frame.a.node.group.Go("context", *f)
	}
}

var _ context.Context = (*turnContext)(nil)
