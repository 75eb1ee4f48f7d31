package cluster

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/simbug"
	"github.com/granary-go/granary/engine/actor"
	"github.com/granary-go/granary/engine/grain"
)

// activation is one running grain: the actor that holds it, and what stands behind its Self.
//
// It is 192 bytes, a size class of the allocator, with nothing to spare: what few activations need is in
// extras, and what is known from elsewhere (the kind's name, the PID) is not kept again.
type activation struct {
	node  *Node
	kind  *kind
	key   string // of the identity
	token core.Token
	ref   *actor.Ref
	last  atomic.Int64
	turns turns
	outer frame // of the turns that come through the mailbox

	// Of the turn.
	grain    any
	failed   *error // why the start failed; every message is answered with it
	told     bool   // one was
	started  bool   // the grain's own start-up succeeded
	running  bool   // code of the grain runs; still set at the end: it panicked
	draining bool
	why      core.StopReason

	stopping bool    // guarded by the table's shard, as ending is
	ending   *ending // nil: nobody waits for the end

	starting atomic.Pointer[turnContext] // of the grain's own start-up, while it runs
	extra    atomic.Pointer[extras]
	marks    atomic.Uint32
}

// The marks of an activation. None is ever taken back.
const (
	unwanted uint32 = 1 << iota // told to end
	broken                      // a reentrant turn failed: what is queued runs on the next activation
	sealed                      // no reentrant turn begins any more
	ended
)

func (a *activation) mark(m uint32)        { a.marks.Or(m) }
func (a *activation) marked(m uint32) bool { return a.marks.Load()&m != 0 }

// ending is who waits for the end of an activation.
type ending struct {
	gone   chan struct{} // closed at the end; nil: nobody waits for that
	parked []*inCall     // routed calls, to be routed again
}

// id is what the activation runs.
func (a *activation) id() core.Identity { return core.Identity{Kind: a.kind.Name, Key: a.key} }

// Key is id, for the table.
func (a *activation) Key() core.Identity { return a.id() }

// place is where it runs. It is called once ref is set.
func (a *activation) place() core.Placement { return core.Placement{PID: a.ref.PID(), Token: a.token} }

// The engine's own messages to an activation; they pass its mailbox's bound.
type (
	idleCheck struct{}                      // end, if nothing happened for long enough
	drain     struct{ why core.StopReason } // end, once the queue is done
	tick      struct{ timer *timer }        // a timer is due
)

// Receive is one turn, or a part of the actor's life.
func (a *activation) Receive(c *actor.Context) {
	switch m := c.Message().(type) {
	case *localCall:
		a.local(c, m)
	case *inCall:
		a.remote(m)
	case actor.Started:
		a.start()
	case actor.Stopping:
		a.node.acts.stopping(a)
	case actor.Stopped:
		a.stopped()
	case idleCheck:
		a.checkIdle(c)
	case drain:
		a.beginDrain(c, m.why)
	case tick:
		m.timer.run(a)
	}
	if a.told {
		a.beginDrain(c, core.StopFailed)
	}
	if a.draining {
		a.stopIfIdle(c)
	}
}

// start is the first turn: the factory, then the grain's own start-up. What fails is the answer of
// all who wait, and the end of the activation; so is a panic, or the end of the goroutine.
func (a *activation) start() {
	a.node.acts.get(a.id()) // waits for spawn to be done
	a.outer.begin()
	defer a.outer.end()
	ctx := a.outer.newTurn(a.node.base, a.node.Self(), nil, nil)
	a.starting.Store(ctx)
	hook, ended := "the factory", false
	var err error
	defer func() {
		if !ended {
			p := recover()
			a.logCrash(hook, p)
			err = grain.PanicIn(hook, p)
		}
		a.starting.Store(nil)
		ctx.cancel(context.Canceled)
		a.touch()
		a.begun(err)
	}()
	if a.grain, err = a.kind.Instance(grain.NewSelf(a)); err == nil {
		if g, ok := a.grain.(grain.Activator); ok {
			hook = "the hook Activate"
			err = g.Activate(ctx)
		}
	}
	ended = true
}

