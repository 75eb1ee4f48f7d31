package cluster

import (
	"iter"
	"maps"
	"slices"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/actor"
)

// KindInfo is what a node knows of one of its kinds.
type KindInfo struct {
	Name string
	Live int64 // activations on this node that have not ended
}

// Kinds tells of each kind of this node how many activations are live, in order of name. The counts
// are exact at any moment: an activation counts from its making to the end of its last turn.
func (n *Node) Kinds() []KindInfo {
	out := make([]KindInfo, 0, len(n.kinds))
	for _, name := range slices.Sorted(maps.Keys(n.kinds)) {
		out = append(out, KindInfo{name, n.kinds[name].live.Load()})
	}
	return out
}

// live is the number of all live activations.
func (n *Node) live() int64 {
	var sum int64
	for _, k := range n.kinds {
		sum += k.live.Load()
	}
	return sum
}

// Activations walks what runs on this node, in no order. It does not hold up anybody.
func (n *Node) Activations() iter.Seq[core.Activation] {
	return func(yield func(core.Activation) bool) {
		for a := range n.acts.all() {
			if !yield(a.Activation()) {
				return
			}
		}
	}
}

// Where tells where the node would send a call of id now, if it knows without asking anybody: from
// its cache, or because ownership alone decides.
func (n *Node) Where(id core.Identity) (core.MemberID, bool) {
	if e, ok := n.cache.Get(id); ok {
		return e.PID.Member, true
	}
	if n.router != nil && n.View() != nil {
		if owner, ok := n.router.Owner(id); ok {
			return owner.ID, true
		}
	}
	return "", false
}

// Health is the state of a node in brief.
type Health struct {
	Live bool // the node runs
	// Ready: it is Up in the installed view and takes calls, and its own timers are in time; for a client:
	// it has a view.
	Ready bool
	Epoch uint64
	// Members that are in the installed view, of any status.
	Members int
	// Suspects are the members that are suspected to be dead, in ascending order.
	Suspects []core.MemberID
	// Cached is how many locations of grains are known.
	Cached int
}

// Health tells how the node is.
func (n *Node) Health() Health {
	n.life.mu.Lock()
	running := n.life.stage == stageRunning && n.life.fatal == nil
	n.life.mu.Unlock()
	h := Health{Live: running, Cached: n.cache.Len()}
	v := n.View()
	if v == nil {
		return h
	}
	m, _ := v.Member(n.id)
	h.Epoch, h.Members = v.Epoch(), v.Len()
	h.Ready = running && (n.cfg.Client || m.Status == core.Up) && !n.suspicion.sick.Load()
	h.Suspects = n.suspicion.list()
	return h
}

// Events is the stream of events of the node: core.Topology for each view, each Event, what Broadcast
// brings, and what the actor system publishes. Nil before the second step of Start; Subscribe tells Events
// alone, and of those that come before too.
func (n *Node) Events() *actor.EventStream { return n.events.Load() }
