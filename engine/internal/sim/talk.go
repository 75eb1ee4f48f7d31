package main

import (
	"encoding/binary"
	"maps"
	"slices"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/sim"
	"github.com/granary-go/granary/engine/internal/convert"
	"github.com/granary-go/granary/engine/internal/detector"
	"github.com/granary-go/granary/engine/internal/gossip"
	"github.com/granary-go/granary/engine/internal/membership"
)

// Times of gossip.
const (
	gossipEvery = 200 * time.Millisecond
	gossipLimit = 500 * time.Millisecond
	heartbeats  = time.Second
)

// The checks of what all members say: that they have installed the same view, and which release they run.
// And a key of users.
const (
	checkTopology = "topology"
	checkRelease  = "release"
	userKey       = "user" // set and removed
	releaseKey    = "release"
)

// release is how long one lasts. A process says which it runs with its next heartbeat.
const release = 7 * time.Second

// checks are those that every process makes, and of which key.
var checks = []struct{ name, key string }{{checkTopology, gossip.KeyTopology}, {checkRelease, releaseKey}}

type gossiper interface {
	Step(now time.Time, in gossip.Input, out []gossip.Effect) []gossip.Effect
}

// talk is the shell of gossip and of the failure detector. What they send are datagrams here, which the
// net may lose, double and turn around: more than a connection would do to them.
type talk struct {
	n       *node
	state   *gossip.Machine // as it is, for the checks
	gossip  gossiper        // the same, or with a mistake around it
	detect  *detector.Detector
	tick    *sim.Timer
	waiting map[uint64]*sim.Timer // exchanges
	beats   uint64
	// released is one more than the release that it has said last.
	released uint64
	ever     map[core.MemberID]bool // members of the view that something has come from
}

func (n *node) startTalk() {
	m, err := gossip.New(gossip.Config{Self: n.id, Interval: gossipEvery, Timeout: gossipLimit, Rand: n.rng})
	value := func(v core.Message) (uint64, bool) { return binary.LittleEndian.Uint64(v.Data), true }
	for _, c := range checks {
		if err == nil {
			err = m.AddCheck(gossip.NewCheck(c.name, c.key, value))
		}
	}
	if err != nil {
		n.w.check("panic", false, err.Error)
	}
	n.talk = talk{
		n: n, state: m, gossip: m, waiting: map[uint64]*sim.Timer{}, ever: map[core.MemberID]bool{},
		detect: detector.New(detector.Config{Self: n.id, Probe: 500 * time.Millisecond, TTL: leaseTTL, Store: n.w.ordered}),
	}
	n.proc.Every(n.phase(gossipEvery), gossipEvery, func() { n.talk.step(gossip.Tick{}) })
	n.proc.Every(n.phase(heartbeats), heartbeats, n.talk.beat)
}

// step has the gossip machine take one input, and does what it says.
func (t *talk) step(in gossip.Input) (reply gossip.Reply) {
	foreign := false // it is of somebody else
	switch in.(type) {
	case gossip.Received, gossip.Answered:
		foreign = true
	}
	for _, e := range t.gossip.Step(t.n.now(), in, nil) {
		switch e := e.(type) {
		case gossip.Send:
			t.send(e)
		case gossip.Reply:
			reply = e
		case gossip.Changed:
			t.n.w.checkChanged(t.n, e, foreign)
			t.learnBans(e)
			if e.Key == gossip.KeyHeartbeat && e.Member != t.n.id {
				t.sense(detector.Relayed{ID: e.Member})
			}
		case gossip.Withdrawn:
			t.n.w.checkWithdrawn(t.n, e)
		case gossip.Removed:
			t.n.w.edge("gossip.departed forgotten")
		case gossip.Refused:
			t.n.w.edge("gossip.refused")
		case gossip.Agreement:
			t.agreement(e)
		}
	}
	if _, ok := in.(gossip.Installed); ok {
		t.n.w.checkAgreements(t.n)
	}
	return reply
}

