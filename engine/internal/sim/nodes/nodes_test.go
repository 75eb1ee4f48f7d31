package nodes

import (
	"slices"
	"testing"
	"time"

	"github.com/granary-go/granary/core/leaktest"
	"github.com/granary-go/granary/core/sim"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// The code as it is keeps its promises on whole nodes, and a seed gives the same trace twice.
func TestNothingIsViolated(t *testing.T) {
	f := sim.Explore(t.Context(), Engine(t), sim.Exploration{From: 1, Seeds: 3, Raw: true})
	if f.Runs != 3 || f.Replayed != 3 || f.ReplayMismatches > 0 {
		t.Errorf("%d runs, %d twice, different: %v", f.Runs, f.Replayed, f.Mismatched)
	}
	for _, v := range f.Violations {
		t.Errorf("seed %d: %s: %s", v.Seed, v.Invariant, v.Detail)
	}
	for _, name := range []string{"S0", "S1", "S2", "S3", "S6", "S7", "S8", "S9", "S10", "L1", "L2", "L3", "L4", "L6", "L7", "L8", "R1", "R4", "R5"} {
		if f.Checks[name] == 0 {
			t.Errorf("%s was never evaluated", name)
		}
	}
}

// A panic of what runs in the bubble is a finding, not the end of the program.
func TestPanicIsAViolation(t *testing.T) {
	e := engine(t, func(w *world) { w.plant.final = func(*world) { panic("boom") } })
	if o := e.Run(sim.NewSchedule(1, e.Plan), false); !has(o, "panic") {
		t.Errorf("%+v", o.Violations)
	}
}

func has(o sim.Outcome, invariant string) bool {
	return slices.ContainsFunc(o.Violations, func(v sim.Violation) bool { return v.Invariant == invariant })
}

// What is traced of the views of one instant is what is installed when the clock moves on.
func TestTraceHasTheLastViewOfAnInstant(t *testing.T) {
	view := func(at time.Duration, who string, epoch uint64) event {
		return event{at, who, viewed, "", []uint64{epoch}}
	}
	other := event{1, "n0.1", "boots", "", nil}
	kept := lastViews([]event{view(1, "n0.1", 1), other, view(1, "n1.1", 1), view(1, "n0.1", 2), view(2, "n0.1", 3)})
	want := []event{other, view(1, "n1.1", 1), view(1, "n0.1", 2), view(2, "n0.1", 3)}
	if !slices.EqualFunc(kept, want, func(a, b event) bool {
		return a.at == b.at && a.who == b.who && a.what == b.what && slices.Equal(a.numbers, b.numbers)
	}) {
		t.Errorf("%v, want %v", kept, want)
	}
}

// What a process does at the instant of its end is not traced, but the end.
func TestTraceLeavesOutTheLastInstant(t *testing.T) {
	at := func(at time.Duration, who, what string) event { return event{at, who, what, "", nil} }
	procs := []*process{{name: "n0.1", dead: true, deadAt: 5}, {name: "n1.1"}}
	kept := untilTheEnd([]event{
		at(4, "n0.1", "call ends"), at(5, "n0.1", "call ends"), at(5, "n0.1", "stopped"), at(5, "n1.1", "call ends"), at(5, "world", "healed"),
	}, procs)
	if len(kept) != 4 || kept[0].at != 4 || kept[1].what != "stopped" || kept[2].who != "n1.1" {
		t.Errorf("%v", kept)
	}
}
