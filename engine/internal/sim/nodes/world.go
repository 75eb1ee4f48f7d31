package nodes

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/memory"
	"github.com/granary-go/granary/core/sim"
	"github.com/granary-go/granary/engine/cluster"
	"github.com/granary-go/granary/engine/clustertest"
	"github.com/granary-go/granary/engine/remote"
)

// world is one run: machines, the processes on them, and what the checks remember.
type world struct {
	schedule sim.Schedule
	cluster  *clustertest.Cluster
	began    time.Time
	ids      []core.Identity
	keep     bool

	making sync.Mutex // one node at a time

	mu       sync.Mutex // guards what follows
	links    map[[2]int]*link
	out      sim.Outcome
	found    map[string]int // violations by invariant
	events   []event
	machines []*machine
	procs    []*process // every process that ever was, in the order of their births
	booting  *process   // whose node is being made
	ledger   ledger
	healed   time.Duration // 0: not yet
	outages  int
	stales   int
	shifts   []shift // of the machines' clocks
	closing  bool    // nobody is started any more

	load  sync.WaitGroup // of callers
	tasks sync.WaitGroup // of everything else that the world has started
	quiet chan struct{}  // closed when the load is to end

	hushed atomic.Bool // the load makes no calls at present

	plant plants
}

// plants are the mistakes that tests put in.
type plants struct {
	config func(cfg *cluster.Config)
	lookup func(p *process, l watched) core.Lookup
	booted func(p *process)
	handle func(ctx context.Context, g *cart, a ask) // within a turn
	verify func(w *world)                            // before the full check
	ended  func(w *world)                            // when all have stopped
	final  func(w *world)
}

// event is one line of the trace. Events of one instant are put in the order of their text: which came
// first is not the seed's to say.
type event struct {
	at               time.Duration
	who, what, about string
	numbers          []uint64
}

// shift is what is wrong with the clocks of a machine.
type shift struct {
	ahead time.Duration // of the wall clock
	rate  float64
}

// machine is where processes run, one at a time.
type machine struct {
	index int
	cur   *process // nil: none
	boots int
	due   bool // somebody will be started here
}

func newWorld(s sim.Schedule, keep bool) *world {
	w := &world{
		schedule: s, keep: keep, quiet: make(chan struct{}), found: map[string]int{},
		out: sim.Outcome{Checks: sim.Tally{}, Edges: sim.Tally{}, Faults: sim.Tally{}},
	}
	w.ledger.init()
	w.links = map[[2]int]*link{}
	for i := range s.Nodes {
		w.machines = append(w.machines, &machine{index: i})
		w.shifts = append(w.shifts, shift{rate: 1})
	}
	w.ids = clustertest.Identities(kind, identities)
	return w
}

// rand is a source of chance for one purpose.
func (w *world) rand(name string) *rand.Rand { return sim.Rand(w.schedule.Seed, "nodes."+name) }

// play runs the whole schedule: faults, healing, the bounds, and the full check. It runs in a bubble.
func (w *world) play(t *testing.T) {
	w.began = time.Now()
	w.quiet = make(chan struct{}) // of the bubble
	w.cluster = clustertest.Start(judged{t}, clustertest.Config{
		Members: -1, Node: w.equip, Hub: memory.Config{TTL: leaseTTL}, Timeout: stopLimit, Log: slog.New(slog.DiscardHandler),
		Network:       remote.MemoryConfig{Seed: w.schedule.Seed},
		ProviderDelay: w.providerDelay,
	})
	starts := w.rand("starts")
	for _, m := range w.machines[:w.schedule.Start] {
		w.after(time.Duration(starts.Int64N(int64(time.Second))), func() { w.boot(m) })
	}
	w.inject()
	w.sleepUntil(length + time.Millisecond) // faults end at length at the latest, and not in one instant with what follows
	w.heal()
	w.sleepUntil(w.healed + converge)
	if f := w.plant.verify; f != nil {
		f(w)
	}
	w.verify()
	w.end()
	if f := w.plant.ended; f != nil {
		f(w)
	}
	w.checkAtEnd()
	if f := w.plant.final; f != nil {
		f(w)
	}
}

// judged is the test of a bubble, in which a stop that fails is a violation, or none, and not the kit's to tell.
type judged struct{ testing.TB }

// Error is what the kit has to say of stops.
func (judged) Error(...any) {}

