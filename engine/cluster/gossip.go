package cluster

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/actor"
	"github.com/granary-go/granary/engine/internal/convert"
	"github.com/granary-go/granary/engine/internal/gossip"
	"github.com/granary-go/granary/engine/internal/membership"
)

// GossipConfig is how members spread what they say of themselves. Zero fields take their defaults,
// which suit up to some hundred members. All members should have the same.
type GossipConfig struct {
	// Interval is the time between two rounds. Default 300 ms: a change reaches 50 members in about
	// four rounds.
	Interval time.Duration

	// FanOut is the number of members that are addressed in a round. Default 3: at 20 % loss a change
	// still spreads more than threefold a round.
	FanOut int

	// Timeout is how long the answer to one exchange is waited for. Default 500 ms: longer than a round
	// trip between continents.
	Timeout time.Duration

	// MaxSend is the number of members that one message tells of; the rest follows in the next ones.
	// Default 50.
	MaxSend int

	// MaxBytes is about how large one message may be. Default 256 KiB, 128 KiB at least: two of the
	// largest values.
	MaxBytes int
}

// The rhythm of the engine's own keys.
const (
	beatSoonest = time.Second     // after a change of the counts, at the earliest
	beatLatest  = 5 * time.Second // without any change
	bansAgain   = time.Minute     // while there are any
	hurry       = 10              // after a change of the view the next round comes within this part of an interval
)

// gossiper is the shell of gossip: it brings to the machine what arrives and what the time is, and
// carries out what it decides. One goroutine owns the machine.
type gossiper struct {
	n     *Node
	clock core.Clock

	inbox   inbox
	running atomic.Bool
	states  states
	loads   loads
	checks  checks

	refusals atomic.Uint64
	stats    atomic.Pointer[GossipStats]

	// What follows belongs to the owner.
	machine  *gossip.Machine
	phase    *rand.Rand
	members  map[core.MemberID]core.Member // of the installed view, without this one
	said     string                        // the topology that was last set
	beat     gossip.Heartbeat
	beaten   time.Time // zero: never
	bans     []membership.Ban
	banned   time.Time // when the bans were last told
	saidBans bool      // some were
	next     time.Time // of the round that is due
	disarm   func() bool
	effects  []gossip.Effect
	readers  readers
	rounds   uint64
	leaver   *leaver        // nil: nobody waits for the others to see that this member leaves
	unset    error          // why the last own write was refused
	asked    actor.Envelope // whose Reply is among the effects of the step
}

// newGossiper makes the gossip of n; it says nothing before start.
func newGossiper(n *Node) (*gossiper, error) {
	c := n.cfg.Gossip
	m, err := gossip.New(gossip.Config{
		Self: n.id, Client: n.cfg.Client, Interval: c.Interval, Timeout: c.Timeout, FanOut: c.FanOut,
		MaxOwners: c.MaxSend, MaxBytes: c.MaxBytes, Rand: n.source("gossip"),
	})
	if err != nil {
		return nil, fmt.Errorf("cluster: Config.Gossip: %w", err)
	}
	g := &gossiper{n: n, clock: n.clock, machine: m, phase: n.source("gossip phase")}
	g.inbox.init()
	g.loads.init(n)
	return g, g.checks.init(g)
}

// start begins the rounds, each member's at a phase of its own.
func (g *gossiper) start() {
	g.running.Store(true)
	g.n.group.Go("gossip", g.own)
	g.post(func() { g.arm(g.within(g.machine.Config().Interval)) })
}

// stop ends them. What was asked before is still done.
func (g *gossiper) stop() {
	g.post(func() {
		if g.disarm != nil {
			g.disarm()
		}
	})
	g.inbox.close()
	g.states.close()
	g.checks.close()
}

// own is the owner goroutine.
func (g *gossiper) own() {
	for {
		work, open := g.inbox.take()
		for _, do := range work {
			do()
		}
		if !open {
			return
		}
	}
}

// post has the owner do something. False: gossip has stopped.
func (g *gossiper) post(do func()) bool { return g.inbox.add(do) }

// step gives the machine one input and carries out what follows. Only the owner calls it.
func (g *gossiper) step(in gossip.Input) {
	g.effects = g.machine.Step(g.clock.Now(), in, g.effects[:0])
	from := sourceOf(in)
	for i, e := range g.effects {
		g.effects[i] = nil
		g.carryOut(from, e)
	}
	g.checkLeave()
}

