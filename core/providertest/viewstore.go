package providertest

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/internal/suitetest"
)

// viewStoreRows are about changes to other members' rows.
func viewStoreRows(h Harness, tr traits) []suitetest.Row {
	store := skipUnless(tr.store, noStore)
	linear := store
	if linear == "" {
		linear = skipUnless(tr.Linearizable, notLinearizable)
	}
	return []suitetest.Row{
		{Promise: "a swap is stored as the next revision and reported to all", Skip: store, Check: func(t testing.TB) { swapStores(t, h) }},
		{Promise: "a swap that leaves ownership alone keeps the epoch", Skip: store, Check: func(t testing.TB) { swapKeepsEpoch(t, h) }},
		{Promise: "a swap that changes ownership makes the next epoch", Skip: store, Check: func(t testing.TB) { swapEvicts(t, h) }},
		{Promise: "an evicted member is refused from then on, and so is its ID", Skip: store, Check: func(t testing.TB) { evictedIsOut(t, h) }},
		{Promise: "an invalid record is refused", Skip: store, Check: func(t testing.TB) { swapInvalid(t, h) }},
		{Promise: "a swap against an older record gives ErrConflict and the present view", Skip: linear, Check: func(t testing.TB) { swapConflicts(t, h) }},
		{Promise: "of concurrent swaps none is lost", Skip: linear, Check: func(t testing.TB) { swapsAtOnce(t, h) }},
	}
}

// swap changes the record that m saw last, once.
func (m *member) swap(change func(*core.ViewRecord)) (before, after *core.View) {
	m.w.t.Helper()
	s, ok := m.provider.(core.ViewStore)
	if !ok {
		m.w.t.Fatalf("%s is no ViewStore", m.id)
	}
	ctx := suitetest.WithTimeout(m.w.t, m.w.h.Settle)
	before = m.last()
	for {
		next := before.Record()
		change(&next)
		after, err := s.SwapView(ctx, before, next)
		switch {
		case err == nil && after == nil:
			m.w.t.Fatalf("SwapView by %s returned neither a view nor an error", m.id)
		case err == nil:
			return before, after
		case !errors.Is(err, core.ErrConflict) || after == nil || after.Compare(before) == core.Same:
			m.w.t.Fatalf("SwapView by %s: %v, with the view %s", m.id, err, describe(after))
		}
		before = after
	}
}

func suspect(suspect, voter *member) func(*core.ViewRecord) {
	return func(r *core.ViewRecord) {
		r.Suspicions = append(r.Suspicions, core.Suspicion{Suspect: suspect.id, Voter: voter.id, Epoch: r.Epoch})
	}
}

func evict(id core.MemberID) func(*core.ViewRecord) {
	return func(r *core.ViewRecord) {
		r.Members = slices.DeleteFunc(r.Members, func(m core.Member) bool { return m.ID == id })
		r.Departed = append(r.Departed, core.Departure{ID: id, Guard: 3 * time.Second})
	}
}

func swapStores(t testing.TB, h Harness) {
	w := newWorld(t, h)
	ms := w.cluster(h.Members)
	extra := []byte(`{"later":1}`)
	before, after := ms[0].swap(func(r *core.ViewRecord) {
		suspect(ms[1], ms[0])(r)
		r.Extra = bytes.Clone(extra)
	})
	a, b := before.Record(), after.Record()
	if b.Revision != a.Revision+1 || b.WriteID == a.WriteID || b.WriteID == "" || b.Lineage != a.Lineage {
		t.Errorf("revision %d, write %q, lineage %q after revision %d, write %q, lineage %q",
			b.Revision, b.WriteID, b.Lineage, a.Revision, a.WriteID, a.Lineage)
	}
	if after.Compare(before) != core.Newer {
		t.Errorf("the stored view is %v to the one before, want newer", after.Compare(before))
	}
	for _, m := range ms {
		v := m.await(h.Settle, "the swap", func(v *core.View) bool { return v.Record().Revision >= b.Revision })
		if r := v.Record(); len(r.Suspicions) != 1 || !bytes.Equal(r.Extra, extra) {
			t.Errorf("%s was told suspicions %+v and extra %q", m.id, r.Suspicions, r.Extra)
		}
	}
}

func swapKeepsEpoch(t testing.TB, h Harness) {
	w := newWorld(t, h)
	ms := w.cluster(h.Members)
	before, after := ms[0].swap(suspect(ms[1], ms[0]))
	if after.Epoch() != before.Epoch() || after.Hash() != before.Hash() {
		t.Errorf("a vote led from epoch %d to %d", before.Epoch(), after.Epoch())
	}
	if r := after.Record(); len(r.Suspicions) != 1 {
		t.Errorf("the vote is not stored: %+v", r.Suspicions)
	}
}

