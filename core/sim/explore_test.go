package sim_test

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/granary-go/granary/core/sim"
)

func plan() sim.Plan {
	return sim.Plan{
		Kinds: sim.Alphabet(), Focus: []sim.Kind{sim.Cut}, FocusShare: 100, LeastNodes: 3, Nodes: 6, LeastFaults: 4, Most: 16,
		Length: 30 * time.Second, LongestFault: 8 * time.Second, BackendShare: 250, Half: 500,
	}
}

func TestSchedules(t *testing.T) {
	seen := map[sim.Kind]int{}
	for seed := range uint64(2000) {
		s, again := sim.NewSchedule(seed, plan()), sim.NewSchedule(seed, plan())
		if s.String() != again.String() || s.Nodes < 3 || s.Nodes > 6 || s.Start < 1 || s.Start > s.Nodes {
			t.Fatalf("seed %d: %v, then %v", seed, s, again)
		}
		kinds := map[sim.Kind]bool{}
		for i, f := range s.Faults {
			if i > 0 && f.At < s.Faults[i-1].At || f.At+f.For > s.Length || f.A == f.B || f.A >= s.Nodes || f.B >= s.Nodes {
				t.Fatalf("seed %d: %v", seed, f)
			}
			kinds[f.Kind] = true
			seen[f.Kind]++
		}
		if len(kinds) > 15 {
			t.Errorf("seed %d has %d kinds", seed, len(kinds))
		}
	}
	for _, k := range sim.Alphabet() {
		if seen[k] < 100 {
			t.Errorf("%s comes %d times", k, seen[k])
		}
	}
}

func TestOnly(t *testing.T) {
	s := sim.NewSchedule(17, plan())
	part := s.Only([]int{0, 2, 99})
	if len(part.Faults) != 2 || part.Faults[1] != s.Faults[2] || len(part.Only([]int{1}).Faults) != 1 {
		t.Errorf("%v of %v", part, s)
	}
	if none := s.Only(nil); none.String() != "no faults" || none.Keep == nil {
		t.Errorf("%v", none)
	}
}

// kindsOf tells which kinds a schedule has.
func kindsOf(s sim.Schedule) map[sim.Kind]bool {
	out := map[sim.Kind]bool{}
	for _, f := range s.Faults {
		out[f.Kind] = true
	}
	return out
}

func TestShrinkFindsTheShortest(t *testing.T) {
	shrunk := 0
	for seed := range uint64(300) {
		s := sim.NewSchedule(seed, plan())
		fails := func(s sim.Schedule) bool { k := kindsOf(s); return k[sim.Kill] && k[sim.Cut] }
		if !fails(s) {
			continue
		}
		shrunk++
		if got := sim.Shrink(s, 200, fails); len(got.Faults) != 2 || !fails(got) {
			t.Errorf("seed %d: %v", seed, got)
		}
		runs := 0
		sim.Shrink(s, 3, func(s sim.Schedule) bool { runs++; return fails(s) })
		if runs > 3 {
			t.Errorf("%d runs for a budget of 3", runs)
		}
	}
	if shrunk < 20 {
		t.Errorf("only %d schedules to shrink", shrunk)
	}
}

// toy is an engine that fails if a schedule has both a kill and a pause, and whose trace is the schedule.
func toy(noise *atomic.Uint64) sim.Engine {
	return sim.Engine{
		Name: "toy", Plan: plan(), Replay: 10, Checks: []string{"T1", "T2"}, Edges: []string{"calm"},
		Run: func(s sim.Schedule, keep bool) sim.Outcome {
			tr := sim.NewTrace(keep)
			tr.Add(0, "toy", s.String(), "", noise.Load())
			if noise.Load() > 0 {
				noise.Add(1)
			}
			out := sim.Outcome{Checks: sim.Tally{"T1": 1}, Edges: sim.Tally{}, Faults: sim.Tally{}, Trace: tr.Hash(), Lines: tr.Lines()}
			if k := kindsOf(s); k[sim.Kill] && k[sim.Pause] {
				out.Violations = []sim.Violation{{Invariant: "T1", Detail: "both"}}
			}
			return out
		},
	}
}

// A violation of the second run alone counts, and each has a schedule, shrunk or not.
func TestViolationOfTheSecondRunCounts(t *testing.T) {
	e := toy(new(atomic.Uint64))
	e.Replay = 1
	var mu sync.Mutex
	seen := map[uint64]bool{}
	e.Run = func(s sim.Schedule, _ bool) sim.Outcome {
		mu.Lock()
		defer mu.Unlock()
		out := sim.Outcome{}
		if seen[s.Seed] {
			out.Violations = []sim.Violation{{Invariant: "T2", Detail: "again"}}
		}
		seen[s.Seed] = true
		return out
	}
	f := sim.Explore(t.Context(), e, sim.Exploration{From: 1, Seeds: 6})
	if len(f.Violations) != 6 || f.ReplayMismatches != 0 {
		t.Fatalf("%d violations, %d mismatches", len(f.Violations), f.ReplayMismatches)
	}
	for _, v := range f.Violations[3:] {
		if want := sim.NewSchedule(v.Seed, e.Plan).String(); v.Schedule != want {
			t.Errorf("seed %d: schedule %q, want %q", v.Seed, v.Schedule, want)
		}
	}
}

