package strategytest

import (
	"math"
	"sync"
	"testing"

	"github.com/granary-go/granary/core"
)

// loads are what the members of a check run.
type loads struct {
	mu sync.Mutex
	of map[core.MemberID]int64
}

// Load is not known of whoever is not in the table.
func (l *loads) Load(m core.MemberID, _ string) (activations int64, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	activations, ok = l.of[m]
	return activations, ok
}

func (l *loads) add(m core.MemberID, n int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.of[m] += n
}

func offersLoads(h Harness) bool {
	_, ok := h.New().(core.LoadStrategy)
	return ok
}

// under binds a new strategy to ls, as the engine does.
func under(t testing.TB, h Harness, ls core.Loads) core.Strategy {
	t.Helper()
	s, ok := h.New().(core.LoadStrategy)
	if !ok {
		t.Fatal("it is no core.LoadStrategy")
	}
	return s.Under(ls)
}

// restless are loads that are another with every look.
type restless struct{ loads }

func (r *restless) Load(m core.MemberID, kind string) (int64, bool) {
	r.add(m, 1)
	return r.loads.Load(m, kind)
}

func underAnyLoads(t testing.TB, h Harness) {
	from := candidates(5)
	for _, of := range [][]int64{
		nil, {0, 0, 0, 0, 0}, {0}, {math.MaxInt64, math.MaxInt64, math.MaxInt64, math.MaxInt64, math.MaxInt64},
		{-1, math.MinInt64, 0, 1, math.MaxInt64}, {7, 7, 7},
	} {
		ls := &loads{of: map[core.MemberID]int64{"stranger": -9}}
		for i, n := range of {
			ls.add(from[i].ID, n)
		}
		s := under(t, h, ls)
		for i := range 100 {
			pick(t, s, identity(i), from)
		}
		if m, ok := s.Pick(identity(1), nil); ok {
			t.Errorf("picked %q out of nobody", m.ID)
		}
	}
	s := under(t, h, &restless{loads{of: map[core.MemberID]int64{}}})
	for i := range 100 {
		pick(t, s, identity(i), from)
	}
}

func balances(t testing.TB, h Harness) {
	from := candidates(5)
	ls := &loads{of: map[core.MemberID]int64{}}
	s := under(t, h, ls)
	for i := range identities {
		some := from
		if i < identities/2 {
			some = from[:4]
		}
		ls.add(pick(t, s, identity(i), some), 1)
	}
	want := float64(identities) / float64(len(from))
	for _, m := range from {
		if n, _ := ls.Load(m.ID, ""); math.Abs(float64(n)-want)/want > h.Balanced {
			t.Errorf("%q has %d activations, want %.0f", m.ID, n, want)
		}
	}
}
