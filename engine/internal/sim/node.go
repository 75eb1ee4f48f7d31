package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/sim"
	"github.com/granary-go/granary/engine/internal/membership"
	"github.com/granary-go/granary/engine/internal/pidcache"
	"github.com/granary-go/granary/engine/internal/retry"
	"github.com/granary-go/granary/lookups/disthash"
)

// The machines under test, as interfaces so that tests can put mistakes between them and the world.
type (
	reducer interface {
		Step(now time.Time, in membership.Input) membership.Effect
		Next() (time.Time, bool)
		Bans(now time.Time) []membership.Ban
	}
	ownership interface {
		Install(v *core.View, now time.Time)
		Owner(id core.Identity) (core.Member, bool)
		Owns(id core.Identity) bool
		Held(id core.Identity) bool
		Waiting() []core.MemberID
		Settled(now time.Time, ids ...core.MemberID)
		Overdue(now time.Time) []core.MemberID
		Tables() int
	}
	judge func(err error, answered bool, attempt int, p retry.Policy, random func() float64) retry.Verdict
)

// node is one process of the cluster: the shell around the machines under test.
type node struct {
	w    *world
	m    *machine
	id   core.MemberID
	proc *sim.Process
	rng  *rand.Rand
	row  core.Member

	session *sim.Session
	reducer reducer
	own     ownership
	cache   *pidcache.Cache
	judge   judge
	tick    *sim.Timer // of the reducer
	talk    talk       // gossip and detection

	view     *core.View
	past     []uint64 // hashes of the views before, the last one first
	reshapes int
	installs int      // while things went wrong
	parked   []func() // until the next view

	links    map[core.MemberID]*link
	dialled  []*link // every one that ever was
	incoming map[core.MemberID]*conn
	epochs   map[core.MemberID]uint64 // of connections that were let in
	heard    map[core.MemberID]heard
	epoch    uint64 // of connections that were dialled
	blocked  map[core.MemberID]bool

	acts      map[core.Identity]*activation
	questions []func(err error) // for whether this member is settled

	leaving  bool
	drained  bool          // runs nothing and will not
	evicted  time.Duration // against its will; 0: not
	lastHalt time.Duration // when it last went on after a pause
}

// cacheSize is far above what is put in, so that nothing is driven out: which entry would go is chance
// that no seed controls.
const cacheSize = 64 * 256

// boot starts a process on m, which takes over its address.
func (w *world) boot(m *machine) *node {
	m.boots++
	m.due = false
	name := fmt.Sprintf("%s.%d", m.name, m.boots)
	rng := sim.Rand(w.schedule.Seed, name)
	n := &node{
		w: w, m: m, rng: rng, id: core.MemberID(fmt.Sprintf("%04x-%s", rng.IntN(1<<16), name)),
		cache: pidcache.New(cacheSize), judge: retry.Judge,
		links: map[core.MemberID]*link{}, incoming: map[core.MemberID]*conn{}, epochs: map[core.MemberID]uint64{},
		heard: map[core.MemberID]heard{}, blocked: map[core.MemberID]bool{}, acts: map[core.Identity]*activation{},
	}
	n.proc = w.heap.Start(m.name, time.Duration(rng.Int64N(int64(2*time.Hour)))-time.Hour, 1)
	n.row = core.Member{ID: n.id, Address: m.address, Kinds: []string{kind}, Status: core.Joining}
	if !w.ordered { // the time of the start, as the providers without an order write it
		n.row.Joined = uint64(w.heap.Now()) + 1
	}
	n.reducer = membership.NewReducer(membership.ReducerConfig{
		Config: membership.Config{Self: n.id, Ordered: w.ordered}, Grace: grace,
	})
	n.own = disthash.NewMachine(n.id, handover)
	m.cur = n
	w.nodes = append(w.nodes, n)
	n.startTalk()
	if w.wrap != nil {
		w.wrap(n)
	}
	w.event(string(n.id), "boots", "")
	n.session = w.backend.Join(n.proc, n.row, n.report)
	n.proc.Every(n.phase(100*time.Millisecond), 100*time.Millisecond, n.load)
	n.proc.Every(n.phase(handover/4), handover/4, n.giveUp)
	return n
}

// phase is a random part of d, in odd nanoseconds, so that tickers of several nodes do not meet.
func (n *node) phase(d time.Duration) time.Duration {
	return 1 + time.Duration(n.rng.Int64N(int64(d)))
}

func (n *node) now() time.Time { return n.proc.Clock().Now() }

func (n *node) event(what, about string, numbers ...uint64) {
	n.w.event(string(n.id), what, about, numbers...)
}