func (t *talk) agreement(e gossip.Agreement) {
	if !e.Agreed {
		t.n.w.edge("consensus.lost")
		return
	}
	t.n.w.edge("consensus.reached")
	t.n.w.checkAgreements(t.n)
}

// beat writes the heartbeat, and now and then a key of the users.
func (t *talk) beat() {
	t.beats++
	t.step(gossip.Set{Key: gossip.KeyHeartbeat, Value: number(t.beats)})
	if now := uint64(t.n.w.heap.Now() / release); now >= t.released {
		t.released = now + 1
		t.step(gossip.Set{Key: releaseKey, Value: number(now)})
	}
	t.slander()
	if t.n.w.healed > 0 && t.n.w.heap.Now() > t.n.w.healed+time.Second {
		return
	}
	switch t.n.rng.IntN(5) {
	case 0, 1:
		t.step(gossip.Set{Key: userKey, Value: number(uint64(t.n.rng.Uint32()))})
	case 2:
		t.step(gossip.Unset{Key: userKey})
	}
}

// bans says whom this member has banned.
func (t *talk) bans(bans []membership.Ban) {
	var said []gossip.Blocked
	for _, b := range bans {
		said = append(said, gossip.Blocked{ID: b.ID, Remaining: b.For})
	}
	t.step(gossip.Set{Key: gossip.KeyBlocked, Value: convert.BlockedToMessage(said)})
}

// learnBans takes what another member says of whom it has banned.
func (t *talk) learnBans(e gossip.Changed) {
	if e.Key != gossip.KeyBlocked || e.Member == t.n.id {
		return
	}
	bans, err := convert.BlockedFromMessage(e.Value)
	if err != nil {
		t.n.w.check("panic", false, err.Error)
		return
	}
	t.n.w.edge("ban.heard")
	told := membership.Told{From: e.Member}
	for _, b := range bans {
		told.IDs = append(told.IDs, b.ID)
		if b.Remaining > 0 {
			t.later(membership.Ban{ID: b.ID, For: b.Remaining, From: e.Member})
		}
	}
	t.later(told)
}

// later hands in to the reducer when the present step is through, as the owner of the membership takes it up.
func (t *talk) later(in membership.Input) {
	t.n.proc.After(time.Nanosecond, func() { t.n.reduce(in) })
}

// slander hands a peer what somebody else never said: an entry of a third member, not marked as passed
// on. It is what a member gone bad would send.
func (t *talk) slander() {
	n := t.n
	if n.view == nil || n.view.Len() < 3 || n.rng.IntN(4) > 0 {
		return
	}
	var others []core.MemberID
	for m := range n.view.All() {
		if m.ID != n.id {
			others = append(others, m.ID)
		}
	}
	i := n.rng.IntN(len(others))
	victim, about := others[i], others[(i+n.rng.IntN(2))%len(others)] // a third, or the victim itself
	known, _ := t.state.Get(about, gossip.KeyHeartbeat)
	n.toward(victim, func(peer *node) {
		peer.talk.step(gossip.Received{From: n.id, Request: &gossip.Request{Entries: []gossip.Entry{{
			Owner: about, Values: []gossip.Value{{Key: gossip.KeyHeartbeat, Version: known.Version + 1, Message: number(1 << 40)}},
		}}}})
	})
}

func number(n uint64) core.Message {
	return core.Message{Type: "number", Data: binary.LittleEndian.AppendUint64(nil, n)}
}

// send opens an exchange with a peer.
func (t *talk) send(e gossip.Send) {
	n, id := t.n, e.Request.Exchange
	t.waiting[id] = n.proc.After(gossipLimit, func() {
		delete(t.waiting, id)
		n.w.edge("gossip.exchange fails")
		t.step(gossip.Failed{To: e.To, Exchange: id})
	})
	n.toward(e.To, func(peer *node) {
		peer.talk.hear(n.id)
		r := peer.talk.step(gossip.Received{From: n.id, Request: e.Request})
		if r.Err != nil || r.Response == nil {
			return
		}
		peer.toward(n.id, func(*node) { t.answered(e.To, r) })
	})
}

