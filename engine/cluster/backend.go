package cluster

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/granary-go/granary/core"
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
	return a.node.callFrom(ctx, r, []core.Identity{a.id})
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
	if a.ended.Load() {
		return core.WithDelivery(fmt.Errorf("cluster: call %s of %s: the activation of %s has ended: %w", r.Method, r.To, a.id, core.ErrStopped), core.Undelivered)
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
	if a.ended.Load() {
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
		a.node.log.LogAttrs(a.node.base, slog.LevelWarn, "cluster: a timer of a grain failed", slog.String("kind", a.id.Kind), quoted(a.id.Key), slog.Any("error", err))
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
