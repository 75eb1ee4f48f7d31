package cluster

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/actor"
	"github.com/granary-go/granary/engine/grain"
)

// Call is Self.Call. While it waits, calls that come back through its chain may run.
func (a *activation) Call(ctx context.Context, r grain.Request) (grain.Reply, error) {
	if err := a.mayCall(ctx, &r); err != nil {
		return grain.Reply{}, err
	}
	if t := a.node.turnOf(ctx); t != nil {
		return a.node.callWithin(ctx, t, r)
	}
	number := a.outer.strays()
	defer a.outer.strayed(number)
	return a.node.callFrom(ctx, r, []core.Identity{a.id()})
}

// callWithin makes a call that the turn t waits for.
func (n *Node) callWithin(ctx context.Context, t *turnContext, r grain.Request) (grain.Reply, error) {
	counted := t.frame.leave(t.number)
	defer t.frame.back(t.number, counted)
	return n.callFrom(ctx, r, t.chain())
}

// Tell is Self.Tell. Nobody waits, so there is no chain.
func (a *activation) Tell(ctx context.Context, r grain.Request) error {
	if err := a.mayCall(ctx, &r); err != nil {
		return err
	}
	return a.node.tellFrom(ctx, r)
}

func (a *activation) mayCall(ctx context.Context, r *grain.Request) error {
	if err := ctx.Err(); err != nil {
		return core.WithDelivery(fmt.Errorf("cluster: call %s of %s: %w", r.Method, r.To, err), core.Undelivered)
	}
	if a.marked(ended) {
		return core.WithDelivery(fmt.Errorf("cluster: call %s of %s: the activation of %s has ended: %w", r.Method, r.To, a.id(), core.ErrStopped), core.Undelivered)
	}
	return nil
}

// Stop is Self.Stop.
func (a *activation) Stop() {
	_ = a.node.sys.Nudge(a.ref, drain{core.StopRequested}) // it may be ending already
}

// View is Self.View.
func (a *activation) View() *core.View { return a.node.View() }

// timer is one After or Every of an activation. Its time runs on the node's clock, its function as a
// turn.
type timer struct {
	a       *activation
	every   bool
	d       time.Duration
	f       func(context.Context) error
	stopped atomic.Bool

	mu     sync.Mutex
	cancel func() bool
}

// Timer is Self.After and Self.Every.
func (a *activation) Timer(d time.Duration, every bool, f func(context.Context) error) (stop func()) {
	t := &timer{a: a, every: every, d: max(d, 0), f: f}
	if every {
		t.d = max(d, time.Millisecond) // more often would be a loop
	}
	x := a.more()
	x.mu.Lock()
	if a.marked(ended) {
		x.mu.Unlock()
		return func() {}
	}
	if x.timers == nil {
		x.timers = map[*timer]struct{}{}
	}
	x.timers[t] = struct{}{}
	x.mu.Unlock()
	t.arm()
	return t.stop
}

func (t *timer) arm() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.stopped.Load() {
		t.cancel = t.a.node.clock.AfterFunc(t.d, func() {
			_ = t.a.node.sys.Nudge(t.a.ref, tick{t}) // it may be ending
		})
	}
}

func (t *timer) stop() {
	if t.stopped.Swap(true) {
		return
	}
	t.mu.Lock()
	if t.cancel != nil {
		t.cancel()
	}
	t.mu.Unlock()
	x := t.a.more()
	x.mu.Lock()
	delete(x.timers, t)
	x.mu.Unlock()
}

// run is the turn of a timer that is due.
func (t *timer) run(a *activation) {
	if t.stopped.Load() || a.failed != nil {
		return
	}
	a.outer.begin()
	defer a.outer.end()
	ctx := a.outer.newTurn(a.node.base, a.node.Self(), nil, nil)
	defer ctx.cancel(context.Canceled)
	a.running = true
	err := t.f(ctx)
	a.running = false
	if err != nil {
		a.node.log.LogAttrs(a.node.base, slog.LevelWarn, "cluster: a timer of a grain failed", slog.String("kind", a.kind.Name), quoted(a.key), slog.Any("error", err))
	}
	if t.every {
		t.arm()
		return
	}
	t.stop()
}

// stopTimers is part of the last turn.
func (a *activation) stopTimers() {
	x := a.extra.Load()
	if x == nil {
		return
	}
	x.mu.Lock()
	timers := x.timers
	x.timers = nil
	x.mu.Unlock()
	for t := range timers {
		t.stop()
	}
}

var _ grain.Backend = (*activation)(nil)

