package cluster

import (
	"context"
	"fmt"
	"iter"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/grain"
	"github.com/granary-go/granary/engine/internal/wireform"
)

// host is the narrow view of a node that its lookup gets.
type host struct{ n *Node }

// Self is this member as its provider knows it.
func (h host) Self() core.Member { return h.n.Self() }

// Call carries one request to the lookup on another member, stamped with the view that the lookup has:
// from within Reshape on that is one more than the node has installed.
func (h host) Call(ctx context.Context, to core.Member, m core.Message) (core.Message, error) {
	s := wireform.StampOf(h.n.views.shaped.Load())
	return h.n.request(ctx, to, processLookup, &wireform.Envelope{Type: wireform.TypeLookup, View: &s, Message: m})
}

// handleLookup answers Host.Call of another member, once this node has the view of the message.
func (n *Node) handleLookup(ctx context.Context, from core.Member, view *wireform.Stamp, m core.Message) (core.Message, error) {
	if err := n.awaitStamp(ctx, *view); err != nil {
		return core.Message{}, err
	}
	return n.parts.Lookup.Handle(paidBy(ctx, from.ID), from, m)
}

// Deactivate stops the activation of exactly token t and waits for its last turn. Whoever asks for it
// within a turn that the last one would have to wait for is refused.
func (h host) Deactivate(ctx context.Context, id core.Identity, t core.Token, why core.StopReason) error {
	a, _ := h.n.acts.get(id)
	if a == nil || a.place.Token != t {
		return nil
	}
	if turn := h.n.turnOf(ctx); turn != nil && a.heldUpBy(turn) {
		return core.WithDelivery(&grain.Error{Code: grain.FailedPrecondition, Reason: grain.ReasonCycle,
			Message: fmt.Sprintf("deactivate %s: it is asked for within a turn of it, whose end it would wait for; use Self.Stop there, which ends the grain after the turn", id)}, core.Undelivered)
	}
	return h.n.end(ctx, a, why)
}

// end drains a and waits until it has ended or ctx has.
func (n *Node) end(ctx context.Context, a *activation, why core.StopReason) error {
	s := n.acts.shard(a.id)
	s.mu.Lock()
	running := s.m[a.id] == a
	gone := a.goneLocked()
	s.mu.Unlock()
	if !running {
		return nil
	}
	a.askToEnd(why)
	select {
	case <-gone:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// askToEnd has a finish its queue and end. A start-up that still runs is of use to nobody any more:
// its context ends.
func (a *activation) askToEnd(why core.StopReason) {
	a.unwanted.Store(true)
	_ = a.node.sys.Nudge(a.ref, drain{why}) // it may be ending already
	if ctx := a.starting.Load(); ctx != nil {
		ctx.cancel(context.Canceled)
	}
}

// Activations walks what runs here.
func (h host) Activations() iter.Seq[core.Activation] { return h.n.Activations() }

// Strategy is the kind's choice among hosts.
func (h host) Strategy(kind string) core.Strategy { return h.n.strategyOf(kind) }

var _ core.Host = host{}
