package lookuptest

import (
	"slices"
	"testing"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/internal/suitetest"
)

// routerRows are about lookups that place by ownership alone.
func routerRows(h Harness, tr traits) []suitetest.Row {
	router := skipUnless(tr.router, "the lookup is no Router")
	return []suitetest.Row{
		{Promise: "Owner is the same on every node, and hosts the kind", Skip: router, Check: func(t testing.TB) { ownersAgree(t, h) }},
		{Promise: "Resolve places on the Owner, under the zero token", Skip: router, Check: func(t testing.TB) { placedOnOwner(t, h) }},
		{Promise: "a fifth member takes over at most 1/5 + 3 %", Skip: router, Check: func(t testing.TB) { ownersMove(t, h) }},
		{Promise: "what an owner lost is stopped and runs at the new one", Skip: router, Check: func(t testing.TB) { losersStop(t, h) }},
	}
}

// owner asks n for the owner of id.
func (w *world) owner(n *node, id core.Identity) core.MemberID {
	w.t.Helper()
	r, ok := n.lookup.(core.Router)
	if !ok {
		w.t.Fatalf("the lookup on %s is no Router", n.self.ID)
	}
	m, ok := r.Owner(id)
	if !ok {
		w.t.Errorf("no owner of %s on %s", id, n.self.ID)
	}
	return m.ID
}

func ownersAgree(t testing.TB, h Harness) {
	w := newWorld(t, h, true, 4)
	w.setStatus(w.nodes[3], core.Leaving)
	w.publish()
	used := map[core.MemberID]bool{}
	for _, id := range ids(200) {
		want := w.owner(w.nodes[0], id)
		used[want] = true
		for _, n := range w.nodes[1:] {
			if got := w.owner(n, id); got != want {
				t.Errorf("owner of %s is %s on %s, %s on the first node", id, got, n.self.ID, want)
			}
		}
		if !slices.ContainsFunc(w.view().Hosting(kind), func(m core.Member) bool { return m.ID == want }) {
			t.Errorf("owner of %s is %s, which does not host the kind", id, want)
		}
	}
	if len(used) != 3 {
		t.Errorf("%d members own something, want 3", len(used))
	}
	r, _ := w.nodes[0].lookup.(core.Router)
	if m, ok := r.Owner(core.Identity{Kind: "Nobody", Key: "k"}); ok {
		t.Errorf("a kind that nobody hosts is owned by %s", m.ID)
	}
}

func placedOnOwner(t testing.TB, h Harness) {
	w := newWorld(t, h, true, 3)
	for i, id := range ids(60) {
		n := w.nodes[i%3]
		p := w.mustResolve(n, id)
		if want := w.owner(n, id); p.PID.Member != want || !p.Token.IsZero() {
			t.Errorf("%s: placed on %s under %s, want on %s under the zero token", id, p.PID.Member, p.Token, want)
		}
	}
}

func ownersMove(t testing.TB, h Harness) {
	w := newWorld(t, h, true, 4)
	all := ids(5000)
	before := make([]core.MemberID, len(all))
	for i, id := range all {
		before[i] = w.owner(w.nodes[0], id)
	}
	fifth := w.add(kind)
	w.start(fifth)
	w.publish()
	moved := 0
	for i, id := range all {
		now := w.owner(w.nodes[0], id)
		if now == before[i] {
			continue
		}
		if now != fifth.self.ID {
			t.Fatalf("%s moved from %s to %s when %s joined", id, before[i], now, fifth.self.ID)
		}
		moved++
	}
	if share := float64(moved) / float64(len(all)); moved == 0 || share > 0.23 {
		t.Errorf("%.1f %% moved, want at most 23 %%", 100*share)
	}
}

func losersStop(t testing.TB, h Harness) {
	w := newWorld(t, h, true, 2)
	all := ids(60)
	before := map[core.Identity]core.Placement{}
	for _, id := range all {
		before[id] = w.mustResolve(w.nodes[0], id)
	}
	joiner := w.add(kind)
	w.start(joiner)
	w.publish()
	ctx := suitetest.WithTimeout(t, h.Settle)
	for _, id := range all {
		owner := w.owner(w.nodes[0], id)
		if owner == before[id].PID.Member {
			if as := w.running(id); len(as) != 1 || as[0].Placement != before[id] {
				t.Errorf("%s kept its owner, but now %v runs, before %+v", id, as, before[id])
			}
			continue
		}
		w.await(ctx, "the stop of "+id.String()+" at its former owner", func() bool {
			for _, a := range w.running(id) {
				if a.PID.Member != owner {
					return false
				}
			}
			return true
		})
	}
	w.checkConverged(all)
}