func TestExplore(t *testing.T) {
	var noise atomic.Uint64
	one := sim.Explore(t.Context(), toy(&noise), sim.Exploration{From: 100, Seeds: 200, Workers: 1})
	four := sim.Explore(t.Context(), toy(&noise), sim.Exploration{From: 100, Seeds: 200, Workers: 4})
	if fmt.Sprint(one) != fmt.Sprint(four) {
		t.Errorf("the findings depend on the number of workers:\n%v\n%v", one, four)
	}
	if one.Runs != 200 || one.Replayed != 20 || one.ReplayMismatches != 0 || one.Checks["T1"] != 200 || one.Checks["T2"] != 0 {
		t.Errorf("%+v", one)
	}
	if len(one.Violations) == 0 {
		t.Fatal("nothing was found")
	}
	first := one.Violations[0]
	if len(first.Keep) != 2 || !first.Replayed || first.Seed < 100 || first.Engine != "toy" || first.Invariant != "T1" {
		t.Errorf("%+v", first)
	}
	if !slices.IsSortedFunc(one.Violations, func(a, b sim.Violation) int { return int(a.Seed) - int(b.Seed) }) {
		t.Error("not ascending by seed")
	}
}

func TestFindingsAdd(t *testing.T) {
	a := sim.Findings{Runs: 1, Replayed: 1, Checks: sim.Tally{"x": 1}, Mismatched: []uint64{1}}
	b := sim.Findings{Runs: 2, ReplayMismatches: 3, Checks: sim.Tally{"x": 1, "y": 2}, Violations: []sim.Violation{{Seed: 7}}}
	a.Add(b)
	if a.Runs != 3 || a.Replayed != 1 || a.ReplayMismatches != 3 || a.Checks["x"] != 2 || a.Checks["y"] != 2 || len(a.Violations) != 1 || len(a.Mismatched) != 1 {
		t.Errorf("%+v", a)
	}
	if b.Checks["x"] != 1 {
		t.Error("what was added has changed")
	}
}

func TestExploreEndsAtTheFirst(t *testing.T) {
	var noise atomic.Uint64
	f := sim.Explore(t.Context(), toy(&noise), sim.Exploration{Seeds: 5000, Workers: 1, First: true, Raw: true})
	if len(f.Violations) != 1 || f.Runs > 100 || f.Violations[0].Keep != nil {
		t.Errorf("%d runs, %v", f.Runs, f.Violations)
	}
}

func TestExploreFindsChance(t *testing.T) {
	var noise atomic.Uint64
	noise.Store(1)
	f := sim.Explore(t.Context(), toy(&noise), sim.Exploration{Seeds: 40, Workers: 2})
	if f.ReplayMismatches != f.Replayed || f.Replayed == 0 || len(f.Mismatched) != f.Replayed {
		t.Errorf("%d of %d", f.ReplayMismatches, f.Replayed)
	}
}

// target notes what Inject hands on.
type target struct{ begun, ended int }

func (t *target) Begin(f sim.Fault) (func(), bool) {
	if f.Kind == sim.Join {
		return nil, false
	}
	t.begun++
	return func() { t.ended++ }, true
}

// After the last fault everything is whole again.
func TestInjectHeals(t *testing.T) {
	happened := sim.Tally{}
	for seed := range uint64(300) {
		s := sim.NewSchedule(seed, plan())
		c := newCluster(seed%2 == 0)
		c.join("a", "n0")
		var tg target
		sim.Inject(c.h, c.net, c.b, s, &tg, happened)
		c.h.Run(s.Length + time.Second)
		if tg.begun != tg.ended {
			t.Fatalf("seed %d: %d of %d ended", seed, tg.ended, tg.begun)
		}
		for i := range s.Nodes {
			for _, to := range []string{sim.BackendName, sim.Machine((i + 1) % s.Nodes)} {
				l := *c.net.Link(sim.Machine(i), to)
				if l.Cuts != 0 || l.Delay != 0 || l.Jitter != 0 || l.Drop != 0 || l.Duplicate != 0 || l.Reorder != 0 {
					t.Fatalf("seed %d: the link n%d-%s is %+v", seed, i, to, l)
				}
			}
		}
		if !c.has("a", "a") && seed%2 == 1 { // with an order it may have been evicted

			t.Errorf("seed %d: the member is not listed", seed)
		}
	}
	for _, k := range sim.Alphabet() {
		if (happened[string(k)] > 0) == (k == sim.Join) {
			t.Errorf("%s happened %d times", k, happened[string(k)])
		}
	}
}

func ExampleShrink() {
	s := sim.NewSchedule(3, sim.Plan{
		Kinds: []sim.Kind{sim.Kill, sim.Pause}, LeastNodes: 3, Nodes: 3, LeastFaults: 8, Most: 8,
		Length: 30 * time.Second, LongestFault: time.Second,
	})
	fails := func(s sim.Schedule) bool {
		return slices.ContainsFunc(s.Faults, func(f sim.Fault) bool { return f.Kind == sim.Kill })
	}
	fmt.Println(len(s.Faults), "faults,", len(sim.Shrink(s, 100, fails).Faults), "is enough")
	// Output: 8 faults, 1 is enough
}
