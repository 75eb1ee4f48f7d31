package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/simbug"
	"github.com/granary-go/granary/engine/grain"
	"github.com/granary-go/granary/engine/internal/convert"
	"github.com/granary-go/granary/engine/internal/gossip"
)

// Stop takes the node out of the cluster and ends everything it has started. Before that it hands
// over gracefully: peers learn that it leaves, activations finish their queues and save, and only then
// its row and its links go. It takes at most Config.StopTimeout; what is not done by then is done hard,
// and so is, within half a second, what is not done when ctx ends. The errors of all steps are joined;
// each step is done whatever became of those before.
//
// Stop may be called at any time, before and during Start too, and again: every call returns when the
// node has stopped, with the same error, or when its ctx ends.
//
// A turn of a grain cannot wait for the stop of its node, which waits for the end of the turn: with the ctx of
// such a turn, or of one that such a turn waits for, Stop does nothing and returns at once a *grain.Error that
// is grain.FailedPrecondition, of the reason grain.ReasonCycle. Have another goroutine stop the node, with a
// ctx of its own. A turn that calls Stop with another ctx than its own is not recognised, and is waited for
// until the time of the drain is over.
func (n *Node) Stop(ctx context.Context) error {
	if by, held := n.heldUpBy(ctx); held {
		return core.WithDelivery(&grain.Error{Code: grain.FailedPrecondition, Reason: grain.ReasonCycle,
			Message: fmt.Sprintf("cluster: stop: it is asked for within a turn of %s, whose end it would wait for; stop from another goroutine, with a context of its own", by)}, core.Undelivered)
	}
	n.life.mu.Lock()
	switch n.life.stage {
	case stageNew:
		n.life.stage = stageStopped
		close(n.life.over)
	case stageStarting:
		n.life.ending = true
		n.life.abort() // Start undoes what it did
	case stageRunning:
		n.life.stage = stageStopping
		n.life.mu.Unlock()
		return n.finish(ctx)
	}
	n.life.mu.Unlock()
	select {
	case <-n.life.over: // which counts, whatever has become of ctx
	default:
		select {
		case <-n.life.over:
		case <-ctx.Done():
			return fmt.Errorf("cluster: stop: %w", context.Cause(ctx))
		}
	}
	n.life.mu.Lock()
	defer n.life.mu.Unlock()
	return n.life.err
}

// heldUpBy names the grain of the turn that ctx is of, if the stop of this node would have to wait for it.
func (n *Node) heldUpBy(ctx context.Context) (by core.Identity, held bool) {
	turn := n.turnOf(ctx)
	if turn == nil {
		return core.Identity{}, false
	}
	of := turn.frame.a
	held = of.node == n && of.heldUpBy(turn)
	for _, id := range turn.chain() {
		if a, _ := n.acts.get(id); a != nil && !held {
			held = a.heldUpBy(turn)
		}
	}
	return of.id(), held
}

// finish undoes what Start did, in the order of a stop.
func (n *Node) finish(ctx context.Context) error {
	defer n.cancel(core.ErrStopped)
	n.life.mu.Lock()
	undo := slices.Clone(n.life.undo)
	n.life.mu.Unlock()
	slices.SortStableFunc(undo, func(a, b step) int { return b.order - a.order })
	total := n.newAllowance(ctx, undo)
	var errs []error
	for _, s := range undo {
		n.cfg.Seams.Step("stop." + s.name)
		if s.order == stopGoroutines {
			n.cancel(core.ErrStopped) // there is nobody left to answer: handlers that wait for their contexts may end
		}
		if err := n.undo(total, s); err != nil {
			errs = append(errs, fmt.Errorf("cluster: stop: %s: %w", s.name, err))
			if simbug.On("failed-step-of-leave-aborts") {
				break
			}
		}
		total.shares -= s.share
	}
	n.life.mu.Lock()
	defer n.life.mu.Unlock()
	n.life.err = errors.Join(errs...)
	n.life.stage = stageStopped
	close(n.life.over)
	return n.life.err
}

// undo does one step. A part that does not heed its ctx is left behind, so that it cannot stop the
// steps after it.
func (n *Node) undo(total *allowance, s step) error {
	limit := total.limit(s)
	end := n.clock.Now().Add(limit)
	limited, cancel := n.withTimeout(total.ctx, limit-min(stopGrace, limit/5))
	defer cancel()
	if s.order == stopGoroutines {
		return s.do(limited) // it waits for the goroutines below too
	}
	done := make(chan error, 1)
	n.group.Go("stop "+s.name, func() {
		done <- n.protect("stop of "+s.name, func() error { return s.do(limited) })
	})
	select {
	case err := <-done:
		return err
	case <-limited.Done():
	}
	late := make(chan struct{})
	stop := n.clock.AfterFunc(min(end.Sub(n.clock.Now()), total.limit(s)), func() { close(late) })
	defer stop()
	select {
	case err := <-done:
		return err
	case <-late:
		return fmt.Errorf("it goes on although its time is over: %w", context.Cause(limited))
	}
}