// reenter has a call that came back to its own chain run in a turn beside the mailbox, if the method
// allows it; otherwise it could never be answered, and is refused.
func (a *activation) reenter(chain []core.Identity, m *grain.MethodSpec, run func(*frame)) (taken bool, err error) {
	if err := grain.CheckChain(chain, a.id(), m.Reentrant); err != nil {
		return true, err
	}
	f := &frame{a: a}
	if !a.enter(f) {
		return true, &actor.DeadLetterError{Target: a.place().PID}
	}
	a.node.group.Go("reentrant turn", func() {
		f.begin()
		defer func() {
			f.end()
			a.exit(f)
			// A drain or a passivation that found this turn looks again.
			_ = a.node.sys.Nudge(a.ref, idleCheck{}) // the activation may have ended
		}()
		run(f)
	})
	return true, nil
}

// enter counts a reentrant turn. False: the last turn has begun, and nothing may run after it.
func (a *activation) enter(f *frame) bool {
	x := a.more()
	x.mu.Lock()
	defer x.mu.Unlock()
	if a.marked(sealed) {
		return false
	}
	if x.inner == nil {
		x.inner = map[*frame]*turnContext{}
	}
	x.inner[f] = nil
	return true
}

// runs tells the context of a turn, which ends with the activation if the turn is a reentrant one.
func (f *frame) runs(turn *turnContext) {
	if f == &f.a.outer {
		return
	}
	x := f.a.more()
	x.mu.Lock()
	x.inner[f] = turn
	x.mu.Unlock()
	if f.a.marked(sealed) {
		turn.cancel(context.Canceled)
	}
}

func (a *activation) exit(f *frame) {
	x := a.more()
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.inner, f)
	if len(x.inner) == 0 && x.idle != nil {
		close(x.idle)
		x.idle = nil
	}
}

// seal lets no reentrant turn begin any more, and ends the contexts of those that run. The channel is
// closed when the last of them is over; nil: there is none.
func (a *activation) seal() <-chan struct{} {
	a.mark(sealed) // before the look at extras: enter looks in the reverse order
	x := a.extra.Load()
	if x == nil {
		return nil
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, turn := range x.inner {
		if turn != nil {
			turn.cancel(context.Canceled)
		}
	}
	if len(x.inner) == 0 {
		return nil
	}
	x.idle = make(chan struct{})
	return x.idle
}

// endInner waits until no reentrant turn is left, for as long as a stop may take; once the node ends
// its activations the hard way, for a small part of that. False: one goes on although its context has
// ended.
func (a *activation) endInner() bool {
	idle := a.seal()
	if idle == nil {
		return true
	}
	n := a.node
	late := make(chan struct{}, 2)
	soft := n.clock.AfterFunc(n.cfg.StopTimeout, func() { late <- struct{}{} })
	defer soft()
	select {
	case <-idle:
		return true
	case <-late:
		return false
	case <-n.base.Done():
	}
	hard := n.clock.AfterFunc(n.cfg.StopTimeout/20, func() { late <- struct{}{} })
	defer hard()
	select {
	case <-idle:
		return true
	case <-late:
		return false
	}
}

func (a *activation) innerLocal(f *frame, call *localCall, e actor.Envelope) {
	if !call.begin() {
		call.release()
		return
	}
	a.guard(func() (any, error) { return a.runLocal(f, call) }, func(v any, err error) {
		reply(e, v, err)
		call.release()
	})
}

func (a *activation) innerRemote(f *frame, in *inCall) {
	a.guard(func() (any, error) { return a.runRemote(f, in) }, func(v any, err error) { in.Reply(0, v, err) })
}

// guard runs a reentrant turn and answers its caller, however it ends: a panic or the end of its goroutine
// is the caller's answer and the end of the activation, as in any turn. After the last turn nothing runs.
func (a *activation) guard(run func() (any, error), answer func(v any, err error)) {
	if a.marked(sealed) {
		answer(nil, &actor.DeadLetterError{Target: a.place().PID})
		return
	}
	ended := false
	defer func() {
		if ended {
			return
		}
		p := recover()
		a.logCrash("a reentrant method", p)
		a.mark(broken)                                      // before the answer, so that no later call finds this grain
		_ = a.node.sys.Nudge(a.ref, drain{core.StopFailed}) // it may be ending already
		answer(nil, core.WithDelivery(grain.PanicIn("the method", p), core.Delivered))
	}()
	v, err := run()
	ended = true
	answer(v, err)
}

// logCrash tells of code of the grain that panicked or ended its goroutine.
func (a *activation) logCrash(what string, p any) {
	a.node.log.LogAttrs(a.node.base, slog.LevelError, "cluster: panic in a grain", slog.String("kind", a.kind.Name), quoted(a.key), slog.String("in", what),
		slog.String("error", grain.PanicIn(what, p).Message), slog.String("stack", string(debug.Stack())))
}
