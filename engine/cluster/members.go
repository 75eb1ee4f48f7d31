package cluster

import (
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/internal/detector"
	"github.com/granary-go/granary/engine/internal/membership"
)

// maxHappened bounds what waits for the owner of the membership, reports excepted. What does not fit is
// counted as cluster.members.dropped; all of it is told again but bans of this member's own, which are
// refused.
const maxHappened = 8192

// happenings is what happened since the owner looked.
type happenings struct {
	mu    sync.Mutex
	queue []any    // membership.Ban, detector.Input, or a *core.View that a swap gave back
	over  []uint64 // hashes of reports that newer ones took the place of, the last one first
}

// skip notes a view that was reported and will not be installed.
func (b *happenings) skip(hash uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.over = append([]uint64{hash}, b.over[:min(len(b.over), pastViews-1)]...)
}

func (b *happenings) takeSkipped() []uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	over := b.over
	b.over = nil
	return over
}

// post hands in to the owner of the membership. It does not block.
func (n *Node) post(in any) bool {
	b := &n.views.happened
	b.mu.Lock()
	fits := len(b.queue) < maxHappened
	if fits {
		b.queue = append(b.queue, in)
	}
	b.mu.Unlock()
	if !fits {
		n.count("cluster.members.dropped", 1)
		return false
	}
	n.views.poke()
	return true
}

func (b *happenings) take() []any {
	b.mu.Lock()
	defer b.mu.Unlock()
	queue := b.queue
	b.queue = nil
	return queue
}

// owner is what belongs to the one goroutine that owns the membership: the machines that decide, and the
// timer for their next deadline.
type owner struct {
	n        *Node
	reducer  *membership.Reducer
	detector *detector.Detector
	begun    time.Time                   // when the present round of the detector began
	refused  map[core.MemberID]time.Time // members at whose address nobody listened, not heard since
	stop     func() bool
	armed    time.Time // what the timer is set to; zero: it is not
}

func (n *Node) newOwner() *owner {
	return &owner{
		n: n,
		reducer: membership.NewReducer(membership.ReducerConfig{
			Config: membership.Config{Self: n.ownID(), Ordered: n.promises.Ordered}, Grace: n.grace(),
		}),
		detector: detector.New(n.detectorConfig()),
		refused:  map[core.MemberID]time.Time{},
		stop:     func() bool { return false },
	}
}

// grace is for how long a member is kept that the provider reports no more.
func (n *Node) grace() time.Duration {
	p, patient := n.parts.Provider.(core.Patient)
	switch {
	case n.cfg.RemovalGrace != 0:
		return max(n.cfg.RemovalGrace, 0)
	case patient:
		return p.RemovalGrace()
	}
	return membership.DefaultGrace
}

// watchViews is the owner goroutine.
func (n *Node) watchViews(stop <-chan struct{}) {
	o := n.newOwner()
	defer func() { o.stop() }()
	for {
		o.arm()
		select {
		case <-n.views.wake:
			o.turn()
		case <-stop:
			return
		}
	}
}

// turn works off what came in, and what is due.
func (o *owner) turn() {
	for _, in := range o.n.views.happened.take() {
		o.take(in)
	}
	if v := o.n.views.reported.Swap(nil); v != nil {
		o.step(membership.Report{View: v})
	}
	o.tick()
}

func (o *owner) take(in any) {
	switch in := in.(type) {
	case membership.Input:
		o.step(in)
	case *core.View:
		o.step(membership.Report{View: in})
	case detector.Refused:
		o.refused[in.ID] = o.n.clock.Now()
		o.detect(in)
	case detector.Input:
		o.detect(in)
	}
}

// tick does what time brings.
func (o *owner) tick() {
	now := o.n.clock.Now()
	if at, ok := o.reducer.Next(); ok && !now.Before(at) {
		o.step(membership.Tick{})
	}
	if at, ok := o.detector.Next(); ok && !now.Before(at) {
		o.round(now)
	}
}

// arm sets the timer to what is due next.
func (o *owner) arm() {
	at, ok := o.reducer.Next()
	if due, waits := o.detector.Next(); waits && (!ok || due.Before(at)) {
		at, ok = due, true
	}
	if !ok || at.Equal(o.armed) {
		return
	}
	o.stop()
	o.armed = at
	o.stop = o.n.clock.AfterFunc(at.Sub(o.n.clock.Now()), o.n.views.poke)
}

// step hands in to the reducer and carries out what follows.
func (o *owner) step(in membership.Input) {
	n, now := o.n, o.n.clock.Now()
	e := o.reducer.Step(now, in)
	n.remarkRejected(e)
	n.holdNews() // nobody hears of a view before it is installed
	n.noticeEffect(e)
	n.admit(e)
	n.carryOut(e)
	n.releaseNews()
	if e.Topology.View != nil {
		if o.begun.IsZero() {
			o.begun = now
		}
		n.suspicion.keep(e.Topology.View)
		o.detect(detector.Installed{View: e.Topology.View})
	}
	for _, id := range e.Accused {
		o.detect(detector.Accuse{ID: id})
	}
	for _, id := range e.Absolved {
		o.detect(detector.Absolve{ID: id})
	}
	if _, ban := in.(membership.Ban); ban || len(e.Unblocked) > 0 {
		o.sayBans(now)
	}
}

// noticeEffect tells subscribers of e, once it is carried out.
func (n *Node) noticeEffect(e membership.Effect) {
	n.notice(membership.Applied{Effect: e})
	old := n.View()
	for _, m := range e.Topology.Changed {
		was, _ := old.Member(m.ID)
		n.publish(MemberChanged{m, was.Status, e.Topology.View.Epoch()})
	}
}

// admit has the traffic of the blocked refused, and that of others let in again.
func (n *Node) admit(e membership.Effect) {
	if len(e.Blocked) > 0 {
		n.remote.Block(e.Blocked...)
		n.gossip.block(e.Blocked)
	}
	if len(e.Unblocked) > 0 {
		n.remote.Unblock(e.Unblocked...)
		n.gossip.unblock(e.Unblocked)
	}
}

// carryOut installs what e brings.
func (n *Node) carryOut(e membership.Effect) {
	switch e.Outcome {
	case membership.Evicted:
		n.log.Error("cluster: this member is out", "reason", e.Reason)
		n.die(fmt.Errorf("cluster: member %s: %s: %w", n.id, e.Reason, core.ErrEvicted), true)
	case membership.Held:
		n.log.Warn("cluster: a view is held back", "reason", e.Reason)
	case membership.Installed:
		n.install(e)
	case membership.Revised:
		n.show(e.Topology.View)
		n.gossip.installed(e.Topology, membership.WireHash(e.Topology.View))
	}
}

// remarkRejected tells the log of rows that nobody can reach; each once.
func (n *Node) remarkRejected(e membership.Effect) {
	for _, r := range e.Rejected {
		n.log.LogAttrs(n.base, slog.LevelWarn, "cluster: a member that nobody can reach", slog.String("peer", string(r.Member.ID)), slog.String("address", r.Member.Address), slog.String("reason", r.Reason))
	}
}