func swapEvicts(t testing.TB, h Harness) {
	w := newWorld(t, h)
	ms := w.cluster(h.Members)
	gone := ms[1]
	before, after := ms[0].swap(evict(gone.id))
	if after.Epoch() != before.Epoch()+1 || after.Hash() == before.Hash() {
		t.Errorf("an eviction led from epoch %d to %d", before.Epoch(), after.Epoch())
	}
	changes := slices.Collect(after.Changes())
	if n := len(changes); n == 0 || changes[n-1].ID != gone.id || changes[n-1].Status != 0 || changes[n-1].Epoch != after.Epoch() {
		t.Errorf("the changes end without the removal: %+v", changes)
	}
	departed := slices.Collect(after.Departed())
	if n := len(departed); n == 0 || departed[n-1] != (core.Departure{ID: gone.id, Epoch: after.Epoch(), Guard: 3 * time.Second}) {
		t.Errorf("the departures end as %+v, want that of %s at epoch %d with its guard", departed, gone.id, after.Epoch())
	}
	w.settle(slices.Delete(slices.Clone(ms), 1, 2)...)
}

func evictedIsOut(t testing.TB, h Harness) {
	w := newWorld(t, h)
	ms := w.cluster(h.Members)
	gone := ms[1]
	gone.stopRenew()
	gone.renewals.Wait()
	ms[0].swap(evict(gone.id))
	ctx := suitetest.WithTimeout(t, h.Settle)
	for range 2 { // it is final
		if err := gone.provider.Update(ctx, gone.self); !errors.Is(err, core.ErrEvicted) {
			t.Errorf("update by the evicted: %v, want ErrEvicted", err)
		}
	}
	gone.await(h.Settle, "a view without itself", func(v *core.View) bool {
		_, listed := v.Member(gone.id)
		return !listed
	})
	again := w.member()
	again.self.ID = gone.id
	if err := again.provider.Join(ctx, again.env, again.self, again.report); !errors.Is(err, core.ErrConflict) {
		t.Errorf("join with an evicted ID: %v, want ErrConflict", err)
	}
	w.settle(slices.Delete(slices.Clone(ms), 1, 2)...)
}

func swapInvalid(t testing.TB, h Harness) {
	w := newWorld(t, h)
	ms := w.cluster(h.Members)
	s, ok := ms[0].provider.(core.ViewStore)
	if !ok {
		t.Fatalf("%s is no ViewStore", ms[0].id)
	}
	next := ms[0].last().Record()
	next.Members[0].Address = ""
	if _, err := s.SwapView(suitetest.WithTimeout(t, h.Settle), ms[0].last(), next); !errors.Is(err, core.ErrInvalid) {
		t.Errorf("a member without an address: %v, want ErrInvalid", err)
	}
	w.settle(ms...)
}

func swapConflicts(t testing.TB, h Harness) {
	w := newWorld(t, h)
	ms := w.cluster(h.Members)
	s, ok := ms[0].provider.(core.ViewStore)
	if !ok {
		t.Fatalf("%s is no ViewStore", ms[0].id)
	}
	before, after := ms[1].swap(suspect(ms[2], ms[1]))
	next := before.Record()
	evict(ms[2].id)(&next)
	present, err := s.SwapView(suitetest.WithTimeout(t, h.Settle), before, next)
	if !errors.Is(err, core.ErrConflict) {
		t.Fatalf("a swap against an older record: %v, want ErrConflict", err)
	}
	if present == nil || present.Compare(after) != core.Same {
		t.Errorf("with the conflict came %s, want the present view %s", describe(present), describe(after))
	}
	w.settle(ms...)
}

func swapsAtOnce(t testing.TB, h Harness) {
	const each = 5
	w := newWorld(t, h)
	ms := w.cluster(h.Members)
	start := ms[0].last().Record()
	var swapping sync.WaitGroup
	var mu sync.Mutex
	revisions := map[uint64]string{}
	for i, m := range ms {
		s, ok := m.provider.(core.ViewStore)
		if !ok {
			t.Fatalf("%s is no ViewStore", m.id)
		}
		swapping.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), h.Settle)
			defer cancel()
			at := ms[0].last()
			for n := 0; n < each; {
				next := at.Record()
				suspect(m, ms[(i+1)%len(ms)])(&next)
				after, err := s.SwapView(ctx, at, next)
				if after == nil || err != nil && !errors.Is(err, core.ErrConflict) {
					t.Errorf("SwapView: %v", err)
					return
				}
				at = after
				if err != nil {
					continue
				}
				n++
				r := after.Record()
				mu.Lock()
				if other, twice := revisions[r.Revision]; twice {
					t.Errorf("revision %d was stored twice, as writes %q and %q", r.Revision, other, r.WriteID)
				}
				revisions[r.Revision] = r.WriteID
				mu.Unlock()
			}
		})
	}
	swapping.Wait()
	want := each * len(ms)
	v := ms[0].await(h.Settle, "all swaps", func(v *core.View) bool { return v.Record().Revision >= start.Revision+uint64(want) })
	if r := v.Record(); len(r.Suspicions) != want || r.Revision != start.Revision+uint64(want) {
		t.Errorf("%d votes at revision %d, want %d at %d", len(r.Suspicions), r.Revision, want, start.Revision+uint64(want))
	}
}