// sourceOf is who has told of what an input brings; empty: nobody else.
func sourceOf(in gossip.Input) core.MemberID {
	switch in := in.(type) {
	case gossip.Received:
		return in.From
	case gossip.Answered:
		return in.From
	}
	return ""
}

func (g *gossiper) carryOut(from core.MemberID, e gossip.Effect) {
	switch e := e.(type) {
	case gossip.Send:
		g.send(e.To, e.Request)
	case gossip.Reply:
		answerGossip(g.asked, e)
	case gossip.Changed:
		g.changed(from, e)
	case gossip.Withdrawn:
		g.states.withdrawn(e)
		g.n.publish(StateChanged{Member: e.Member, Key: e.Key, Version: e.Version, Gone: true})
	case gossip.Removed:
		g.loads.forget(e.Member)
		g.states.gone(e.Member)
	case gossip.Refused:
		g.refused(e)
	case gossip.Agreement:
		g.checks.told(e)
	}
}

// arm sets the time of the next round.
func (g *gossiper) arm(d time.Duration) {
	if g.disarm != nil {
		g.disarm()
	}
	g.next = g.clock.Now().Add(d)
	g.disarm = g.clock.AfterFunc(d, func() { g.post(g.round) })
}

// within is a random part of d.
func (g *gossiper) within(d time.Duration) time.Duration {
	return time.Duration(g.phase.Int64N(int64(d)))
}

// round is one round. One that was called off when it was due already does no harm.
func (g *gossiper) round() {
	g.arm(g.machine.Config().Interval)
	g.readers.prune(g)
	g.heartbeat()
	g.tellBans()
	g.step(gossip.Tick{})
	g.measure()
}

// installed tells of the view. A change is told within a fraction of an interval.
func (g *gossiper) installed(t core.Topology, wireHash uint64) {
	v := t.View
	message := convert.TopologyToMessage(gossip.Topology{Lineage: v.Lineage(), Epoch: v.Epoch(), Hash: v.Hash(), WireHash: wireHash})
	g.post(func() {
		in := gossip.Installed{IDs: make([]core.MemberID, 0, v.Len())}
		g.members = make(map[core.MemberID]core.Member, v.Len())
		for m := range v.All() {
			in.IDs = append(in.IDs, m.ID)
			if m.ID != g.n.id {
				g.members[m.ID] = m
			}
		}
		if said := string(message.Data); said != g.said {
			g.said, in.Topology = said, message
			if soon := g.within(g.machine.Config().Interval/hurry + 1); g.next.Sub(g.clock.Now()) > soon && !g.next.IsZero() {
				g.arm(soon)
			}
		}
		g.step(in)
	})
}

// block and unblock follow what the remote layer refuses.
func (g *gossiper) block(ids []core.MemberID)   { g.post(func() { g.step(gossip.Block{IDs: ids}) }) }
func (g *gossiper) unblock(ids []core.MemberID) { g.post(func() { g.step(gossip.Unblock{IDs: ids}) }) }

// ownBans are the bans that this member has said itself and that others are to learn of.
func (g *gossiper) ownBans(bans []membership.Ban) {
	at := g.clock.Now()
	g.post(func() {
		g.bans, g.banned = g.bans[:0:0], time.Time{}
		for _, b := range bans[:min(len(bans), gossip.MaxBlocked)] {
			b.For += at.Sub(g.n.made) // from here on: when it ends, since the node was made
			g.bans = append(g.bans, b)
		}
		g.setBans()
	})
}

// tellBans says anew once a minute what is left of the bans.
func (g *gossiper) tellBans() {
	if len(g.bans) > 0 && g.clock.Now().Sub(g.banned) >= bansAgain {
		g.setBans()
	}
}

func (g *gossiper) setBans() {
	now := g.clock.Now()
	var left []gossip.Blocked
	for _, b := range g.bans {
		if rest := b.For - now.Sub(g.n.made); rest > 0 {
			left = append(left, gossip.Blocked{ID: b.ID, Remaining: rest})
		}
	}
	g.banned = now
	if len(left) == 0 && !g.saidBans {
		return
	}
	g.saidBans = len(left) > 0
	g.setOwn(gossip.KeyBlocked, convert.BlockedToMessage(left), false)
}

