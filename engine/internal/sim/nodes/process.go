package nodes

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/sim"
	"github.com/granary-go/granary/engine/cluster"
	"github.com/granary-go/granary/engine/grain"
	"github.com/granary-go/granary/lookups/disthash"
)

// process is one node on a machine. What changes is guarded by the world's lock.
type process struct {
	w      *world
	m      *machine
	name   string // machine and number of the start
	id     core.MemberID
	rng    *rand.Rand
	number int // of the node in the cluster, -1 until it is made
	node   *cluster.Node
	lookup core.Lookup
	router core.Router

	up        bool // Start has succeeded
	leaving   bool
	dead      bool // killed, or stopped
	deadAt    time.Duration
	evicted   bool
	evictedAt time.Duration
	gone      chan struct{} // closed when it is dead or leaves
	paused    int
	view      *core.View // installed last
	shaping   *core.View // handed to the lookup last
	owners    []core.MemberID
	installs  int // while things went wrong
	ended     int // activations
	retried   int // calls, for whatever reason
	born      map[core.Identity]uint64
	running   map[core.Identity]int
	blocked   map[core.MemberID]time.Duration // since when
}

// boot starts a process on m, which has none.
func (w *world) boot(m *machine) {
	w.making.Lock()
	defer w.making.Unlock()
	w.mu.Lock()
	if w.closing || m.cur != nil {
		w.mu.Unlock()
		return
	}
	m.boots++
	m.due = false
	p := &process{
		w: w, m: m, name: fmt.Sprintf("n%d.%d", m.index, m.boots), number: -1, gone: make(chan struct{}),
		born: map[core.Identity]uint64{}, running: map[core.Identity]int{}, blocked: map[core.MemberID]time.Duration{},
	}
	p.rng = w.rand(p.name)
	p.id = core.MemberID(fmt.Sprintf("%04x-%s", p.rng.IntN(1<<16), p.name))
	m.cur = p
	w.procs = append(w.procs, p)
	w.booting = p
	w.mu.Unlock()

	p.event("boots", "")
	node := w.cluster.New() // calls equip
	w.mu.Lock()
	p.node, p.number = node, w.cluster.Len()-1
	w.mu.Unlock()
	w.tellClock(p)
	w.connect(p)
	if f := w.plant.booted; f != nil {
		f(p)
	}
	node.Subscribe(p.hear)
	w.tasks.Go(p.start)
}

// equip is the configuration of the node that is being made.
func (w *world) equip(_ int, cfg *cluster.Config, parts *cluster.Components) {
	p := w.booting
	lookup, err := disthash.New(disthash.Config{HandoverTimeout: handover})
	if err != nil {
		panic(err) // the configuration is right
	}
	p.lookup, p.router = watched{lookup, p}, lookup
	if f := w.plant.lookup; f != nil {
		p.lookup = f(p, watched{lookup, p})
		p.router = p.lookup.(core.Router)
	}
	cfg.Address = fmt.Sprintf("127.0.0.1:%d", 7000+p.m.index)
	cfg.CallTimeout = callLimit
	cfg.StopTimeout = stopLimit
	cfg.ProbeInterval = 500*time.Millisecond + p.phase(10*time.Millisecond)
	cfg.Gossip.Interval = 200*time.Millisecond + p.phase(5*time.Millisecond)
	cfg.Limits.QueueMessages, cfg.Limits.QueueBytes = queueMessages, queueBytes
	cfg.Seams.Seed = p.rng.Uint64() | 1
	cfg.Seams.NewMemberID = func() core.MemberID { return p.id }
	cfg.Seams.Step = p.step
	if f := w.plant.config; f != nil {
		f(cfg)
	}
	parts.Lookup = p.lookup
	parts.Kinds = grain.Kinds{p.cartKind()}
	parts.Telemetry.Observer = grain.Observer{Topology: p.installed, Deactivated: p.deactivated, Retried: p.again}
}

// watched is the lookup of a process, which notes by which view it judges.
type watched struct {
	*disthash.Lookup
	p *process
}

// Reshape notes the view before the lookup has it.
func (l watched) Reshape(t core.Topology) error {
	l.p.w.mu.Lock()
	l.p.shaping = t.View
	l.p.w.mu.Unlock()
	return l.Lookup.Reshape(t)
}

// phase is a random part of d, so that tickers of several nodes do not meet.
func (p *process) phase(d time.Duration) time.Duration {
	return 1 + time.Duration(p.rng.Int64N(int64(d)))
}

// event is one line of the trace, unless the process is dead: what is left of it in this program is not
// part of the run.
func (p *process) event(what, about string, numbers ...uint64) {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	p.eventLocked(what, about, numbers...)
}

func (p *process) eventLocked(what, about string, numbers ...uint64) {
	if !p.dead {
		p.w.eventLocked(p.name, what, about, numbers...)
	}
}

// start brings the node up, and what calls from it. If it does not come up, another one is tried.
func (p *process) start() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*length)
	err := p.node.Start(ctx)
	cancel()
	w := p.w
	w.mu.Lock()
	dead := p.dead || p.leaving || p.evicted
	p.up = err == nil && !dead
	w.mu.Unlock()
	switch {
	case dead:
	case err != nil:
		p.event("does not start", "")
		w.bury(p)
		w.bootLater(p.m, time.Second+p.phase(time.Millisecond))
	default:
		p.event("is up", "")
		w.call(p)
	}
}

