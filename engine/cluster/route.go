package cluster

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/simbug"
	"github.com/granary-go/granary/engine/actor"
	"github.com/granary-go/granary/engine/cluster/internal/wireform"
	"github.com/granary-go/granary/engine/grain"
	"github.com/granary-go/granary/engine/remote"
)

// The names of the engine's processes.
const (
	processGrain     = "$grain"              // calls by identity, their cancels, notices
	processLookup    = "partition-activator" // requests between lookups
	activationPrefix = "g/"                  // activations; the rest of the name is the system's
)

// viewWait is how long a call waits here for the view that its caller has.
const viewWait = time.Second

// maxParked bounds the calls that wait for a view, and those that wait for one activation's end.
const maxParked = 65_536

// maxParkedBytes bounds what the arguments of all calls that wait here hold together.
const maxParkedBytes = 16 << 20

// router is the process $grain. Nothing in it blocks: it runs on the goroutines that read from peers.
type router struct{ n *Node }

// Send takes a call by identity, a cancel of one, or notices of ended activations.
func (r router) Send(_ core.PID, e actor.Envelope) error {
	m, ok := e.Message.(*remote.Inbound)
	if !ok || m.From == nil {
		return refuse(grain.InvalidArgument, errors.New("cluster: $grain takes messages of peers only"))
	}
	switch m.Type {
	case wireform.TypeGrainRequest:
		return r.n.arriveRouted(m, &e)
	case wireform.TypeCancelCall:
		if number, err := wireform.ParseCancel(m.Data); err == nil { // a hint: what cannot be read is no loss
			r.n.routed.cancel(cancelKey{m.From, number})
		}
		m.Release()
		return nil
	case wireform.TypeTerminated:
		return r.n.dropEnded(m)
	}
	return refuse(grain.Unimplemented, fmt.Errorf("cluster: $grain takes no message of type %.80q: %w", m.Type, core.ErrUnsupported))
}

// SendSystem refuses: $grain is neither watched nor stopped.
func (r router) SendSystem(target core.PID, _ actor.SystemMessage) error {
	return &actor.DeadLetterError{Target: target}
}

func (n *Node) arriveRouted(m *remote.Inbound, e *actor.Envelope) error {
	in, err := n.arrive(m, e)
	if err != nil {
		return err
	}
	in.req.Routed = true
	if err := in.req.ID.Check(); err != nil {
		return refuse(grain.InvalidArgument, err)
	}
	k := n.kinds[in.req.ID.Kind]
	if k == nil {
		return noKind(in.req.ID)
	}
	if in.req.Locate {
		return n.locateFor(in)
	}
	if err := in.bind(k, in.req.ID); err != nil {
		return err
	}
	n.routed.add(in)
	follows, err := n.queues.follow(n, in)
	if !follows && err == nil {
		err = n.route(in)
	}
	if err != nil {
		n.routed.forget(in)
	}
	return err
}

// room takes what in holds from the bytes that may wait here; reroute gives it back.
func (n *Node) room(in *inCall) bool {
	fits := n.parkedBytes.Add(int64(in.size)) <= maxParkedBytes
	if !fits {
		n.parkedBytes.Add(-int64(in.size))
	}
	return fits
}

// reroute tries again what waited here for a view or for the end of an activation, and after it whatever has
// come behind it.
func (n *Node) reroute(in *inCall) {
	n.resume(in)
	n.queues.leave(n, in)
}

// resume goes on with what waited here. It has been accepted, so that a refusal is an answer.
func (n *Node) resume(in *inCall) {
	n.parkedBytes.Add(-int64(in.size))
	if in.state.Load() == callGivenUp {
		in.Reply(0, nil, errGivenUp(in.req.ID))
		return
	}
	if err := n.route(in); err != nil {
		in.Reply(0, nil, err)
	}
}

// queues keep in order what one peer sends to one identity while some of it waits here: what comes later waits
// behind it. So nothing is answered meanwhile that would tell the peer of an activation, past which it could send.
type queues struct {
	used atomic.Int64 // how many there are: as a rule none

	mu     sync.Mutex
	m      map[queueKey]*queue
	behind int // in all of them
}