// heartbeat says how many activations there are: a second after the last time if the counts have
// changed, every five seconds anyway.
func (g *gossiper) heartbeat() {
	now := g.clock.Now()
	since := now.Sub(g.beaten)
	if g.n.cfg.Client || !g.beaten.IsZero() && since < beatSoonest {
		return
	}
	if !g.count() && !g.beaten.IsZero() && since < beatLatest {
		return
	}
	g.beaten = now
	g.setOwn(gossip.KeyHeartbeat, convert.HeartbeatToMessage(g.beat), false)
}

// count brings the heartbeat up to date.
func (g *gossiper) count() (changed bool) {
	kinds := g.n.Kinds()
	if len(kinds) > gossip.MaxKindCounts {
		kinds = kinds[:gossip.MaxKindCounts]
	}
	if len(g.beat.Activations) != len(kinds) {
		g.beat.Activations, changed = make([]gossip.KindCount, len(kinds)), true
	}
	for i, k := range kinds {
		c := gossip.KindCount{Kind: k.Name, Count: k.Live}
		changed = changed || g.beat.Activations[i] != c
		g.beat.Activations[i] = c
	}
	return changed
}

// setOwn writes a key of the engine; only the owner calls it.
func (g *gossiper) setOwn(key string, value core.Message, push bool) {
	if !g.n.cfg.Client {
		g.step(gossip.Set{Key: key, Value: value, Push: push})
	}
}

// changed passes on that a key has a new value.
func (g *gossiper) changed(from core.MemberID, e gossip.Changed) {
	switch e.Key {
	case gossip.KeyKeys: // what follows from it is told by Withdrawn
		return
	case gossip.KeyHeartbeat:
		g.loads.note(e.Member, e.Value)
		if e.Member != g.n.id && e.Member != from {
			g.n.heardOf(e.Member)
		}
	case gossip.KeyBlocked:
		g.learn(e)
	case gossip.KeyLeft:
		if e.Member != g.n.id {
			g.n.refresh()
		}
	}
	g.states.changed(e)
	g.n.publish(StateChanged{Member: e.Member, Key: e.Key, Version: e.Version})
}

// learn passes on the bans that another member has said itself.
func (g *gossiper) learn(e gossip.Changed) {
	if bans, err := convert.BlockedFromMessage(e.Value); e.Member != g.n.id && err == nil {
		g.n.learnedBans(e.Member, bans)
	}
}

// refused counts what was refused. Own writes are told to whoever made them.
func (g *gossiper) refused(e gossip.Refused) {
	if e.From == g.n.id {
		g.unset = e.Err
		return
	}
	g.countRefused(e.Count)
	g.n.log.LogAttrs(g.n.base, slog.LevelDebug, "cluster: gossip refused", slog.String("from", string(e.From)), slog.String("owner", string(e.Owner)), quoted(e.Key), slog.Any("error", e.Err), slog.Int("times", e.Count))
}

func (g *gossiper) countRefused(times int) {
	g.refusals.Add(uint64(times))
	g.n.count("cluster.gossip.refused", int64(times))
}

// count tells the hooks.
func (n *Node) count(name string, by int64) {
	if f := n.parts.Telemetry.Hooks.Counted; f != nil {
		defer n.caught("Hooks.Counted")
		f(name, by)
	}
}

// inbox is what the owner of gossip has still to do, in order. Safe for concurrent use.
type inbox struct {
	mu     sync.Mutex
	work   []func()
	wake   chan struct{}
	closed bool
}

func (b *inbox) init() { b.wake = make(chan struct{}, 1) }

// add has one more thing done; false after close.
func (b *inbox) add(do func()) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return false
	}
	b.work = append(b.work, do)
	b.signal()
	return true
}

func (b *inbox) signal() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// take waits until there is something to do. After close, what is left comes with open false.
func (b *inbox) take() (work []func(), open bool) {
	<-b.wake
	b.mu.Lock()
	defer b.mu.Unlock()
	work, b.work = b.work, nil
	return work, !b.closed
}

// close takes nothing more.
func (b *inbox) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	b.signal()
}