// hear notes what the node tells of members and of itself.
func (p *process) hear(e cluster.Event) {
	switch e := e.(type) {
	case cluster.MemberUnavailable:
		p.w.edge("member.suspected")
		p.event("suspects", string(e.Member.ID))
	case cluster.MemberBlocked:
		p.w.mu.Lock()
		p.blocked[e.Member.ID] = p.w.now()
		p.w.mu.Unlock()
	case cluster.SelfEvicted:
		p.evict()
	}
}

// step is told of each step of a start and of a stop. When nothing has gone wrong for C, nobody who stays holds a
// member for one to call when it begins to drain: that is L8.
func (p *process) step(name string) {
	w := p.w
	if name != "stop.drain" || !w.calm() || !p.leavesInOrder() {
		return
	}
	for _, o := range w.live() {
		v := o.node.View()
		if o == p || v == nil {
			continue
		}
		m, listed := v.Member(p.id)
		w.check("L8", !listed || m.Status == core.Leaving, func() string {
			return fmt.Sprintf("%s begins to drain, and %s does not know that it leaves", p.name, o.name)
		})
	}
}

// leavesInOrder tells whether it leaves, and was neither killed nor removed.
func (p *process) leavesInOrder() bool {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	return p.leaving && !p.dead && !p.evicted
}

// calm tells whether nothing has gone wrong for C.
func (w *world) calm() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.healed > 0 && w.now() >= w.healed+converge
}

// evict ends a process that has lost its row for good, and starts another one.
func (p *process) evict() {
	w := p.w
	w.mu.Lock()
	if p.dead || p.leaving {
		w.mu.Unlock()
		return
	}
	p.evicted, p.leaving, p.evictedAt = true, true, w.now()
	close(p.gone)
	w.out.Edges["nodes.member.evicted"]++
	p.eventLocked("evicted", "")
	w.mu.Unlock()
	w.after(p.phase(time.Millisecond), func() {
		w.stop(p, "")
		w.bootLater(p.m, time.Second)
	})
}

// kill ends a process at once. What is left of it in this program stops by itself, unheard.
func (w *world) kill(p *process) {
	w.mu.Lock()
	if p.dead || p.number < 0 {
		w.mu.Unlock()
		return
	}
	left := p.leaving
	p.eventLocked("dies", "")
	w.markDead(p)
	w.mu.Unlock()
	w.cluster.Kill(p.number)
	w.cluster.Resume(p.number) // what is left of it cannot stop with a clock that stands
	if !left {
		w.tasks.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), stopLimit)
			defer cancel()
			_ = p.node.Stop(ctx) // nobody hears of it any more
		})
	}
}

// markDead is under the lock.
func (w *world) markDead(p *process) {
	if !p.dead {
		p.dead, p.deadAt = true, w.now()
	}
	if !p.leaving {
		p.leaving = true
		close(p.gone)
	}
	if p.m.cur == p {
		p.m.cur = nil
	}
}

func (w *world) bury(p *process) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.markDead(p)
}

// leave ends a process in order.
func (w *world) leave(p *process, invariant string) {
	w.mu.Lock()
	if p.leaving || p.dead {
		w.mu.Unlock()
		return
	}
	p.leaving = true
	close(p.gone)
	p.eventLocked("leaves", "")
	w.mu.Unlock()
	w.stop(p, invariant)
}

// stop is the end of a node that is not killed, by itself or by others. A second one returns too. With an
// invariant, no error may come of it.
func (w *world) stop(p *process, invariant string) {
	began := w.now()
	err := p.node.Stop(context.Background())
	took := w.now() - began
	second := p.node.Stop(context.Background())
	w.mu.Lock()
	killed := p.dead
	if !w.closing { // how long the last ends take, all at once, no seed can say
		p.eventLocked("stopped", "")
	}
	w.markDead(p)
	w.mu.Unlock()
	w.check("L6", took <= stopLimit+late && (second == nil) == (err == nil), func() string {
		return fmt.Sprintf("the stop of %s took %v, and then: %v, %v", p.name, took, err, second)
	})
	if invariant != "" && !killed {
		w.check(invariant, err == nil || errors.Is(err, core.ErrStopped), func() string {
			return fmt.Sprintf("the stop of %s, when nothing was wrong: %v", p.name, err)
		})
	}
}

// bootLater starts a process on a machine, after a while and when there is none.
func (w *world) bootLater(m *machine, d time.Duration) {
	w.mu.Lock()
	due := m.due || w.closing
	m.due = true
	w.mu.Unlock()
	if due {
		return
	}
	w.after(d, func() {
		w.mu.Lock()
		m.due = false
		free := m.cur == nil
		w.mu.Unlock()
		if free {
			w.boot(m)
		} else {
			w.bootLater(m, 100*time.Millisecond+77)
		}
	})
}

// free tells whether nobody runs on m nor is to.
func (w *world) free(m *machine) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return m.cur == nil && !m.due
}

// providerDelay is how far from the provider the i-th node is.
func (w *world) providerDelay(i int) time.Duration {
	rng := sim.Rand(w.schedule.Seed, fmt.Sprint("nodes.provider.", i))
	return 200*time.Microsecond + time.Duration(rng.Int64N(int64(3*time.Millisecond)))
}