// begun is the end of the start-up.
func (a *activation) begun(err error) {
	if err == nil {
		a.started = true
		if f := a.node.observer.Activated; f != nil {
			f(a.Activation(), a.node.clock.Now().Sub(a.more().made))
		}
		return
	}
	if a.marked(unwanted) { // it was told to end while it started: those who wait find it at its next place
		a.fail(errStopping(a.id()))
		return
	}
	a.node.log.LogAttrs(a.node.base, slog.LevelWarn, "cluster: an activation failed to start", slog.String("kind", a.kind.Name), quoted(a.key), slog.Any("error", err))
	a.fail(core.WithDelivery(grain.ErrorOf(err), core.Undelivered))
	// The call that made it is on its way and is to be told: the end comes after the first answer.
	a.node.clock.AfterFunc(failedLinger, func() {
		_ = a.node.sys.Nudge(a.ref, drain{core.StopFailed}) // it has ended by then, as a rule
	})
}

// fail notes why the start failed.
func (a *activation) fail(err error) { a.failed = &err }

// guardian ends an activation whose code failed. One whose start ended its goroutine is not over yet:
// it answers those who wait, as after any failed start.
type guardian struct{}

// Decide implements actor.Strategy.
func (guardian) Decide(f *actor.Failure) actor.Verdict {
	if f.Message == (actor.Started{}) {
		return actor.Verdict{Directive: actor.Resume}
	}
	return actor.Verdict{Directive: actor.Halt}
}

// failedLinger is how long an activation whose start failed waits for a call to tell.
const failedLinger = 200 * time.Millisecond

// local runs a call of this process.
func (a *activation) local(c *actor.Context, call *localCall) {
	e := c.Envelope()
	if !call.begin() { // its caller gave up while it was queued
		call.release()
		return
	}
	if a.failed != nil {
		a.refuseLocal(e, call, *a.failed)
		a.told = true
		return
	}
	if a.marked(broken) {
		a.refuseLocal(e, call, errStopping(a.id()))
		return
	}
	a.outer.begin()
	defer a.outer.end()
	a.touch()
	a.running = true
	v, err := a.runLocal(&a.outer, call)
	a.running = false
	reply(e, v, err)
	call.release()
}

// refuseLocal answers a call that does not run. One that nobody waits for is a dead letter.
func (a *activation) refuseLocal(e actor.Envelope, call *localCall, err error) {
	if e.Reply == nil {
		a.node.sys.ReportDeadLetter(actor.DeadLetter{Target: a.ref.PID(), Message: call.arg, Count: 1, Header: call.headers, Err: err})
	}
	reply(e, nil, err)
	call.release()
}

func reply(e actor.Envelope, v any, err error) {
	if e.Reply != nil {
		e.Reply.Reply(e.ReplyID, v, err)
	}
}

// runLocal is the turn of a local call.
func (a *activation) runLocal(f *frame, call *localCall) (any, error) {
	if err := call.ctx.Err(); err != nil {
		return nil, core.WithDelivery(err, core.Undelivered)
	}
	turn := f.localTurn(call)
	defer turn.cancel(context.Canceled)
	f.runs(turn)
	v, err := a.invoke(turn, call.method, call.arg)
	a.logOneWay(call.method, err)
	return v, err
}

func (f *frame) localTurn(call *localCall) (turn *turnContext) {
	if call.chain == nil && call.headers == nil {
		turn = f.plainTurn(call.ctx)
	} else {
		turn = f.newTurn(call.ctx, f.a.node.Self(), call.headers, call.chain)
	}
	if limit := call.method.Timeout; limit > 0 {
		turn.limit(f.a.node.clock.Now().Add(limit))
	}
	return turn
}

// logOneWay gives the error of a method without an answer to the log.
func (a *activation) logOneWay(m *grain.MethodSpec, err error) {
	if err != nil && m.OneWay {
		a.node.log.LogAttrs(a.node.base, slog.LevelWarn, "cluster: a one-way method failed", slog.String("kind", a.kind.Name), quoted(a.key), slog.String("method", m.Name), slog.Any("error", err))
	}
}

// touch notes that the activation is in use. The time is the node's coarse one.
func (a *activation) touch() { a.last.Store(a.node.coarse.Load()) }

// checkIdle ends the activation if nothing happened for the kind's idle time. The mailbox is closed
// in the same step as it is found empty, so nothing is lost.
func (a *activation) checkIdle(c *actor.Context) {
	if a.draining || !a.idleAt(a.node.coarse.Load()) || !a.quiet() {
		return
	}
	a.why = core.StopIdle
	if !c.StopIfIdle() {
		a.why = 0
	}
}

// quiet reports whether no reentrant turn waits or runs.
func (a *activation) quiet() bool {
	x := a.extra.Load()
	if x == nil {
		return true
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.inner) == 0
}

