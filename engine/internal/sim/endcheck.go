package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/granary-go/granary/core"
)

// checkConverged is what must hold once nothing has gone wrong for C: one view, nothing that runs twice
// or in the wrong place, gossip that is complete and forgets whom it should.
func (w *world) checkConverged(invariant string) {
	live := w.live()
	for _, n := range live {
		w.check(invariant, n.view != nil && n.view.Hash() == live[0].view.Hash() && n.row.Status == core.Up, func() string {
			return fmt.Sprintf("%s and %s have different views, or one is not up", n.id, live[0].id)
		})
		if n.view == nil {
			return
		}
		w.check(invariant, n.view.Len() == len(live), func() string {
			return fmt.Sprintf("%s has a view of %d members, %d live", n.id, n.view.Len(), len(live))
		})
		w.checkGossip(n, live)
		w.checkPlaces(n)
		w.checkCache(n)
	}
	w.checkDuplicates(live)
}

// checkGossip compares what n knows with what the others say of themselves.
func (w *world) checkGossip(n *node, live []*node) {
	for _, peer := range live {
		own, has := peer.talk.state.Get(peer.id, userKey)
		known, knows := n.talk.state.Get(peer.id, userKey)
		w.check("L3", has == knows && own.Version == known.Version, func() string {
			return fmt.Sprintf("%s knows version %d of %s, who is at %d", n.id, known.Version, peer.id, own.Version)
		})
	}
	for _, other := range w.nodes {
		if !other.proc.Alive() {
			w.check("L3", len(n.talk.state.Keys(other.id)) == 0, func() string {
				return fmt.Sprintf("%s still knows %d keys of %s, who is gone", n.id, len(n.talk.state.Keys(other.id)), other.id)
			})
		}
	}
	hash, agreed := n.talk.state.Agreed(checkTopology)
	w.check("L3", agreed && hash == n.view.Hash(), func() string {
		return fmt.Sprintf("%s does not find that all agree on the topology", n.id)
	})
}

// checkPlaces is S2 for one node: it runs what it owns.
func (w *world) checkPlaces(n *node) {
	for id, a := range n.acts {
		w.check("S2", n.own.Owns(id) || a.stopping, func() string {
			return fmt.Sprintf("%s still runs %s, which it does not own", n.id, id.Key)
		})
	}
}

// checkDuplicates is S2: no identity runs twice.
func (w *world) checkDuplicates(live []*node) {
	for _, id := range w.ids {
		runs := 0
		for _, n := range live {
			if n.acts[id] != nil {
				runs++
			}
		}
		w.check("S2", runs <= 1, func() string { return fmt.Sprintf("%s runs %d times", id.Key, runs) })
	}
}

// probeAll is L1: every identity answers every member.
func (w *world) probeAll(invariant string) {
	begin := w.heap.Now()
	for _, n := range w.live() {
		for _, id := range w.ids {
			n.proc.After(n.phase(200*time.Millisecond), func() {
				n.call(id, false, probeLimit, func(r *request) {
					w.check(invariant, r.err == nil, func() string {
						return fmt.Sprintf("call %d of %s from %s: %v after %d attempts", r.number, id.Key, n.id, r.err, r.attempts)
					})
				})
			})
		}
	}
	w.heap.Run(begin + probeLimit/2)
}

// restartOne is L4: a process that takes over an address serves within C, whether the one before ended
// in order or not.
func (w *world) restartOne() {
	live := w.live()
	if len(live) == 0 {
		return
	}
	m := live[w.rng.IntN(len(live))].m
	w.restart(m, w.rng.IntN(2), 0)
	w.heap.Run(w.heap.Now() + converge)
	n := m.cur
	w.check("L4", n != nil && n.row.Status == core.Up && n.view != nil, func() string {
		return fmt.Sprintf("nobody serves on %s again", m.name)
	})
	w.checkConverged("L4")
	w.probeAll("L4")
}

// flapOne is L7: a member that is lost from sight for less than the grace costs nothing.
func (w *world) flapOne() {
	live := w.live()
	if len(live) < 2 {
		return
	}
	before := w.ended
	a := w.rng.IntN(len(live))
	b := (a + 1 + w.rng.IntN(len(live)-1)) % len(live)
	end, _ := w.flap(live[a], live[b])
	d := grace / 2
	if w.ordered {
		d = leaseTTL / 2
	}
	w.heap.After(d, end)
	w.heap.After(d+grace/8, live[a].session.Refresh) // an answer from before the end may have overtaken the one after it
	w.heap.Run(w.heap.Now() + d + time.Second)
	w.check("L7", w.ended == before, func() string {
		return fmt.Sprintf("%d activations ended since %s was lost from sight for %v", w.ended-before, live[b].id, d)
	})
}

