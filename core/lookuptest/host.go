package lookuptest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/internal/suitetest"
)

// stopTakes is how long a Stopped turn takes, so that a start that does not wait for it is seen.
const stopTakes = 2 * time.Millisecond

// node is one simulated member: a core.Host, its lookup, and what runs on it.
type node struct {
	w      *world
	lookup core.Lookup
	group  suitetest.Group

	mu          sync.Mutex // guards what follows
	self        core.Member
	view        *core.View
	installed   chan struct{} // closed and replaced whenever a view was installed
	down        bool          // crashed, or its transport is closed
	activations map[core.Identity]*activation
	spawned     int
	refuse      error         // what Activate answers while it is set
	hold        chan struct{} // Activate waits until it is closed
	entered     int           // calls of Activate
	strategy    core.Strategy
	restless    *rand.Rand // not nil: Activate takes its time, and some activations end at once
}

// activation is one grain that runs, or is in its Stopped turn.
type activation struct {
	core.Activation
	stopping bool
	gone     chan struct{} // closed after the Stopped turn
}

func (n *node) Self() core.Member {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.self
}

// Call stands for engine and network: it copies the message, checks the view stamp on the other side
// and reduces an error to what survives the wire.
func (n *node) Call(ctx context.Context, to core.Member, m core.Message) (core.Message, error) {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
	}
	return n.w.carry(ctx, n, to.ID, core.Message{Type: m.Type, Data: slices.Clone(m.Data)})
}

// Activate keeps the rules of core.Host.
func (n *node) Activate(ctx context.Context, id core.Identity, t core.Token) (core.Placement, error) {
	if err := n.enter(ctx); err != nil {
		return core.Placement{}, err
	}
	n.dawdle()
	defer n.dawdle()
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.refusal(id); err != nil {
		return core.Placement{}, err
	}
	if a, runs := n.activations[id]; runs {
		return a.against(t)
	}
	n.spawned++
	pid := core.PID{Address: n.self.Address, ID: fmt.Sprintf("g/%s/%d", n.self.ID, n.spawned), Member: n.self.ID}
	a := &activation{
		Activation: core.Activation{Identity: id, Placement: core.Placement{PID: pid, Token: t}},
		gone:       make(chan struct{}),
	}
	n.activations[id] = a
	n.w.history.add(started, a.Activation)
	if n.restless != nil && n.restless.IntN(4) == 0 {
		n.stop(a, core.StopIdle) // it may be over before Activate returns
	}
	return a.Placement, nil
}

// dawdle takes a moment, if the node is restless.
func (n *node) dawdle() {
	n.mu.Lock()
	var d time.Duration
	if n.restless != nil {
		d = time.Duration(n.restless.Int64N(int64(3 * stopTakes)))
	}
	n.mu.Unlock()
	if d > 0 {
		timer := time.NewTimer(d)
		<-timer.C
	}
}

// stop begins the Stopped turn of a, once. n.mu is held.
func (n *node) stop(a *activation, why core.StopReason) {
	if !a.stopping {
		a.stopping = true
		n.w.hosts.Go("stop "+a.Identity.String(), func() { n.stopTurn(a, why) })
	}
}

// enter counts the call and waits while activations are held.
func (n *node) enter(ctx context.Context) error {
	n.mu.Lock()
	n.entered++
	hold := n.hold
	n.mu.Unlock()
	if hold == nil {
		return ctx.Err()
	}
	select {
	case <-hold:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("activate: %w", ctx.Err())
	}
}

// refusal is why nothing can be activated now. n.mu is held.
func (n *node) refusal(id core.Identity) error {
	switch {
	case n.down:
		return core.WithDelivery(fmt.Errorf("activate %s: %w", id, core.ErrStopped), core.Undelivered)
	case n.refuse != nil:
		return core.WithDelivery(fmt.Errorf("activate %s: %w", id, n.refuse), core.Undelivered)
	case !slices.Contains(n.self.Kinds, id.Kind):
		return core.WithDelivery(fmt.Errorf("activate %s: %w", id, core.ErrNoKind), core.Undelivered)
	}
	return nil
}