// stopGrace is the part of a step's time that is left after the end of its ctx, to end in order; a
// fifth of it at most.
const stopGrace = 200 * time.Millisecond

// die stops the node by itself: it was evicted, or a part cannot go on. Fenced activations end
// without saving.
func (n *Node) die(cause error, fence bool) {
	n.life.mu.Lock()
	if n.life.fatal != nil || n.life.stage >= stageStopping {
		n.life.mu.Unlock()
		return
	}
	n.life.fatal = cause
	close(n.life.dead)
	n.life.mu.Unlock()
	if fence {
		n.fenced.Store(true)
		n.open.Store(false)
		n.draining.Store(true)
		n.cancel(cause)
	}
	n.after.Go("stop", func() {
		_ = n.Stop(context.WithoutCancel(n.base)) // Run and the next Stop return the error
	})
}

// A drain ends this many activations at a time, in so many batches side by side, so that their
// stores are not overrun.
const (
	drainBatch   = 500
	drainBatches = 8
)

// drainAll ends every activation: new calls are refused, the queue is finished, then the last turn.
func (n *Node) drainAll(ctx context.Context) error {
	if n.fenced.Load() {
		return nil
	}
	n.draining.Store(true)
	batches := make(chan []*activation, drainBatches)
	var wg sync.WaitGroup
	for range drainBatches {
		wg.Add(1)
		n.group.Go("drain", func() {
			defer wg.Done()
			for batch := range batches {
				n.drainBatch(ctx, batch)
			}
		})
	}
	var batch []*activation
	for a := range n.acts.all() {
		if batch = append(batch, a); len(batch) == drainBatch {
			batches <- batch
			batch = nil
		}
	}
	batches <- batch
	close(batches)
	wg.Wait()
	n.tellEnds(n.notices.take())
	if left := n.live(); left > 0 {
		n.cancel(core.ErrStopped) // what hangs may heed its context
		return fmt.Errorf("%d activations did not end in time: %w", left, context.Cause(ctx))
	}
	return nil
}

func (n *Node) drainBatch(ctx context.Context, batch []*activation) {
	for _, a := range batch {
		a.askToEnd(core.StopLeaving)
	}
	for _, a := range batch {
		_ = n.end(ctx, a, core.StopLeaving) // those that are left are counted at the end
	}
}

// stopLookup has the lookup hand over; views that come later are not for it any more.
func (n *Node) stopLookup(ctx context.Context) error {
	n.lookupStopped.Store(true)
	return n.parts.Lookup.Stop(ctx)
}

// endActors ends what the drain has left. Contexts of turns are cancelled first.
func (n *Node) endActors(ctx context.Context) error {
	n.open.Store(false)
	n.draining.Store(true)
	if n.live() > 0 {
		n.cancel(core.ErrStopped)
	}
	err := n.sys.Stop(ctx)
	if err != nil { // when what hangs has come back at last, its goroutine is not to be left
		n.group.Go("actors that hang", func() { _ = n.sys.Stop(context.WithoutCancel(ctx)) })
	}
	return err
}

// closeNetwork lets the last answers out, says goodbye, and ends the links; whatever is left of the
// time is for those of peers that do not answer.
func (n *Node) closeNetwork(ctx context.Context) error {
	soft := func(f func(context.Context) error) error {
		ctx, cancel := n.withTimeout(ctx, n.cfg.StopTimeout/25)
		defer cancel()
		return f(ctx)
	}
	if err := soft(n.remote.Drain); err != nil && !n.fenced.Load() {
		n.log.Warn("cluster: stop: some peers may miss their last answers", "error", err)
	}
	if soft(n.remote.Stop) == nil {
		return nil
	}
	return n.remote.Stop(ctx)
}

// joinAll waits for all goroutines; subscribers still hear of what has happened up to now.
func (n *Node) joinAll(ctx context.Context) error {
	n.endNews()
	return n.group.Wait(ctx)
}

// endReason is why an activation ends that was stopped with the node.
func (n *Node) endReason() core.StopReason {
	if n.fenced.Load() {
		return core.StopFenced
	}
	return core.StopLeaving
}

// leaving is how far a graceful leave has come.
type leaving struct {
	announced atomic.Bool // the provider has the row as Leaving
}

// planLeave adds the steps of a stop that others see: peers learn that this member leaves, then what runs
// here ends in order. None of them can stop those after it.
func (n *Node) planLeave() {
	n.onStop(stopAnnounce, "announce", 10, n.announceLeaving)
	n.onStop(stopSeen, "seen", 20, n.awaitSeen)
	n.onStop(stopDrain, "drain", 43, n.drainAll)
}

