package cluster

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/simbug"
	"github.com/granary-go/granary/engine/actor"
	"github.com/granary-go/granary/engine/cluster/internal/wireform"
	"github.com/granary-go/granary/engine/grain"
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
	own := len(e.Unblocked) > 0
	switch in := in.(type) {
	case membership.Ban:
		own = own || in.From == ""
	case membership.Unban:
		own = true
	case membership.Told:
	case membership.Report, membership.Tick:
		if !own {
			return
		}
	}
	standing := o.reducer.Standing(now)
	n.views.standing.Store(&standing)
	if own {
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

// installed is a view with what the node derives from it. It is replaced as a whole.
type installed struct {
	view *core.View
	past []uint64                     // hashes of the views before, the last one first, without the present one
	next chan struct{}                // closed when another one is installed
	refs map[core.MemberID]*actor.Ref // the $grain of every other member
}

// views is the shell of membership: reports of the provider come in from its goroutine, one owner
// goroutine installs them.
type views struct {
	reported atomic.Pointer[core.View] // the latest report that was not looked at
	wake     chan struct{}
	happened happenings
	bans     atomic.Int32 // that this member has said itself
	standing atomic.Pointer[[]membership.Standing]
	shaped   atomic.Pointer[core.View] // the latest that was handed to the lookup
	current  atomic.Pointer[installed]
	over     chan struct{} // closed when no other view will be installed
}

func (v *views) init() {
	v.wake, v.over = make(chan struct{}, 1), make(chan struct{})
	v.current.Store(&installed{next: make(chan struct{})})
	v.standing.Store(&[]membership.Standing{})
}

// View is the view of the cluster that this node has installed; nil before the first. Its Reshape
// has returned by then.
func (n *Node) View() *core.View { return n.views.current.Load().view }

// report is called by the provider. The latest report wins; it does not block.
func (n *Node) report(v *core.View) {
	if over := n.views.reported.Swap(v); over != nil {
		n.views.happened.skip(over.Hash())
	}
	n.views.poke()
}

// poke has the owner look.
func (v *views) poke() {
	select {
	case v.wake <- struct{}{}:
	default:
	}
}

// ownID is the ID whose row in views is this node's; empty for a client.
func (n *Node) ownID() core.MemberID {
	if n.cfg.Client {
		return ""
	}
	return n.id
}

// welcome lets what lives on a member be found there.
func (n *Node) welcome(id core.MemberID) {
	if id == n.id {
		n.departed.Store(false)
		return
	}
	n.cache.Readmit(id)
}

// depart has calls look anew for what lives on a member. What runs here is still called by who knows the
// process, but not found by its identity.
func (n *Node) depart(id core.MemberID) {
	if id == n.id {
		n.departed.Store(true)
		return
	}
	n.cache.DropMember(id)
}

// install tells everybody of a new view, in the order in which they depend on each other: who can be
// reached, where identities are known to be, who owns them, whom gossip tells, and those who merely want
// to know. Events follow when it returns.
func (n *Node) install(e membership.Effect) {
	old, t := n.View(), e.Topology
	n.links.set(n, old, t)
	for _, m := range t.Joined {
		n.welcome(m.ID)
	}
	for _, m := range t.Left {
		n.depart(m.ID)
		n.rates.Forget(m.ID)
	}
	if n.router != nil { // what runs on a leaver belongs to others by this view, and is ended there
		for _, m := range slices.Concat(t.Joined, t.Changed) {
			if m.Status == core.Leaving {
				n.depart(m.ID)
				if simbug.On("leaver-blocked-for-good") {
					n.remote.Block(m.ID)
				}
			}
		}
	}
	if err := n.reshape(t); err != nil {
		n.log.Error("cluster: the lookup cannot go on", "epoch", t.View.Epoch(), "error", err)
		n.die(fmt.Errorf("cluster: lookup: reshape to epoch %d: %w", t.View.Epoch(), err), false)
		return
	}
	n.show(t.View)
	for _, c := range n.viewParked.take() {
		n.reroute(c.in)
	}
	n.gossip.installed(t, e.Hash)
	for _, s := range n.parts.Services {
		n.reshapeService(s, t)
	}
	if n.observer.Topology != nil {
		n.observer.Topology(t)
	}
	n.Events().Publish(t)
	n.log.LogAttrs(n.base, slog.LevelInfo, "cluster: view installed", slog.Uint64("epoch", t.View.Epoch()), slog.Int("members", t.View.Len()), slog.Int("joined", len(t.Joined)), slog.Int("left", len(t.Left)), slog.Int("changed", len(t.Changed)))
}

func (n *Node) reshapeService(s grain.Service, t core.Topology) {
	if r, ok := s.(interface{ Reshape(core.Topology) }); ok {
		defer n.caught("a service's Reshape")
		r.Reshape(t)
	}
}

func (n *Node) reshape(t core.Topology) error {
	if n.lookupStopped.Load() {
		return nil
	}
	n.views.shaped.Store(t.View)
	err := n.protect("the lookup's Reshape", func() error { return n.parts.Lookup.Reshape(t) })
	if n.lookupStopped.Load() { // meanwhile
		return nil
	}
	return err
}

// show makes v the view by which calls are routed and stamped.
func (n *Node) show(v *core.View) {
	old := n.views.current.Load()
	refs := make(map[core.MemberID]*actor.Ref, v.Len())
	for m := range v.All() {
		if ref := old.refs[m.ID]; ref != nil {
			refs[m.ID] = ref
		} else if m.ID != n.id {
			refs[m.ID] = n.sys.Ref(core.PID{Address: m.Address, ID: processGrain, Member: m.ID})
		}
	}
	if m, ok := v.Member(n.id); ok {
		n.self.Store(&m)
	}
	n.views.current.Store(&installed{view: v, past: old.history(v, n.views.happened.takeSkipped()), next: make(chan struct{}), refs: refs})
	close(old.next)
}

// pastViews is how many views back a caller is recognised as one that is behind.
const pastViews = 8

// history is the past of next, which is installed after at and after what was skipped in between: others
// may have installed that.
func (at *installed) history(next *core.View, skipped []uint64) []uint64 {
	past := skipped
	if at.view != nil {
		past = append(past, at.view.Hash())
	}
	past = slices.DeleteFunc(append(past, at.past...), func(h uint64) bool { return h == next.Hash() })
	return past[:min(len(past), pastViews)]
}

// Self is this member as the installed view has it; before, as it was described to the provider. A
// client has neither kinds nor a place in views.
func (n *Node) Self() core.Member {
	if m := n.self.Load(); m != nil {
		return *m
	}
	return core.Member{ID: n.id, Kinds: slices.Sorted(maps.Keys(n.kinds)), Status: core.Joining}
}

// await waits until want holds of the installed view.
func (n *Node) await(ctx context.Context, want func(*core.View) bool) error {
	for {
		at := n.views.current.Load()
		if at.view != nil && want(at.view) {
			return nil
		}
		select {
		case <-at.next:
		case <-n.views.over: // peers that ask for a view are not left waiting while this node stops
			return fmt.Errorf("cluster: the node stops: %w", core.ErrStopped)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// awaitStamp lets a message of a lookup through once this node has the view under which it was sent.
func (n *Node) awaitStamp(ctx context.Context, s wireform.Stamp) error {
	v := n.View()
	switch {
	case v != nil && s == wireform.StampOf(v):
		return nil
	case v != nil && s.Lineage != "" && s.Lineage == v.Lineage() && s.Epoch < v.Epoch():
		return core.WithDelivery(fmt.Errorf("cluster: a message of epoch %d, this member is at epoch %d: %w", s.Epoch, v.Epoch(), core.ErrNotOwner), core.Undelivered)
	}
	n.refresh()
	ctx, cancel := n.withTimeout(ctx, viewWait)
	defer cancel()
	err := n.await(ctx, func(v *core.View) bool {
		return s == wireform.StampOf(v) || s.Lineage == "" && v.Hash() == s.Hash || s.Lineage == v.Lineage() && s.Lineage != "" && v.Epoch() >= s.Epoch
	})
	if v = n.View(); err == nil && (s == wireform.StampOf(v) || s.Lineage == "" && v.Hash() == s.Hash) {
		return nil
	}
	return core.WithDelivery(core.Retry(fmt.Errorf("cluster: a message of the view of epoch %d, this member is at epoch %d: %w", s.Epoch, epochOf(v), core.ErrBusy), retryDraining), core.Undelivered)
}

// noticeStamp asks the provider if a peer has shown a later view.
func (n *Node) noticeStamp(s wireform.Stamp) {
	if v := n.View(); v != nil && newer(s, v) {
		n.refresh()
	}
}

// refresh has the provider report now, if it can.
func (n *Node) refresh() {
	if r, ok := n.parts.Provider.(core.Refresher); ok {
		defer n.caught("the provider's Refresh")
		r.Refresh()
	}
}

func epochOf(v *core.View) uint64 {
	if v == nil {
		return 0
	}
	return v.Epoch()
}

// linger is how long links to a member that has left in order are kept: its last answers may be on
// their way when its row goes. No new call goes there any more.
const linger = time.Second

// links tells remoting who can be reached: the members of the view, and for a while those that have
// left in order.
type links struct {
	mu      sync.Mutex
	leavers map[core.MemberID]core.Member
	view    *core.View // installed
	closed  bool
}

// set installs the topology that leads from old.
func (l *links) set(n *Node, old *core.View, t core.Topology) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.leavers == nil {
		l.leavers = map[core.MemberID]core.Member{}
	}
	l.view = t.View
	for _, m := range t.Joined {
		delete(l.leavers, m.ID)
	}
	for _, m := range t.Left {
		if was, _ := old.Member(m.ID); was.Status == core.Leaving && !l.closed {
			l.leavers[m.ID] = m
			n.clock.AfterFunc(linger, func() { l.drop(n, m.ID) })
		}
	}
	l.apply(n, t)
}

// drop ends the links to a leaver.
func (l *links) drop(n *Node, id core.MemberID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, there := l.leavers[id]; there && !l.closed {
		delete(l.leavers, id)
		l.apply(n, core.Topology{View: l.view})
	}
}

// apply hands remoting the view with the leavers beside it; mu is held.
func (l *links) apply(n *Node, t core.Topology) {
	if len(l.leavers) > 0 {
		rec := t.View.Record()
		for _, m := range l.leavers {
			rec.Members = append(rec.Members, m)
		}
		if v, err := core.NewView(rec); err == nil { // it cannot fail: no leaver is in the view
			t.View = v
		}
	}
	n.remote.SetMembers(t)
}

// close ends the waiting; remoting stops by itself.
func (l *links) close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
}