// answered ends an exchange. Copies of the answer, and late ones, are handed on too: the machine is to
// cope with them.
func (t *talk) answered(from core.MemberID, r gossip.Reply) {
	if timer := t.waiting[r.Exchange]; timer != nil {
		timer.Stop()
		delete(t.waiting, r.Exchange)
	} else {
		t.n.w.edge("gossip.late answer")
	}
	t.hear(from)
	t.step(gossip.Answered{From: from, Exchange: r.Exchange, Response: r.Response})
}

// toward carries a datagram to the process of a member, if it runs and lets this one in.
func (n *node) toward(id core.MemberID, deliver func(*node)) {
	peer := n.w.byID(id)
	if peer == nil || n.blocked[id] {
		return
	}
	n.w.net.Send(n.m.name, peer.proc, func() {
		if !peer.blocked[n.id] {
			deliver(peer)
		}
	})
}

func (w *world) byID(id core.MemberID) *node {
	for _, n := range w.nodes {
		if n.id == id && n.proc.Alive() {
			return n
		}
	}
	return nil
}

// reduced tells of an effect of the reducer.
func (t *talk) reduced(e membership.Effect) {
	if len(e.Blocked) > 0 {
		t.step(gossip.Block{IDs: e.Blocked})
	}
	if len(e.Unblocked) > 0 {
		t.step(gossip.Unblock{IDs: e.Unblocked})
	}
	for _, id := range e.Accused {
		t.sense(detector.Accuse{ID: id})
	}
	for _, id := range e.Absolved {
		t.sense(detector.Absolve{ID: id})
	}
	if e.Outcome == membership.Revised {
		t.sense(detector.Installed{View: e.Topology.View})
	}
}

// installed tells of a view.
func (t *talk) installed(v *core.View) {
	var ids []core.MemberID
	for m := range v.All() {
		ids = append(ids, m.ID)
	}
	maps.DeleteFunc(t.ever, func(id core.MemberID, _ bool) bool { return !slices.Contains(ids, id) })
	t.step(gossip.Installed{IDs: ids, Topology: number(v.Hash())})
	t.sense(detector.Installed{View: v})
}

func (t *talk) leaving() {
	t.step(gossip.Set{Key: gossip.KeyLeft, Value: core.Message{Type: "left"}, Push: true})
}

func (t *talk) hear(id core.MemberID) {
	if v := t.n.view; v != nil {
		if _, listed := v.Member(id); listed {
			t.ever[id] = true
		}
	}
	t.sense(detector.Heard{ID: id})
}

func (t *talk) refused(id core.MemberID) { t.sense(detector.Refused{ID: id, Ever: t.ever[id]}) }

// sense has the detector take one input, and does what it says.
func (t *talk) sense(in detector.Input) {
	n := t.n
	effects := t.detect.Step(n.now(), in, nil)
	for _, e := range effects {
		n.w.edge("detector." + e.Type.String())
		if e.Type == detector.Probe {
			n.toward(e.ID, func(peer *node) {
				peer.toward(n.id, func(*node) { t.hear(e.ID) })
			})
		}
	}
	if len(effects) > 0 && n.view != nil && n.w.ordered {
		if next, changed := detector.Edit(n.view, n.id, effects); changed {
			n.session.Swap(n.view, next)
		}
	}
	t.arm()
}

// arm sees to the detector's next tick.
func (t *talk) arm() {
	at, ok := t.detect.Next()
	if !ok || t.tick != nil {
		return
	}
	t.tick = t.n.proc.After(at.Sub(t.n.now()), func() {
		t.tick = nil
		t.sense(detector.Tick{})
	})
}