// announceLeaving stores the status Leaving, so that nobody places anything here any more.
func (n *Node) announceLeaving(ctx context.Context) error {
	if n.fenced.Load() {
		return nil
	}
	n.gossip.sayLeft()
	if err := n.setStatus(ctx, core.Leaving); err != nil {
		return fmt.Errorf("status leaving: %w", err)
	}
	n.leaving.announced.Store(true)
	return nil
}

// awaitSeen waits until every Up member is known to have a view in which this member leaves. Whoever has
// not by the end of ctx is left to it: the calls that it still sends here are refused as not delivered.
func (n *Node) awaitSeen(ctx context.Context) error {
	if n.fenced.Load() || !n.leaving.announced.Load() {
		return nil
	}
	if err := n.await(ctx, func(v *core.View) bool { return leaves(v, n.id) }); err != nil {
		return fmt.Errorf("this member's own view does not show that it leaves: %w", err)
	}
	if behind := n.gossip.awaitSeen(ctx, n.View()); len(behind) > 0 {
		n.log.LogAttrs(n.base, slog.LevelWarn, "cluster: some members may not know that this one leaves", slog.Any("members", behind))
	}
	return nil
}

// leaves reports whether v shows that nothing is placed on the member any more.
func leaves(v *core.View, id core.MemberID) bool {
	m, there := v.Member(id)
	return !there || m.Status == core.Leaving
}

// leaver waits for the others; it belongs to the owner of gossip.
type leaver struct {
	from *core.View // the first in which this member leaves
	done chan struct{}
}

// sayLeft tells all members at once that this one leaves: they ask their providers.
func (g *gossiper) sayLeft() {
	g.post(func() { g.setOwn(gossip.KeyLeft, convert.LeftToMessage(), true) })
}

// awaitSeen waits until all members that are Up have confirmed the key left and show the view from or a
// later one, and returns those that have not by the end of ctx.
func (g *gossiper) awaitSeen(ctx context.Context, from *core.View) (behind []core.MemberID) {
	done := make(chan struct{})
	g.post(func() {
		g.leaver = &leaver{from, done}
		g.checkLeave()
	})
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	answer := make(chan []core.MemberID, 1)
	if g.post(func() { answer <- g.behind() }) {
		behind = <-answer
	}
	return behind
}

// checkLeave is called after each step while somebody waits.
func (g *gossiper) checkLeave() {
	if g.leaver != nil && len(g.behind()) == 0 {
		close(g.leaver.done)
		g.leaver = nil
	}
}

// behind are the Up members that may not know yet that this one leaves.
func (g *gossiper) behind() (ids []core.MemberID) {
	if g.leaver == nil {
		return nil
	}
	unconfirmed := map[core.MemberID]bool{}
	for _, id := range g.machine.Behind(gossip.KeyLeft) {
		unconfirmed[id] = true
	}
	for m := range g.n.View().All() {
		if m.ID != g.n.id && m.Status == core.Up && (unconfirmed[m.ID] || !g.shows(m.ID)) {
			ids = append(ids, m.ID)
		}
	}
	return ids
}

// shows reports whether a member has the leaver's view or a later one. Where views have no order it has to
// be the same as here.
func (g *gossiper) shows(id core.MemberID) bool {
	v, ok := g.machine.Get(id, gossip.KeyTopology)
	if !ok {
		return false
	}
	t, err := convert.TopologyFromMessage(v.Message)
	if err != nil {
		return false
	}
	if from := g.leaver.from; from.Lineage() != "" && t.Lineage == from.Lineage() {
		return t.Epoch >= from.Epoch()
	}
	return t.Hash == g.n.View().Hash()
}

// cutGrace is how long the rest of a stop may take once the ctx of Stop has ended.
const cutGrace = 500 * time.Millisecond

// allowance is the time of a stop: all of its steps share one end.
type allowance struct {
	n      *Node
	ctx    context.Context // of Stop
	end    time.Time
	cut    bool // ctx has ended, and so does the stop soon
	shares int  // of this step and of those to come
}

func (n *Node) newAllowance(ctx context.Context, undo []step) *allowance {
	a := &allowance{n: n, ctx: ctx, end: n.clock.Now().Add(n.cfg.StopTimeout)}
	for _, s := range undo {
		a.shares += s.share
	}
	return a
}

// limit is how long s may take from now: its share of what is left. What the steps before have saved
// goes to those after, up to a quarter of the whole: so neither a busy machine nor one part that hangs
// takes the time of the rest.
func (a *allowance) limit(s step) time.Duration {
	now := a.n.clock.Now()
	if !a.cut && a.ctx.Err() != nil {
		a.cut = true
		if end := now.Add(cutGrace); end.Before(a.end) {
			a.end = end
		}
	}
	rest := a.end.Sub(now) * time.Duration(s.share) / time.Duration(a.shares)
	most := max(a.n.cfg.StopTimeout*time.Duration(s.share)/100, a.n.cfg.StopTimeout/4)
	return max(0, min(rest, most))
}
