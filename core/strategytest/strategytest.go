// Package strategytest is the conformance suite of core.Strategy.
//
//	func TestConformance(t *testing.T) {
//		strategytest.Run(t, strategytest.Harness{New: func() core.Strategy { return mystrategy{} }, Pure: true})
//	}
package strategytest

import (
	"fmt"
	"math"
	"slices"
	"sync"
	"testing"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/internal/suitetest"
)

// Harness says how to make the strategy, and what it promises. Only New is needed.
type Harness struct {
	New func() core.Strategy // one for each check

	// Pure promises that the pick depends on the identity and the candidates alone, so that members
	// agree without asking. False for round robin.
	Pure bool

	// Spread promises that of 10,000 identities each of five equal candidates gets its fifth, give or
	// take this share of it: 0.1 is 10 %. 0: not promised.
	Spread float64

	// Stable promises that an identity moves only if its candidate left, or to one that came.
	Stable bool

	// Balanced promises, of a core.LoadStrategy, that 10,000 identities placed one after the other on
	// five candidates, each known to run what it got so far, end with each having its fifth, give or
	// take this share of it, also if one of them came last. 0: not promised.
	Balanced float64
}

// identities is how many are placed to see a spread.
const identities = 10_000

// Run checks the strategy of h, each promise in a subtest, and prints which promises it checked and
// which it skipped.
func Run(t *testing.T, h Harness) {
	t.Helper()
	suitetest.Run(t, false, rows(h))
}

// Broken checks the strategy of h like Run, but returns the promises that were found broken, in the order
// of the suite, instead of failing t: for tests that show that a fault is found.
func Broken(t *testing.T, h Harness) []string {
	t.Helper()
	return suitetest.Broken(t, false, rows(h))
}

func rows(h Harness) []suitetest.Row {
	return []suitetest.Row{
		{Promise: "picks a candidate, if there is one", Check: func(t testing.TB) { picksCandidate(t, h) }},
		{Promise: "picks nobody out of nobody", Check: func(t testing.TB) { picksNobody(t, h) }},
		{Promise: "leaves the candidates as they are", Check: func(t testing.TB) { leavesCandidates(t, h) }},
		{Promise: "serves simultaneous callers", Check: func(t testing.TB) { concurrent(t, h) }},
		{Promise: "pure: the same question has the same answer", Skip: unless(h.Pure), Check: func(t testing.TB) { pure(t, h) }},
		{Promise: "spreads identities over the candidates", Skip: unless(h.Spread > 0), Check: func(t testing.TB) { spreads(t, h) }},
		{Promise: "picks a candidate under any loads", Skip: unlessOf(offersLoads(h), "it heeds no loads"), Check: func(t testing.TB) { underAnyLoads(t, h) }},
		{Promise: "balances what the candidates run", Skip: unless(h.Balanced > 0), Check: func(t testing.TB) { balances(t, h) }},
		{Promise: "moves only what it must", Skip: unless(h.Stable), Check: func(t testing.TB) { stable(t, h) }},
	}
}

func unless(promised bool) string { return unlessOf(promised, "not promised") }

func unlessOf(ok bool, why string) string {
	if ok {
		return ""
	}
	return why
}

// candidates are n members in ascending order of ID.
func candidates(n int) []core.Member {
	out := make([]core.Member, n)
	for i := range out {
		out[i] = core.Member{
			ID: core.MemberID(fmt.Sprintf("018f3c1e-%04d", 17*i)), Address: fmt.Sprintf("10.0.0.%d:7000", i+1),
			Kinds: []string{"Cart"}, Status: core.Up,
		}
	}
	return out
}

func identity(i int) core.Identity { return core.Identity{Kind: "Cart", Key: fmt.Sprint(i)} }

// pick complains unless the pick is one of the candidates.
func pick(t testing.TB, s core.Strategy, id core.Identity, from []core.Member) core.MemberID {
	t.Helper()
	m, ok := s.Pick(id, from)
	if !ok || !slices.ContainsFunc(from, func(c core.Member) bool { return c.ID == m.ID && c.Address == m.Address }) {
		t.Errorf("of %d candidates, %s goes to %q (%v), which is none of them", len(from), id, m.ID, ok)
	}
	return m.ID
}

func picksCandidate(t testing.TB, h Harness) {
	for _, n := range []int{1, 2, 5, 50} {
		s := h.New()
		for i := range 100 {
			pick(t, s, identity(i), candidates(n))
		}
	}
}

func picksNobody(t testing.TB, h Harness) {
	for _, none := range [][]core.Member{nil, {}} {
		if m, ok := h.New().Pick(identity(1), none); ok {
			t.Errorf("picked %q out of nobody", m.ID)
		}
	}
}

func leavesCandidates(t testing.TB, h Harness) {
	s, from := h.New(), candidates(10)
	for i := range 100 {
		_, _ = s.Pick(identity(i), from)
	}
	for i, want := range candidates(10) {
		if got := from[i]; got.ID != want.ID || got.Address != want.Address || got.Status != want.Status || !slices.Equal(got.Kinds, want.Kinds) {
			t.Errorf("candidate %d was changed to %+v", i, got)
		}
	}
}

func concurrent(t testing.TB, h Harness) {
	s, from := h.New(), candidates(5)
	var callers sync.WaitGroup
	for range 8 {
		callers.Go(func() {
			for i := range 500 {
				pick(t, s, identity(i), from)
			}
		})
	}
	callers.Wait()
}

func pure(t testing.TB, h Harness) {
	one, other := h.New(), h.New()
	for i := range 500 {
		want := pick(t, one, identity(i), candidates(5))
		for _, s := range []core.Strategy{one, other} {
			if got := pick(t, s, identity(i), candidates(5)); got != want {
				t.Errorf("%s goes to %q, before to %q", identity(i), got, want)
			}
		}
	}
}

func spreads(t testing.TB, h Harness) {
	s, from := h.New(), candidates(5)
	count := map[core.MemberID]int{}
	for i := range identities {
		count[pick(t, s, identity(i), from)]++
	}
	want := float64(identities) / float64(len(from))
	for _, m := range from {
		if off := math.Abs(float64(count[m.ID])-want) / want; off > h.Spread {
			t.Errorf("%q has %d identities, %.1f %% off %.0f", m.ID, count[m.ID], 100*off, want)
		}
	}
}

func stable(t testing.TB, h Harness) {
	s, five := h.New(), candidates(5)
	four := slices.Delete(slices.Clone(five), 2, 3)
	moved := 0
	for i := range identities {
		with, without := pick(t, s, identity(i), five), pick(t, s, identity(i), four)
		switch {
		case with == without:
		case with == five[2].ID:
			moved++
		default:
			t.Fatalf("%s moved from %q to %q when %q left", identity(i), with, without, five[2].ID)
		}
	}
	if share := float64(moved) / identities; share > 1.0/5+0.03 {
		t.Errorf("%.1f %% moved, want at most 23 %%", 100*share)
	}
}
