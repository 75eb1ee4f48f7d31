package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/sim"
)

// The bounds that the world lives by: the test profile, in which everything is quick.
const (
	length     = 30 * time.Second // of the faults
	leaseTTL   = 2 * time.Second
	grace      = 400 * time.Millisecond // removal
	poll       = 500 * time.Millisecond
	handover   = 2 * time.Second // patience of a new owner
	converge   = 5 * time.Second // C
	formed     = 4 * time.Second // by when the first members are all up, unless something goes wrong
	callLimit  = 2 * time.Second
	probeLimit = 4 * time.Second
	identities = 24
	kind       = "Cart"
	mostEvents = 300_000 // five times what a schedule takes
)

// world is one run: machines, the processes on them, and what the checks remember.
type world struct {
	schedule sim.Schedule
	ordered  bool // the provider's views carry an order
	heap     *sim.Heap
	net      *sim.Net
	backend  *sim.Backend
	rng      *rand.Rand
	trace    *sim.Trace
	out      sim.Outcome
	found    map[string]int // violations by invariant
	machines []*machine
	nodes    []*node // every process that ever was
	ids      []core.Identity
	calls    uint64
	spawned  uint64
	ended    uint64 // activations
	healed   time.Duration
	wrap     func(*node) // tests put their mistakes in here
	ledger   ledger
}

// machine is where processes run; at most one of them listens at its address.
type machine struct {
	index   int
	name    string
	address string
	kernel  *sim.Process // answers when no process does
	cur     *node        // listens; nil: nobody does
	boots   int
	due     bool // somebody will be started here
}

func newWorld(s sim.Schedule, keepTrace bool, wrap func(*node)) *world {
	w := &world{
		schedule: s, ordered: s.Seed%2 == 0, heap: &sim.Heap{Limit: mostEvents}, rng: sim.Rand(s.Seed, "world"),
		trace: sim.NewTrace(keepTrace), wrap: wrap, found: map[string]int{},
		out: sim.Outcome{Checks: sim.Tally{}, Edges: sim.Tally{}, Faults: sim.Tally{}},
	}
	w.ledger.init()
	w.net = sim.NewNet(w.heap, sim.Rand(s.Seed, "net"), 200*time.Microsecond, 3*time.Millisecond)
	w.backend = sim.NewBackend(w.heap, w.net, sim.Rand(s.Seed, "backend"),
		sim.BackendConfig{Ordered: w.ordered, TTL: leaseTTL, Grace: grace, Poll: poll})
	for i := range s.Nodes {
		name := sim.Machine(i)
		w.machines = append(w.machines, &machine{
			index: i, name: name, address: name + ":7000", kernel: w.heap.Start(name, 0, 1),
		})
	}
	for i := range identities {
		w.ids = append(w.ids, core.Identity{Kind: kind, Key: fmt.Sprint("k", i)})
	}
	return w
}

// play runs the whole schedule: faults, healing, the bounds, and the full check.
func (w *world) play() {
	for _, m := range w.machines[:w.schedule.Start] {
		w.heap.After(time.Duration(w.rng.Int64N(int64(time.Second))), func() { w.join(m) })
	}
	sim.Inject(w.heap, w.net, w.backend, w.schedule, w, w.out.Faults)
	w.heap.Run(w.schedule.Length)
	w.heal()
	w.heap.Run(w.healed + converge)
	w.checkConverged("L3")
	w.probeAll("L1")
	w.restartOne()
	w.flapOne()
	w.checkAtEnd()
}

// heal sees to it that enough members are there. All faults have ended by then.
func (w *world) heal() {
	w.healed = w.heap.Now()
	w.event("world", "healed", "")
	for _, m := range w.machines[:2] {
		if m.cur == nil && !m.due {
			w.boot(m)
		}
	}
}

// live lists the processes that run and mean to stay.
func (w *world) live() (out []*node) {
	for _, n := range w.nodes {
		if n.proc.Alive() && !n.leaving {
			out = append(out, n)
		}
	}
	return out
}

func (w *world) event(who, what, about string, numbers ...uint64) {
	w.trace.Add(w.heap.Now(), who, what, about, numbers...)
}

func (w *world) edge(name string) { w.out.Edges[name]++ }

// told is how many violations of one invariant are told of one run.
const told = 3

// check counts that an invariant was looked at, and notes it if it does not hold.
func (w *world) check(invariant string, holds bool, detail func() string) {
	w.out.Checks[invariant]++
	if holds {
		return
	}
	w.event("check", "violated", invariant)
	if w.found[invariant]++; w.found[invariant] <= told {
		w.out.Violations = append(w.out.Violations, sim.Violation{
			Invariant: invariant, Detail: fmt.Sprintf("at %.3fs: %s", w.heap.Now().Seconds(), detail()),
		})
	}
}

func (w *world) finish() sim.Outcome {
	w.event("world", "steps", "", uint64(w.heap.Steps()))
	w.out.Trace, w.out.Lines = w.trace.Hash(), w.trace.Lines()
	return w.out
}

// run plays one schedule. A panic of the code under test is a violation too.
func run(s sim.Schedule, keepTrace bool, wrap func(*node)) (out sim.Outcome) {
	w := newWorld(s, keepTrace, wrap)
	defer func() {
		if p := recover(); p != nil {
			w.check("panic", false, func() string { return fmt.Sprint(p) })
		}
		out = w.finish()
	}()
	w.play()
	w.check("livelock", w.heap.Steps() < mostEvents, func() string { return "events without end" })
	return out
}

// kinds is the alphabet of this world, in which a connection that is lost at one end takes nothing with it to the
// other.
func kinds() []sim.Kind {
	return slices.DeleteFunc(sim.Alphabet(), func(k sim.Kind) bool { return k == sim.Stall })
}

// linkKinds are those that nobody but links suffers from.
func linkKinds() []sim.Kind {
	return []sim.Kind{sim.Cut, sim.OneWayCut, sim.Delay, sim.Drop, sim.Duplicate, sim.Reorder}
}

func plan() sim.Plan {
	return sim.Plan{
		Kinds: kinds(), Focus: linkKinds(), FocusShare: 125, LeastNodes: 3, Nodes: 6, LeastFaults: 4, Most: 16, Length: length,
		LongestFault: 8 * time.Second, BackendShare: 250, Half: 500,
	}
}

func engine(wrap func(*node)) sim.Engine {
	return sim.Engine{
		Name: "heap", Plan: plan(), Replay: 20, Checks: slices.Clone(invariants), Edges: slices.Clone(edges),
		Run: func(s sim.Schedule, keepTrace bool) sim.Outcome { return run(s, keepTrace, wrap) },
	}
}
