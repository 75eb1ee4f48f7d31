package lookuptest

import (
	"errors"
	"sync"
	"testing"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/internal/suitetest"
	"github.com/granary-go/granary/core/strategy"
)

// strategyRows say which strategies the lookup honours. What a Router does not honour the engine refuses.
func strategyRows(h Harness, tr traits) []suitetest.Row {
	directory := skipUnless(!tr.router, "a Router places by ownership alone")
	ownership := skipUnless(!tr.compat, "owners are those of Proto.Actor")
	rows := []suitetest.Row{
		{Promise: "the kind's strategy decides", Skip: directory, Check: func(t testing.TB) { strategyDecides(t, h) }},
		{Promise: "places nothing that the strategy places nowhere", Skip: directory, Check: func(t testing.TB) { nowhere(t, h) }},
		{Promise: "honours rendezvous", Skip: ownership, Check: func(t testing.TB) { honours(t, h, rendezvousOf) }},
	}
	if tr.router {
		rows[2].Check = func(t testing.TB) { ownersByRendezvous(t, h) }
	}
	for _, of := range []struct {
		name string
		make func(*node) core.Strategy
	}{
		{"round robin", func(*node) core.Strategy { return &strategy.RoundRobin{} }},
		{"local first", func(n *node) core.Strategy { return strategy.LocalFirst{}.For(n.self.ID) }},
		{"least activations", func(n *node) core.Strategy { return strategy.LeastActivations{}.Under(n.w) }},
	} {
		rows = append(rows, suitetest.Row{Promise: "honours " + of.name, Skip: directory, Check: func(t testing.TB) { honours(t, h, of.make) }})
	}
	return rows
}

func rendezvousOf(*node) core.Strategy { return strategy.Rendezvous{} }

// Load counts what really runs.
func (w *world) Load(id core.MemberID, kind string) (activations int64, ok bool) {
	w.mu.Lock()
	n, ok := w.byID[id]
	w.mu.Unlock()
	if !ok {
		return 0, false
	}
	for a := range n.Activations() {
		if a.Identity.Kind == kind {
			activations++
		}
	}
	return activations, true
}

// picks remembers what the strategies of all nodes last picked for each identity.
type picks struct {
	mu sync.Mutex
	of map[core.Identity]core.MemberID
}

// asked is a strategy whose picks are remembered.
type asked struct {
	core.Strategy
	picks *picks
}

func (a asked) Pick(id core.Identity, candidates []core.Member) (core.Member, bool) {
	m, ok := a.Strategy.Pick(id, candidates)
	a.picks.mu.Lock()
	defer a.picks.mu.Unlock()
	a.picks.of[id] = m.ID
	return m, ok
}

// honours complains unless each identity lives where the strategy of some node put it.
func honours(t testing.TB, h Harness, of func(*node) core.Strategy) {
	w := newWorld(t, h, true, 3)
	p := &picks{of: map[core.Identity]core.MemberID{}}
	for _, n := range w.nodes {
		n.strategy = asked{of(n), p}
	}
	for i, id := range ids(30) {
		got := w.mustResolve(w.nodes[i%3], id).PID.Member
		p.mu.Lock()
		if want, ok := p.of[id]; !ok || got != want {
			t.Errorf("%s was placed on %s; the strategy was asked: %v, and picked %s", id, got, ok, want)
		}
		p.mu.Unlock()
	}
}

// ownersByRendezvous complains unless owners are what strategy.Rendezvous picks among the hosts.
func ownersByRendezvous(t testing.TB, h Harness) {
	w := newWorld(t, h, true, 4)
	for _, id := range ids(200) {
		want, _ := strategy.Rendezvous{}.Pick(id, w.view().Hosting(kind))
		if got := w.owner(w.nodes[0], id); got != want.ID {
			t.Errorf("owner of %s is %s, rendezvous picks %s", id, got, want.ID)
		}
	}
}

// nowhere has a node ask that does not know the kind's strategy, and so picks nobody: what lives is found, and
// nothing is made.
func nowhere(t testing.TB, h Harness) {
	w := newWorld(t, h, true, 3)
	w.nodes[0].strategy = core.StrategyFunc(func(core.Identity, []core.Member) (core.Member, bool) { return core.Member{}, false })
	lives, other := ids(2)[0], ids(2)[1]
	want := w.mustResolve(w.nodes[1], lives)
	if got := w.mustResolve(w.nodes[0], lives); got != want {
		t.Errorf("%s lives at %v, and %v was resolved", lives, want, got)
	}
	p, err := w.nodes[0].lookup.Resolve(t.Context(), other)
	if !errors.Is(err, core.ErrNoMember) || core.DeliveryOf(err) != core.Undelivered {
		t.Errorf("the strategy picks nobody for %s: %v, %v, want ErrNoMember, undelivered", other, p, err)
	}
}

func strategyDecides(t testing.TB, h Harness) {
	w := newWorld(t, h, true, 3)
	var mu sync.Mutex
	var seen []core.Member
	third := core.StrategyFunc(func(_ core.Identity, candidates []core.Member) (core.Member, bool) {
		mu.Lock()
		defer mu.Unlock()
		seen = candidates
		return candidates[len(candidates)-1], true
	})
	for _, n := range w.nodes {
		n.strategy = third
	}
	for _, id := range ids(10) {
		want := w.nodes[2].self.ID
		if p := w.mustResolve(w.nodes[0], id); p.PID.Member != want {
			t.Errorf("%s was placed on %s, the strategy picked %s", id, p.PID.Member, want)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if len(seen) != 3 {
		t.Errorf("the strategy was offered %d candidates, want 3", len(seen))
	}
}