// against is the answer to an order under t while a runs or stops.
func (a *activation) against(t core.Token) (core.Placement, error) {
	if a.stopping {
		return core.Placement{}, core.Retry(fmt.Errorf("activate %s: %w", a.Identity, core.ErrBusy), stopTakes)
	}
	if t.IsZero() || t == a.Token {
		return a.Placement, nil
	}
	if t.Compare(a.Token) < 0 {
		return a.Placement, fmt.Errorf("activate %s: %w", a.Identity, core.ErrFenced)
	}
	return a.Placement, fmt.Errorf("activate %s: %w", a.Identity, core.ErrConflict)
}

// Deactivate starts the stop and waits for its end, up to ctx.
func (n *node) Deactivate(ctx context.Context, id core.Identity, t core.Token, why core.StopReason) error {
	n.mu.Lock()
	a, runs := n.activations[id]
	if !runs || a.Token != t {
		n.mu.Unlock()
		return nil
	}
	n.stop(a, why)
	n.mu.Unlock()
	select {
	case <-a.gone:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("deactivate %s: %w", id, ctx.Err())
	}
}

// stopTurn is the Stopped turn: it takes its time, then tells the lookup.
func (n *node) stopTurn(a *activation, why core.StopReason) {
	timer := time.NewTimer(stopTakes)
	defer timer.Stop()
	<-timer.C
	n.mu.Lock()
	down := n.down
	if !down {
		n.w.history.add(stopped, a.Activation)
		delete(n.activations, a.Identity)
	}
	n.mu.Unlock()
	if l, ok := n.lookup.(core.ReleaseListener); ok && !down {
		l.Released(a.Activation, why)
	}
	close(a.gone)
}

// Activations walks a copy.
func (n *node) Activations() iter.Seq[core.Activation] {
	n.mu.Lock()
	defer n.mu.Unlock()
	out := make([]core.Activation, 0, len(n.activations))
	for _, a := range n.activations {
		out = append(out, a.Activation)
	}
	return slices.Values(out)
}

// Strategy is that of the world, for every kind.
func (n *node) Strategy(string) core.Strategy { return n.strategy }

// handle is what the engine does with a message that arrived: it waits until the view of the stamp is
// installed here, and refuses what it does not get to know in a second.
func (n *node) handle(ctx context.Context, from core.Member, stamp *core.View, m core.Message) (core.Message, error) {
	timer := time.NewTimer(time.Second)
	defer timer.Stop()
	for {
		n.mu.Lock()
		view, installed, down := n.view, n.installed, n.down
		n.mu.Unlock()
		switch {
		case down:
			return core.Message{}, core.WithDelivery(core.ErrUnreachable, core.Undelivered)
		case view != nil && sameStamp(view, stamp):
			return n.lookup.Handle(ctx, from, m)
		case view != nil && stamp.Lineage() != "" && view.Epoch() > stamp.Epoch():
			return core.Message{}, core.WithDelivery(core.ErrNotOwner, core.Undelivered)
		}
		select {
		case <-installed:
		case <-timer.C:
			return core.Message{}, core.WithDelivery(core.Retry(core.ErrBusy, 50*time.Millisecond), core.Undelivered)
		case <-ctx.Done():
			return core.Message{}, core.WithDelivery(ctx.Err(), core.Undelivered)
		}
	}
}

func sameStamp(a, b *core.View) bool {
	return a.Hash() == b.Hash() && a.Lineage() == b.Lineage() && (a.Lineage() == "" || a.Epoch() == b.Epoch())
}

// wireErrors are the sentinels that survive the way back.
var wireErrors = []error{
	core.ErrNoMember, core.ErrNoKind, core.ErrNotOwner, core.ErrBusy, core.ErrOverloaded, core.ErrUnreachable,
	core.ErrStopped, core.ErrFenced, core.ErrConflict, core.ErrInvalid, core.ErrUnsupported, core.ErrNotFound,
	context.Canceled, context.DeadlineExceeded,
}

// throughWire keeps of err what the engine's wire form keeps: text, sentinel, delivery, retry time.
func throughWire(err error) error {
	if err == nil {
		return nil
	}
	out := errors.New(err.Error())
	for _, sentinel := range wireErrors {
		if errors.Is(err, sentinel) {
			out = fmt.Errorf("remote: %w", sentinel)
			break
		}
	}
	if after, ok := core.RetryAfter(err); ok {
		out = core.Retry(out, after)
	}
	return core.WithDelivery(out, core.DeliveryOf(err))
}

var _ core.Host = (*node)(nil)
