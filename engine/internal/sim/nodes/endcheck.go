package nodes

import (
	"fmt"
	"slices"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/sim"
)

// checkAtEnd looks back at the whole run.
func (w *world) checkAtEnd() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range w.ledger.requests {
		w.checkLocked("S6", r.over || r.p.dead && w.now() < r.began+r.limit+late, func() string {
			return fmt.Sprintf("a call of %s by %s never ended", r.to.Key, r.p.name)
		})
		if r.over && r.err != nil && core.DeliveryOf(r.err) == core.Undelivered {
			w.checkLocked("S7", r.executed == 0, func() string {
				return fmt.Sprintf("a call of %s by %s ran %d times, and ended as undelivered: %v", r.to.Key, r.p.name, r.executed, r.err)
			})
		}
	}
	w.checkReturns()
	w.checkLinks()
	for _, p := range w.procs {
		w.checkSizes(p)
	}
}

// checkReturns is S4: after C, no identity is answered by one activation, then by another, then by the
// first again.
func (w *world) checkReturns() {
	answers := map[core.Identity][]*request{}
	for _, r := range w.ledger.requests {
		if r.over && r.err == nil && !r.tell {
			answers[r.to] = append(answers[r.to], r)
		}
	}
	for _, id := range w.ids {
		w.checkReturn(id, answers[id])
	}
}

// checkReturn finds a1, b, a2 among the answers of one identity, of which b began after C.
func (w *world) checkReturn(id core.Identity, list []*request) {
	first := map[uint64]time.Duration{} // end of the first answer of an activation
	last := map[uint64]time.Duration{}  // begin of its last one
	for _, r := range list {
		if end, known := first[r.activation]; !known || r.ended < end {
			first[r.activation] = r.ended
		}
		last[r.activation] = max(last[r.activation], r.began)
	}
	for _, b := range list {
		if b.began < w.healed+converge {
			continue
		}
		for a, end := range first {
			if a == b.activation {
				continue
			}
			w.checkLocked("S4", end >= b.began || b.ended >= last[a], func() string {
				return fmt.Sprintf("%s was answered by one activation, then by another, then by the first again", id.Key)
			})
		}
	}
}

// patience is for longer than what went wrong counts against a member.
const patience = 12 * time.Second

// checkLinks is L9: where only links went wrong, views change at most twice for each change of a link.
func (w *world) checkLinks() {
	links := 0
	for _, f := range w.schedule.Faults {
		if !slices.Contains(linkKinds(), f.Kind) {
			return
		}
		links += 2 // its begin and its end
		if f.Kind == sim.Drop || f.Kind == sim.Reorder {
			links += int(f.For / orderSlot) // they change all the time
		}
	}
	for _, p := range w.procs {
		w.checkLocked("L9", p.evictedAt == 0 || p.view == nil || p.view.Len() < 3 || w.schedule.Parted(p.m.index, p.evictedAt-patience, p.evictedAt) > 1, func() string {
			return fmt.Sprintf("%s was removed, and all others but one could reach it", p.name)
		})
		w.checkLocked("L9", p.installs <= 2*links, func() string {
			return fmt.Sprintf("%s installed %d views for %d changes of links", p.name, p.installs, links)
		})
	}
}

// checkSizes is R5: what a node remembers is bounded.
func (w *world) checkSizes(p *process) {
	cached := p.node.Health().Cached
	w.checkLocked("R5", cached <= len(w.ids), func() string { return fmt.Sprintf("%s caches %d places", p.name, cached) })
	g := p.node.GossipStats()
	most := 2 * len(w.machines)
	w.checkLocked("R5", g.Members <= most && g.Peers <= most && g.Keys <= 8*most && g.Clients == 0, func() string {
		return fmt.Sprintf("%s keeps gossip of %d members, %d keys, %d peers", p.name, g.Members, g.Keys, g.Peers)
	})
}