// now is the virtual time since the beginning.
func (w *world) now() time.Duration { return time.Since(w.began) }

func (w *world) sleepUntil(at time.Duration) { time.Sleep(at - w.now()) }

// after calls f, once, d from now. What it does, the end of the run waits for.
func (w *world) after(d time.Duration, f func()) {
	w.tasks.Add(1)
	time.AfterFunc(d, func() {
		defer w.tasks.Done()
		f()
	})
}

// heal sees to it that enough members are there. All faults have ended by then.
func (w *world) heal() {
	w.mu.Lock()
	w.healed = w.now()
	machines := w.machines[:2]
	w.mu.Unlock()
	w.event("world", "healed", "")
	for _, m := range machines {
		if w.free(m) {
			w.boot(m)
		}
	}
}

// end stops everything that runs.
func (w *world) end() {
	w.mu.Lock()
	w.closing = true
	w.mu.Unlock()
	close(w.quiet)
	w.load.Wait()
	w.tasks.Wait()
	var all sync.WaitGroup
	for i, p := range w.live() {
		all.Go(func() {
			time.Sleep(time.Duration(i) * 17 * time.Millisecond)
			w.leave(p, "L6")
		})
	}
	all.Wait()
}

// live lists the processes that run and mean to stay, in the order of their machines.
func (w *world) live() (out []*process) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range w.machines {
		if m.cur != nil && !m.cur.leaving && !m.cur.dead {
			out = append(out, m.cur)
		}
	}
	return out
}

// viewed is the event of a view that was installed.
const viewed = "view"

func (w *world) event(who, what, about string, numbers ...uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.eventLocked(who, what, about, numbers...)
}

func (w *world) eventLocked(who, what, about string, numbers ...uint64) {
	w.events = append(w.events, event{w.now(), who, what, about, numbers})
}

func (w *world) edge(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.out.Edges["nodes."+name]++
}

// told is how many violations of one invariant are told of one run.
const told = 3

// check counts that an invariant was looked at, and notes it if it does not hold.
func (w *world) check(invariant string, holds bool, detail func() string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.checkLocked(invariant, holds, detail)
}

func (w *world) checkLocked(invariant string, holds bool, detail func() string) {
	w.out.Checks[invariant]++
	if holds || w.found[invariant] >= told {
		return
	}
	w.found[invariant]++
	at := 0.0
	if len(w.events) > 0 {
		at = w.events[len(w.events)-1].at.Seconds()
	}
	w.out.Violations = append(w.out.Violations, sim.Violation{Invariant: invariant, Detail: fmt.Sprintf("at about %.3fs: %s", at, detail())})
}

// finish makes the trace.
func (w *world) finish() sim.Outcome {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = untilTheEnd(lastViews(w.events), w.procs)
	slices.SortStableFunc(w.events, func(a, b event) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.who, b.who), cmp.Compare(a.what, b.what), cmp.Compare(a.about, b.about), slices.Compare(a.numbers, b.numbers))
	})
	trace := sim.NewTrace(w.keep)
	for _, e := range w.events {
		trace.Add(e.at, e.who, e.what, e.about, e.numbers...)
	}
	w.out.Trace, w.out.Lines = trace.Hash(), trace.Lines()
	return w.out
}

// untilTheEnd leaves out what a process does at the instant of its end, but for the end: whether a call or a turn
// that is over then was still heard of, no seed can say.
func untilTheEnd(events []event, procs []*process) []event {
	ends := map[string]time.Duration{}
	for _, p := range procs {
		if p.dead {
			ends[p.name] = p.deadAt
		}
	}
	return slices.DeleteFunc(events, func(e event) bool {
		end, over := ends[e.who]
		return over && e.at == end && !slices.Contains(lastWords, e.what)
	})
}

// lastWords are the events that are the end of a process.
var lastWords = []string{"dies", "stopped", "does not start"}

// lastViews leaves of the views that one process installs at one instant the last, which it has when the clock
// moves on: of two reports at one instant it may take up both or the later only, which no seed can say.
func lastViews(events []event) []event {
	type place struct {
		at  time.Duration
		who string
	}
	last := map[place]int{}
	for i, e := range events {
		if e.what == viewed {
			last[place{e.at, e.who}] = i
		}
	}
	kept := events[:0:0]
	for i, e := range events {
		if e.what != viewed || last[place{e.at, e.who}] == i {
			kept = append(kept, e)
		}
	}
	return kept
}