// beginDrain refuses new calls and ends the activation when the queue is done.
func (a *activation) beginDrain(c *actor.Context, why core.StopReason) {
	if a.draining {
		return
	}
	a.draining, a.why = true, why
	if simbug.On("handled-after-deactivation") {
		a.stopped()
	}
	a.node.acts.stopping(a)
	if a.failed != nil {
		c.Refuse(*a.failed)
		return
	}
	c.Refuse(errStopping(a.id()))
}

func (a *activation) stopIfIdle(c *actor.Context) {
	if a.quiet() {
		c.StopIfIdle()
	}
}

// stopped is the last turn. What was still in the mailbox has been answered as not delivered. Nothing
// runs after it: it waits for reentrant turns, and where one does not end, the grain is not asked to
// say goodbye beside it.
func (a *activation) stopped() {
	alone := a.endInner()
	switch {
	case a.node.fenced.Load():
		a.why = core.StopFenced
	case a.running:
		a.why = core.StopFailed
	case a.why == 0:
		a.why = a.node.endReason()
	}
	a.node.acts.stopping(a)
	a.stopTimers()
	if !alone {
		a.node.log.LogAttrs(a.node.base, slog.LevelError, "cluster: a reentrant turn goes on after the end of its activation", slog.String("kind", a.kind.Name), quoted(a.key), slog.String("why", a.why.String()))
		return
	}
	g, ok := a.grain.(grain.Deactivator)
	if !ok || !a.started || a.why == core.StopFenced {
		return
	}
	a.outer.begin()
	defer a.outer.end()
	ctx := a.outer.newTurn(a.node.base, a.node.Self(), nil, nil)
	defer ctx.cancel(context.Canceled)
	a.deactivate(ctx, g)
}

// deactivate runs the grain's own last turn.
func (a *activation) deactivate(ctx *turnContext, g grain.Deactivator) {
	ended := false
	defer func() {
		if !ended {
			a.logCrash("the hook Deactivate", recover())
		}
	}()
	err := g.Deactivate(ctx, a.why)
	ended = true
	if err != nil && !errors.Is(err, context.Canceled) {
		a.node.log.LogAttrs(a.node.base, slog.LevelWarn, "cluster: a grain failed to deactivate", slog.String("kind", a.kind.Name), quoted(a.key), slog.String("why", a.why.String()), slog.Any("error", err))
	}
}

// closed comes after the last turn, whatever happened in it. Observers hear of the end before another
// activation may begin.
func (a *activation) closed() {
	a.mark(ended)
	defer a.node.ended(a)
	defer a.node.acts.remove(a) // before ended, also if an observer panics
	if f := a.node.observer.Fenced; f != nil && a.why == core.StopFenced {
		f(a.Activation())
	}
	if f := a.node.observer.Deactivated; f != nil {
		f(a.Activation(), a.why)
	}
}

// Activation names the grain and where it runs.
func (a *activation) Activation() core.Activation {
	return core.Activation{Identity: a.id(), Placement: a.place()}
}

func quoted(key string) slog.Attr { return slog.String("key", key) }

// sweepPeriod is how often activations are looked over for passivation: often enough for the kind of
// the shortest idle time. Zero: no kind has one.
func (n *Node) sweepPeriod() time.Duration {
	var shortest time.Duration
	for _, k := range n.kinds {
		if k.idle > 0 && (shortest == 0 || k.idle < shortest) {
			shortest = k.idle
		}
	}
	if shortest == 0 {
		return 0
	}
	return min(max(shortest/8, 5*time.Millisecond), 10*time.Second)
}

// idleAt reports whether a has been idle for its kind's time at the coarse time now. Uses are noted by
// the coarse time as well, which may be a sweep behind: so a sweep more has to pass.
func (a *activation) idleAt(now int64) bool {
	return a.kind.idle > 0 && now-a.last.Load() >= int64(a.kind.idle+a.node.sweep)
}

// sweepIdle looks over all activations and asks those that were idle for long enough to end. There
// is no timer an activation.
func (n *Node) sweepIdle(stop <-chan struct{}) {
	due := make(chan struct{}, 1)
	var cancel func() bool
	arm := func() {
		cancel = n.clock.AfterFunc(n.sweep, func() { due <- struct{}{} })
	}
	arm()
	for {
		select {
		case <-due:
		case <-stop:
			cancel()
			return
		}
		now := int64(n.clock.Now().Sub(n.made))
		n.coarse.Store(now)
		for a := range n.acts.all() {
			if a.idleAt(now) {
				_ = n.sys.Nudge(a.ref, idleCheck{}) // it may be ending already
			}
		}
		arm()
	}
}