type queueKey struct {
	from core.MemberID
	id   core.Identity
}

type queue struct {
	ahead  int // of what waits for a view or an end, or is being routed
	behind []*inCall
}

// enter notes that in waits for a view, or for the end of an activation.
func (q *queues) enter(in *inCall) {
	key := queueKey{in.from.Member.ID, in.req.ID}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.m == nil {
		q.m = map[queueKey]*queue{}
	}
	s := q.m[key]
	if s == nil {
		s = &queue{}
		q.m[key] = s
		q.used.Add(1)
	}
	s.ahead++
}

// follow has in wait if something of its peer waits for its identity. It waits for a view no longer than if it
// came first.
func (q *queues) follow(n *Node, in *inCall) (follows bool, err error) {
	if q.used.Load() == 0 {
		return false, nil
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	s := q.m[queueKey{in.from.Member.ID, in.req.ID}]
	if s == nil {
		return false, nil
	}
	if q.behind >= maxParked || !n.room(in) {
		return false, core.WithDelivery(core.Retry(fmt.Errorf("cluster: call of %s: too many wait before it: %w", in.req.ID, core.ErrBusy), retryDraining), core.Undelivered)
	}
	if in.patience.IsZero() {
		in.patience = n.clock.Now().Add(viewWait)
	}
	s.behind = append(s.behind, in)
	q.behind++
	return true, nil
}

// leave notes that in does not wait any more, and goes on with what is behind it, until something has to wait
// again.
func (q *queues) leave(n *Node, in *inCall) {
	key := queueKey{in.from.Member.ID, in.req.ID}
	q.mu.Lock()
	defer q.mu.Unlock()
	s := q.m[key]
	for s.ahead--; s.ahead == 0 && len(s.behind) > 0; s.ahead-- {
		next := s.behind[0]
		s.behind[0] = nil
		s.behind = s.behind[1:]
		q.behind--
		s.ahead++ // what comes meanwhile stays behind it
		q.mu.Unlock()
		n.resume(next)
		q.mu.Lock()
	}
	if s.ahead == 0 {
		delete(q.m, key)
		q.used.Add(-1)
	}
}

// route hands a call to the activation of its identity, which is made if this member owns it. It
// does not block: what has to wait is parked. The error refuses the call.
func (n *Node) route(in *inCall) error {
	id := in.req.ID
	for range 3 { // an activation may end between two steps, not for ever
		a, stopping := n.acts.get(id)
		if a == nil {
			parked, err := n.ownsFor(in)
			if parked || err != nil {
				return err
			}
			if a, err = n.activate(order{id: id, by: payer(in.from), owned: true}); err != nil && a == nil {
				return err
			}
			_, stopping = n.acts.get(id)
		}
		if !stopping {
			err := a.ref.Send(actor.Envelope{Message: in, Reply: in, Header: in.headers})
			if !errors.Is(err, actor.ErrDeadLetter) && !errors.Is(err, core.ErrBusy) {
				return err
			}
		}
		if n.acts.park(a, in) {
			return nil
		}
	}
	return errStopping(id)
}

// ownsFor checks that this member owns the identity of a call, by the view of the caller and by its
// own. What may yet become so is parked until the next view.
func (n *Node) ownsFor(in *inCall) (parked bool, err error) {
	if n.router == nil {
		return false, notOwner(in.req.ID, n.View())
	}
	at := n.views.current.Load()
	v := at.view
	if v == nil || newer(in.req.View, v) {
		n.refresh()
		return n.viewParked.park(n, in)
	}
	owner, ok := n.router.Owner(in.req.ID)
	if ok && owner.ID == n.id {
		return false, nil
	}
	if s := in.req.View; s.Lineage == "" && s.Hash != v.Hash() && !slices.Contains(at.past, s.Hash) {
		return n.viewParked.park(n, in) // as far as one can tell, the caller is ahead
	}
	return false, notOwner(in.req.ID, v)
}

// locateFor asks the lookup for a client, which may not ask it itself, or for a member that does not host the
// kind, and so does not know its strategy. It is told where the identity lives, and calls it there.
func (n *Node) locateFor(in *inCall) error {
	if n.router != nil {
		return refuse(grain.Unimplemented, fmt.Errorf("cluster: where %s lives, who asks can tell himself: it is with its owner: %w", in.req.ID, core.ErrUnsupported))
	}
	if n.resolving.Add(1) > maxHandling {
		n.resolving.Add(-1)
		return core.WithDelivery(core.Retry(fmt.Errorf("cluster: where %s lives: %d are being looked up for others already: %w", in.req.ID, maxHandling, core.ErrOverloaded), retryLimit), core.Undelivered)
	}
	n.group.Go("resolve for another", func() {
		defer n.resolving.Add(-1)
		wait := in.req.Remaining
		if wait <= 0 || wait > n.cfg.CallTimeout {
			wait = n.cfg.CallTimeout
		}
		ctx, cancel := n.withTimeout(n.base, wait)
		defer cancel()
		place, err := n.place(paidBy(ctx, payer(in.from)), in.req.ID)
		if err != nil {
			in.Reply(0, nil, core.WithDelivery(err, core.Undelivered))
			return
		}
		in.Reply(0, &wireform.Response{Place: place}, nil)
	})
	return nil
}

// newer reports whether s names a view that v has still to become.
func newer(s wireform.Stamp, v *core.View) bool {
	return s.Lineage != "" && s.Lineage == v.Lineage() && s.Epoch > v.Epoch() && !simbug.On("stamp-not-heeded")
}

func errGivenUp(id core.Identity) error {
	return core.WithDelivery(fmt.Errorf("cluster: call of %s: its caller gave up: %w", id, core.ErrStopped), core.Undelivered)
}

// parking holds calls that wait for the next view.
type parking struct {
	mu    sync.Mutex
	calls []parkedCall
	stop  func() bool // of the timer; nil: none runs
}

type parkedCall struct {
	in    *inCall
	until time.Time
}

// park keeps in until the next view, at most for viewWait from its first time here.
func (p *parking) park(n *Node, in *inCall) (parked bool, err error) {
	now := n.clock.Now()
	if in.patience.IsZero() {
		in.patience = now.Add(viewWait)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !now.Before(in.patience) || len(p.calls) >= maxParked || n.halted.Load() || !n.room(in) {
		return false, core.WithDelivery(core.Retry(fmt.Errorf("cluster: call of %s: this member has another view than the caller: %w", in.req.ID, core.ErrBusy), retryDraining), core.Undelivered)
	}
	n.queues.enter(in)
	p.calls = append(p.calls, parkedCall{in, in.patience})
	if p.stop == nil {
		p.stop = n.clock.AfterFunc(viewWait, func() { p.expire(n) })
	}
	return true, nil
}

// take gives all that waits.
func (p *parking) take() []parkedCall {
	p.mu.Lock()
	defer p.mu.Unlock()
	calls := p.calls
	p.calls = nil
	if p.stop != nil {
		p.stop()
		p.stop = nil
	}
	return calls
}

// expire tries again all that waits: whatever has waited for long enough is then refused.
func (p *parking) expire(n *Node) {
	for _, c := range p.take() {
		n.reroute(c.in)
	}
}

// cancelKey names a call that came from a peer.
type cancelKey struct {
	from   *remote.Peer
	number uint64
}

// routedCalls are the calls from peers that are under way here, by identity or to an activation itself,
// so that a cancel finds them.
type routedCalls struct {
	shards [16]struct {
		mu sync.Mutex
		m  map[cancelKey]*inCall
	}
}

func (r *routedCalls) add(in *inCall) {
	if in.reply == nil {
		return
	}
	in.routed.Store(true)
	s := &r.shards[in.number%uint64(len(r.shards))]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.m == nil {
		s.m = map[cancelKey]*inCall{}
	}
	s.m[in.key()] = in
}

func (r *routedCalls) forget(in *inCall) {
	if !in.routed.Load() {
		return
	}
	s := &r.shards[in.number%uint64(len(r.shards))]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.m[in.key()] == in {
		delete(s.m, in.key())
	}
}

func (r *routedCalls) cancel(key cancelKey) {
	s := &r.shards[key.number%uint64(len(r.shards))]
	s.mu.Lock()
	in := s.m[key]
	s.mu.Unlock()
	if in != nil {
		in.cancel()
	}
}

func (r *routedCalls) len() (n int) {
	for i := range r.shards {
		r.shards[i].mu.Lock()
		n += len(r.shards[i].m)
		r.shards[i].mu.Unlock()
	}
	return n
}

var (
	_ actor.Process = router{}
	_ actor.Process = (*process)(nil)
)

// extras are the parts that few activations need; made when first used.
type extras struct {
	made   time.Time // when it was asked for; only for Observer.Activated
	mu     sync.Mutex
	timers map[*timer]struct{}
	inner  map[*frame]*turnContext // reentrant turns that wait or run; nil: its context has yet to be made
	idle   chan struct{}           // closed when inner is empty; made by who waits for that
}

func (a *activation) more() *extras {
	if x := a.extra.Load(); x != nil {
		return x
	}
	a.extra.CompareAndSwap(nil, &extras{})
	return a.extra.Load()
}

// gate sees each message to an activation on its sender's goroutine. What came over the wire is read
// and bound to its method here, so that what is wrong never reaches the mailbox; a cancel takes
// effect at once; a call that comes back through its own chain runs beside the mailbox or is refused.
func gate(target actor.Actor, e *actor.Envelope) (taken bool, err error) {
	a := target.(*activation)
	switch m := e.Message.(type) {
	case *localCall:
		if m.chain == nil || !slices.Contains(m.chain, a.id()) || !a.waits(m.method) {
			return false, nil
		}
		own := *e // the gate's envelope is lent
		return a.reenter(m.chain, m.method, func(f *frame) { a.innerLocal(f, m, own) })
	case *inCall:
		return a.gateRemote(m)
	case *remote.Inbound:
		return a.gateWire(m, e)
	}
	return true, refuse(grain.InvalidArgument, errors.New("a grain takes calls only"))
}

func (a *activation) gateWire(m *remote.Inbound, e *actor.Envelope) (taken bool, err error) {
	switch m.Type {
	case wireform.TypeGrainRequest:
		return true, a.arrive(m, e)
	case wireform.TypeCancelCall:
		if number, err := wireform.ParseCancel(m.Data); err == nil { // a hint: what cannot be read is no loss
			a.node.routed.cancel(cancelKey{m.From, number})
		}
		m.Release()
		return true, nil
	}
	return true, refuse(grain.Unimplemented, errors.New("a grain takes no message of type "+m.Type))
}

// arrive takes a call that was sent to this activation itself. It stands in the node's table from here
// until it is answered or refused, so that a cancel finds it.
func (a *activation) arrive(m *remote.Inbound, e *actor.Envelope) error {
	in, err := a.node.arrive(m, e)
	if err != nil {
		return err
	}
	if err := in.bind(a.kind, a.id()); err != nil {
		return err
	}
	a.node.routed.add(in)
	own := actor.Envelope{Message: in, Reply: in, Header: e.Header}
	taken, err := a.gateRemote(in)
	if !taken && err == nil {
		err = a.ref.SendUngated(own)
	}
	if err != nil {
		a.node.routed.forget(in)
	}
	return err
}

func (a *activation) gateRemote(in *inCall) (taken bool, err error) {
	if simbug.On("answered-before-turn") {
		in.Reply(0, &wireform.Response{Place: a.place()}, nil)
	}
	if len(in.req.Chain) == 0 || !slices.Contains(in.req.Chain, a.id().String()) || !a.waits(in.method) {
		return false, nil
	}
	return a.reenter(in.chain(), in.method, func(f *frame) { a.innerRemote(f, in) })
}
