package cluster

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/internal/convert"
	"github.com/granary-go/granary/engine/internal/gossip"
)

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