// kill ends the process at once. Its kernel tells whom it was connected with.
func (n *node) kill() {
	if !n.proc.Alive() {
		return
	}
	n.event("dies", "")
	n.proc.Kill()
	n.session.End()
	if n.m.cur == n {
		n.m.cur = nil
	}
	for _, l := range n.linksInOrder() {
		if l.cur != nil {
			l.cur.reset(l.cur.to)
		}
	}
	for _, id := range sortedKeys(n.incoming) {
		c := n.incoming[id]
		c.reset(c.from)
	}
}

// report takes a view of the provider.
func (n *node) report(v *core.View) { n.reduce(membership.Report{View: v}) }

// reduce has the reducer take one input, and does what it says.
func (n *node) reduce(in membership.Input) {
	e := n.reducer.Step(n.now(), in)
	for _, id := range slices.Concat(e.Retired, e.Blocked) {
		n.block(id)
	}
	for _, id := range e.Unblocked {
		n.w.edge("remote.unblocked")
		delete(n.blocked, id)
	}
	if len(e.Unblocked) > 0 && n.view != nil {
		n.connect(n.view)
	}
	n.w.edge("membership." + e.Outcome.String())
	if len(e.Missing) > 0 {
		n.w.edge("membership.grace begins")
	}
	if len(e.Returned) > 0 {
		n.w.edge("membership.back within grace")
	}
	n.talk.reduced(e)
	n.sayBans(in, e)
	switch e.Outcome {
	case membership.Evicted:
		n.evict(e.Reason)
		return
	case membership.Installed:
		n.install(e.Topology)
	case membership.Revised:
		n.publish(e.Topology.View)
	}
	n.schedule()
}

// sayBans has gossip tell of the own bans, when they may have changed.
func (n *node) sayBans(in membership.Input, e membership.Effect) {
	ban, banned := in.(membership.Ban)
	_, lifted := in.(membership.Unban)
	if lifted || banned && ban.From == "" || len(e.Unblocked) > 0 {
		n.talk.bans(n.reducer.Bans(n.now()))
	}
}

// schedule sees to the reducer's next tick.
func (n *node) schedule() {
	if n.tick != nil {
		n.tick.Stop()
		n.tick = nil
	}
	if at, ok := n.reducer.Next(); ok {
		n.tick = n.proc.After(at.Sub(n.now()), func() { n.reduce(membership.Tick{}) })
	}
}

// evict ends a process that has lost its row for good. Somebody starts another one.
func (n *node) evict(string) {
	if !n.leaving { // one that leaves sees its own row go
		n.evicted = n.w.heap.Now()
	}
	n.event("evicted", "")
	m := n.m
	listening := m.cur == n
	n.kill()
	if listening {
		n.w.bootLater(m, time.Second)
	}
}

// bootLater starts a process on a machine that has none, after a while.
func (w *world) bootLater(m *machine, d time.Duration) {
	if m.due {
		return
	}
	m.due = true
	w.heap.After(d, func() {
		m.due = false
		switch {
		case m.cur == nil:
			w.boot(m)
		case m.cur.leaving:
			w.bootLater(m, 100*time.Millisecond)
		}
	})
}

func (n *node) block(id core.MemberID) {
	if n.blocked[id] {
		return
	}
	n.blocked[id] = true
	n.w.edge("remote.blocked")
	n.unlink(id)
	if c := n.incoming[id]; c != nil {
		c.endAcceptor()
	}
}

// install tells everybody of a new view, in the order of engine/cluster.
func (n *node) install(t core.Topology) {
	old := n.view
	n.w.checkInstall(n, t)
	n.reachable(t)
	for _, m := range t.Joined {
		n.cache.Readmit(m.ID)
	}
	for _, m := range t.Left {
		n.cache.DropMember(m.ID)
	}
	for _, m := range slices.Concat(t.Joined, t.Changed) {
		if m.Status == core.Leaving {
			n.cache.DropMember(m.ID)
		}
	}
	n.reshape(t.View)
	n.publish(t.View)
	n.w.checkOwners(n, old, t)
	n.w.checkCache(n)
	n.talk.installed(t.View)
	if me, ok := t.View.Member(n.id); ok && me.Status == core.Joining && n.row.Status == core.Joining {
		n.row.Status = core.Up
		n.session.Update(n.row)
	}
}

func (n *node) publish(v *core.View) {
	if n.view != nil && n.view.Hash() != v.Hash() {
		n.past = append([]uint64{n.view.Hash()}, n.past...)
		n.past = slices.DeleteFunc(n.past, func(h uint64) bool { return h == v.Hash() })
		n.past = n.past[:min(len(n.past), 8)]
	}
	n.view = v
	n.event("view", v.Lineage(), v.Epoch(), v.Hash(), uint64(v.Len()))
	parked := n.parked
	n.parked = nil
	for _, f := range parked {
		f()
	}
}

func (n *node) linksInOrder() (out []*link) {
	for _, id := range sortedKeys(n.links) {
		out = append(out, n.links[id])
	}
	return out
}
