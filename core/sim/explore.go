package sim

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// Violation is a promise that did not hold.
type Violation struct {
	Seed      uint64 `json:"seed"`
	Engine    string `json:"engine"`
	Invariant string `json:"invariant"`
	Detail    string `json:"detail"`
	Schedule  string `json:"schedule"` // the shortest that was found; of those that were not shrunk, the whole
	Keep      []int  `json:"keep"`     // places of its faults among those of the seed
	Replayed  bool   `json:"replayed"` // the shortest gave the same trace twice
}

// Outcome is what one run came to.
type Outcome struct {
	Violations []Violation // Invariant and Detail; at most a few
	Checks     Tally       // how often each invariant was looked at where it could fail
	Edges      Tally       // how often each state was reached
	Faults     Tally       // how often each kind happened
	Trace      uint64
	Lines      []string // of the trace, if it was wanted
}

// Engine runs schedules of one kind of world. Its functions are called from several goroutines.
type Engine struct {
	Name   string
	Plan   Plan
	Replay int // every so many seeds one runs twice; 0: none does
	Run    func(s Schedule, keepTrace bool) Outcome
	Checks []string // the invariants that it evaluates
	Edges  []string // the states that it can reach
}

// Exploration is which seeds to run.
type Exploration struct {
	From    uint64
	Seeds   int
	Workers int  // 0: as many as there are processors
	First   bool // end at the first violation
	Raw     bool // do not shrink
}

// Findings are what many runs came to.
type Findings struct {
	Runs             int
	Replayed         int
	ReplayMismatches int
	Faults           Tally
	Edges            Tally
	Checks           Tally
	Violations       []Violation // ascending by seed; one a seed, shrunk
	Mismatched       []uint64    // seeds whose two runs differed
}

// Add adds what another engine found.
func (f *Findings) Add(o Findings) {
	f.Runs += o.Runs
	f.Replayed += o.Replayed
	f.ReplayMismatches += o.ReplayMismatches
	f.Faults, f.Edges, f.Checks = sum(f.Faults, o.Faults), sum(f.Edges, o.Edges), sum(f.Checks, o.Checks)
	f.Violations = slices.Concat(f.Violations, o.Violations)
	f.Mismatched = slices.Concat(f.Mismatched, o.Mismatched)
}

func sum(a, b Tally) Tally {
	out := Tally{}
	out.Add(a)
	out.Add(b)
	return out
}

// shrinkBudget is how many runs may be spent on one failing seed, reported how many are shrunk.
const (
	shrinkBudget = 80
	reported     = 3
)

// Explore runs the schedules of many seeds on several goroutines, and returns when all are through or
// ctx ends. The findings do not depend on how many goroutines there are, unless it ends early.
func Explore(ctx context.Context, e Engine, x Exploration) Findings {
	f := &finder{engine: e, out: Findings{Faults: Tally{}, Edges: zeros(e.Edges), Checks: zeros(e.Checks)}}
	for _, k := range e.Plan.Kinds {
		f.out.Faults[string(k)] = 0
	}
	var next atomic.Int64
	var group sync.WaitGroup
	workers := x.Workers
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	for range workers {
		group.Go(func() {
			for i := next.Add(1) - 1; i < int64(x.Seeds) && ctx.Err() == nil; i = next.Add(1) - 1 {
				if x.First && f.found.Load() {
					return
				}
				f.try(x.From+uint64(i), e.Replay > 0 && i%int64(e.Replay) == 0)
			}
		})
	}
	group.Wait()
	f.finish(!x.Raw)
	return f.out
}

func zeros(names []string) Tally {
	t := Tally{}
	for _, name := range names {
		t[name] = 0
	}
	return t
}

// finder gathers what the runs came to.
type finder struct {
	engine Engine
	found  atomic.Bool

	mu  sync.Mutex
	out Findings
}

func (f *finder) try(seed uint64, twice bool) {
	s := NewSchedule(seed, f.engine.Plan)
	o := f.engine.Run(s, false)
	same := true
	if twice {
		again := f.engine.Run(s, false)
		same = again.Trace == o.Trace
		o.Violations = append(o.Violations, again.Violations...)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.out.Runs++
	f.out.Faults.Add(o.Faults)
	f.out.Edges.Add(o.Edges)
	f.out.Checks.Add(o.Checks)
	if twice {
		f.out.Replayed++
	}
	if !same {
		f.out.ReplayMismatches++
		f.out.Mismatched = append(f.out.Mismatched, seed)
	}
	if len(o.Violations) > 0 {
		f.found.Store(true)
		v := o.Violations[0]
		v.Seed, v.Engine, v.Schedule = seed, f.engine.Name, s.String()
		f.out.Violations = append(f.out.Violations, v)
	}
}

// finish sorts the violations and, if wanted, shrinks the first of them.
func (f *finder) finish(shrink bool) {
	slices.Sort(f.out.Mismatched)
	slices.SortFunc(f.out.Violations, func(a, b Violation) int {
		if a.Seed < b.Seed {
			return -1
		}
		return 1
	})
	for i := range f.out.Violations {
		if i < reported && shrink {
			f.out.Violations[i] = f.engine.Shortest(f.out.Violations[i], 0)
		}
	}
}

// Shortest finds the shortest schedule of a seed that violates the same invariant, and runs it twice.
// It takes at most budget runs besides; 0 means as many as Explore takes.
func (e Engine) Shortest(v Violation, budget int) Violation {
	if budget == 0 {
		budget = shrinkBudget
	}
	whole := NewSchedule(v.Seed, e.Plan)
	fails := func(s Schedule) bool { return e.violates(s, v.Invariant) != "" }
	s := Shrink(whole, budget, fails)
	one, two := e.Run(s, false), e.Run(s, false)
	v.Schedule, v.Keep, v.Replayed = s.String(), s.Keep, one.Trace == two.Trace
	if d := e.violates(s, v.Invariant); d != "" {
		v.Detail = d
	}
	return v
}

// violates is the detail of a violation of one invariant by s; empty: there is none.
func (e Engine) violates(s Schedule, invariant string) string {
	for _, v := range e.Run(s, false).Violations {
		if v.Invariant == invariant {
			return v.Detail
		}
	}
	return ""
}

// Rare lists, sorted, what of a tally was counted fewer than least times.
func (t Tally) Rare(least int) []string {
	rare := []string{}
	for name, n := range t {
		if n < least {
			rare = append(rare, name)
		}
	}
	slices.Sort(rare)
	return rare
}

// Places writes the places of faults as a list, "none" if there are none.
func Places(keep []int) string {
	if len(keep) == 0 {
		return "none"
	}
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(keep), " ", ","), "[]")
}