// checkAtEnd looks back at the whole run.
func (w *world) checkAtEnd() {
	w.checkConverged("L3")
	for _, r := range w.ledger.requests {
		if r.over {
			w.checkUndelivered(r)
			continue
		}
		due := r.n.proc.Alive() && w.heap.Now() > r.began+2*r.limit
		w.check("S6", !due, func() string { return fmt.Sprintf("call %d of %s never ended", r.number, r.to.Key) })
	}
	w.checkReturns()
	w.checkLinks()
	for _, n := range w.live() {
		w.checkSizes(n)
	}
}

// checkReturns is S4: after C, no identity is answered by one activation, then by another, then by the
// first again.
func (w *world) checkReturns() {
	answers := map[core.Identity][]*request{}
	for _, r := range w.ledger.requests {
		if r.over && r.err == nil {
			answers[r.to] = append(answers[r.to], r)
		}
	}
	for _, id := range w.ids {
		list := answers[id]
		slices.SortFunc(list, func(a, b *request) int { return int(a.ended - b.ended) })
		w.checkReturn(id, list)
	}
}

// checkReturn finds a1, b, a2 among answers in the order of their ends, of which b began after C.
func (w *world) checkReturn(id core.Identity, list []*request) {
	first := map[uint64]time.Duration{} // end of the first answer of an activation
	last := map[uint64]time.Duration{}  // begin of the last
	for _, r := range list {
		if _, known := first[r.activation]; !known {
			first[r.activation] = r.ended
		}
		last[r.activation] = max(last[r.activation], r.began)
	}
	for _, b := range list {
		if !w.settledAt(b.began) {
			continue
		}
		for a, end := range first {
			w.check("S4", a == b.activation || end >= b.began || b.ended >= last[a], func() string {
				return fmt.Sprintf("%s was answered by activation %d, then by %d, then by %d again", id.Key, a, b.activation, a)
			})
		}
	}
}

// settledAt is true if nothing was wrong and no view was installed for C before at.
func (w *world) settledAt(at time.Duration) bool {
	i, _ := slices.BinarySearch(w.ledger.changes, at)
	return at >= w.healed+converge && (i == 0 || at-w.ledger.changes[i-1] >= converge)
}

// patience is for longer than what went wrong counts against a member.
const patience = 12 * time.Second

// checkLinks is L9: where only links went wrong, views change at most twice for each
// change of a link.
func (w *world) checkLinks() {
	links := 0
	for _, f := range w.schedule.Faults {
		if !slices.Contains(linkKinds(), f.Kind) {
			return
		}
		links += 2 // its begin and its end
	}
	for _, n := range w.nodes {
		w.check("L9", n.evicted == 0 || n.view == nil || n.view.Len() < 3 || w.schedule.Parted(n.m.index, n.evicted-patience, n.evicted) > 1, func() string {
			return fmt.Sprintf("%s was removed, and all others but one could reach it", n.id)
		})
		w.check("L9", n.installs <= 2*links, func() string {
			return fmt.Sprintf("%s installed %d views for %d changes of links", n.id, n.installs, links)
		})
	}
}

// checkSizes is R5: what a node remembers is bounded.
func (w *world) checkSizes(n *node) {
	w.check("R5", n.cache.Len() <= len(w.ids), func() string { return fmt.Sprintf("%s caches %d places", n.id, n.cache.Len()) })
	w.check("R5", n.own.Tables() <= 64, func() string { return fmt.Sprintf("%s keeps %d tables", n.id, n.own.Tables()) })
	s := n.talk.state.Stats()
	w.check("R5", s.Members <= n.view.Len() && s.Keys <= 7*s.Members && s.Peers <= n.view.Len(), func() string {
		return fmt.Sprintf("%s keeps gossip of %d members, %d keys, %d peers", n.id, s.Members, s.Keys, s.Peers)
	})
	for _, l := range n.dialled {
		w.check("R5", l.cur == nil || n.links[l.peer.ID] == l, func() string {
			return fmt.Sprintf("%s still has a connection to %s, to which it has no link any more", n.id, l.peer.ID)
		})
	}
	w.check("R5", len(n.links) < n.view.Len() && len(n.incoming) < n.view.Len() && len(n.talk.waiting) <= 8*n.view.Len(), func() string {
		return fmt.Sprintf("%s has %d links, %d connections, %d exchanges", n.id, len(n.links), len(n.incoming), len(n.talk.waiting))
	})
}
