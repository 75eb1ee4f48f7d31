package cluster

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/simbug"
	"github.com/granary-go/granary/engine/actor"
	"github.com/granary-go/granary/engine/cluster/internal/wireform"
	"github.com/granary-go/granary/engine/grain"
	"github.com/granary-go/granary/engine/internal/index"
	"github.com/granary-go/granary/engine/remote"
)

// The defaults of a kind.
const (
	defaultIdle           = 10 * time.Minute
	defaultMaxActivations = 1_000_000
	defaultMaxNewRate     = 100_000
)

// Times after which to try again, told with refusals.
const (
	retryStopping = 5 * time.Millisecond   // an activation that ends, or an owner that waits for one
	retryDraining = 50 * time.Millisecond  // a member that leaves: views are about to move
	retryLimit    = 250 * time.Millisecond // a member that is full: passivation has to make room
)

// kind is a grain.Kind with what this node keeps of it.
type kind struct {
	grain.Kind
	props   *actor.Props
	idle    time.Duration // 0: never
	maxLive int64
	rate    float64
	live    atomic.Int64
}

func newKind(k grain.Kind) *kind {
	out := &kind{Kind: k, idle: k.Idle, maxLive: int64(k.MaxActivations), rate: float64(k.MaxNewRate)}
	set(&out.idle, defaultIdle)
	out.idle = max(out.idle, 0)
	set(&out.maxLive, defaultMaxActivations)
	set(&out.rate, defaultMaxNewRate)
	out.props = &actor.Props{
		Mailbox:  actor.MailboxConfig{Size: k.Mailbox},
		Guardian: guardian{},
		Gate:     gate,
		Closed:   func(a actor.Actor) { a.(*activation).closed() },
	}
	return out
}

// table is what runs here. It is safe for concurrent use.
type table struct {
	hash   func(core.Identity) uint64
	shards [64]tableShard
}

type tableShard struct {
	mu sync.RWMutex
	index.Table[core.Identity, *activation]
	_ [40]byte // shards do not share cache lines
}

func newTable(hash func(core.Identity) uint64) *table { return &table{hash: hash} }

func (t *table) shard(hash uint64) *tableShard { return &t.shards[hash%uint64(len(t.shards))] }

// shardOf is the shard of a with its lock held, and the hash of its identity.
func (t *table) shardOf(a *activation) (s *tableShard, hash uint64) {
	hash = t.hash(a.id())
	s = t.shard(hash)
	s.mu.Lock()
	return s, hash
}

// get finds the activation of id; stopping ones too.
func (t *table) get(id core.Identity) (a *activation, stopping bool) { return t.find(t.hash(id), id) }

// find is get for who has the hash of id.
func (t *table) find(hash uint64, id core.Identity) (a *activation, stopping bool) {
	s := t.shard(hash)
	s.mu.RLock()
	defer s.mu.RUnlock()
	a = s.Get(hash, id)
	return a, a != nil && a.stopping
}

// stopping marks a: from here on calls by identity wait for its end.
func (t *table) stopping(a *activation) {
	s, _ := t.shardOf(a)
	a.stopping = true
	s.mu.Unlock()
}

// end is closed when the activation of id that is stopping has ended; nil if there is none.
func (t *table) end(id core.Identity) <-chan struct{} {
	a, stopping := t.get(id)
	if !stopping {
		return nil
	}
	gone, running := t.endOf(a)
	if !running {
		return nil
	}
	return gone
}

// endOf is closed when a has ended; running is false if it has.
func (t *table) endOf(a *activation) (gone <-chan struct{}, running bool) {
	s, hash := t.shardOf(a)
	defer s.mu.Unlock()
	if s.Get(hash, a.id()) != a {
		return nil, false
	}
	e := a.endingLocked()
	if e.gone == nil {
		e.gone = make(chan struct{})
	}
	return e.gone, true
}

// endingLocked is called under the shard's lock.
func (a *activation) endingLocked() *ending {
	if a.ending == nil {
		a.ending = new(ending)
	}
	return a.ending
}

// park keeps a routed call until a has ended. False: a has ended by now, or too many wait.
func (t *table) park(a *activation, in *inCall) bool {
	s, hash := t.shardOf(a)
	defer s.mu.Unlock()
	if s.Get(hash, a.id()) != a {
		return false
	}
	e := a.endingLocked()
	if len(e.parked) >= maxParked || !a.node.room(in) {
		return false
	}
	a.node.queues.enter(in)
	e.parked = append(e.parked, in)
	return true
}

// remove takes a out, and routes again what waited for that.
func (t *table) remove(a *activation) {
	s, hash := t.shardOf(a)
	if s.Delete(hash, a) {
		a.kind.live.Add(-1)
	}
	e := a.ending
	a.ending = nil
	s.mu.Unlock()
	if e == nil {
		return
	}
	if e.gone != nil {
		close(e.gone)
	}
	for _, in := range e.parked {
		a.node.reroute(in)
	}
}

// all walks what runs here, shard by shard, without holding a lock while the caller looks.
func (t *table) all() iter.Seq[*activation] {
	return func(yield func(*activation) bool) {
		for i := range t.shards {
			s := &t.shards[i]
			s.mu.RLock()
			batch := slices.AppendSeq(make([]*activation, 0, s.Len()), s.All())
			s.mu.RUnlock()
			for _, a := range batch {
				if !yield(a) {
					return
				}
			}
		}
	}
}

// order is what an activation is made by.
type order struct {
	id    core.Identity
	hash  uint64 // of id; set by activate
	token core.Token
	by    core.MemberID // who caused it, for the limit of new ones a second
	owned bool          // made by ownership alone: who owns the identity is asked again at the end
}

// activate finds the activation of o.id or makes it. Errors are Undelivered.
func (n *Node) activate(o order) (*activation, error) {
	k := n.kinds[o.id.Kind]
	if k == nil {
		return nil, noKind(o.id)
	}
	o.hash = n.acts.hash(o.id)
	s := n.acts.shard(o.hash)
	s.mu.Lock()
	a, err := n.activateLocked(s, k, o)
	s.mu.Unlock()
	if err != nil || !o.owned {
		return a, err
	}
	// The view may have moved since the owner was looked up. If it has, then the lookup either has
	// yet to go over what runs here, and finds this activation, or says by now who the owner is.
	if owner, ok := n.router.Owner(o.id); !ok || owner.ID != n.id {
		a.askToEnd(core.StopMoved)
		return nil, notOwner(o.id, n.View())
	}
	return a, nil
}

func (n *Node) activateLocked(s *tableShard, k *kind, o order) (*activation, error) {
	if a := s.Get(o.hash, o.id); a != nil && !simbug.On("second-activation") {
		return a, existing(a, o.token)
	}
	switch {
	case n.draining.Load():
		return nil, core.WithDelivery(core.Retry(fmt.Errorf("cluster: activate %s: member %s is leaving: %w", o.id, n.id, core.ErrBusy), retryDraining), core.Undelivered)
	case o.token.IsZero() && n.holder != nil && n.holder.Held(o.id):
		return nil, core.WithDelivery(core.Retry(fmt.Errorf("cluster: activate %s: its owner before has yet to stop it: %w", o.id, core.ErrBusy), retryStopping), core.Undelivered)
	case k.live.Load() >= k.maxLive:
		return nil, core.WithDelivery(core.Retry(fmt.Errorf("cluster: activate %s: %d activations run here, the limit of the kind: %w", o.id, k.maxLive, core.ErrOverloaded), retryLimit), core.Undelivered)
	}
	if ok, wait := n.rates.Take(o.by, k.Name, k.rate); !ok {
		return nil, core.WithDelivery(core.Retry(fmt.Errorf("cluster: activate %s: more than %v new activations a second for %s: %w", o.id, k.rate, o.by, core.ErrOverloaded), wait), core.Undelivered)
	}
	return n.spawn(s, k, o)
}

// existing judges an order by the token of what runs already.
func existing(a *activation, t core.Token) error {
	switch order := t.Compare(a.token); {
	case a.stopping:
		return errStopping(a.id())
	case t.IsZero() || order == 0:
		return nil
	case order < 0:
		return core.WithDelivery(fmt.Errorf("cluster: activate %s under %s: it runs under %s: %w", a.id(), t, a.token, core.ErrFenced), core.Undelivered)
	default:
		return core.WithDelivery(fmt.Errorf("cluster: activate %s under %s: it runs under %s: %w", a.id(), t, a.token, core.ErrConflict), core.Undelivered)
	}
}

// spawn makes the activation under the shard's lock, so that its end cannot be told before it is in
// the table; its first turn waits for the lock, so that it sees itself complete.
func (n *Node) spawn(s *tableShard, k *kind, o order) (*activation, error) {
	a := &activation{node: n, kind: k, key: o.id.Key, token: o.token}
	a.outer.a, a.outer.ended = a, true
	if n.observer.Activated != nil {
		a.more().made = n.clock.Now()
	}
	a.touch()
	ref, err := n.sys.SpawnActor(activationPrefix, k.props, a)
	if err != nil {
		return nil, core.WithDelivery(fmt.Errorf("cluster: activate %s: %w", o.id, err), core.Undelivered)
	}
	a.ref = ref
	s.Put(o.hash, a)
	k.live.Add(1)
	return a, nil
}

// Activate is part of core.Host.
func (h host) Activate(ctx context.Context, id core.Identity, t core.Token) (core.Placement, error) {
	if err := ctx.Err(); err != nil {
		return core.Placement{}, core.WithDelivery(err, core.Undelivered)
	}
	if err := id.Check(); err != nil {
		return core.Placement{}, core.WithDelivery(err, core.Undelivered)
	}
	a, err := h.n.activate(order{id: id, token: t, by: h.n.payerOf(ctx), owned: h.n.router != nil && t.IsZero()})
	if a == nil {
		return core.Placement{}, err
	}
	return a.place(), err
}

func noKind(id core.Identity) error {
	return refuse(grain.Unimplemented, fmt.Errorf("cluster: no kind %q is registered here: %w", id.Kind, core.ErrNoKind))
}

func errStopping(id core.Identity) error {
	return core.WithDelivery(core.Retry(fmt.Errorf("cluster: %s is stopping: %w", id, core.ErrBusy), retryStopping), core.Undelivered)
}

func notOwner(id core.Identity, v *core.View) error {
	return core.WithDelivery(fmt.Errorf("cluster: %s is not placed here by the view of epoch %d: %w", id, epochOf(v), core.ErrNotOwner), core.Undelivered)
}

// host is the narrow view of a node that its lookup gets.
type host struct{ n *Node }

// Self is this member as its provider knows it.
func (h host) Self() core.Member { return h.n.Self() }

// Call carries one request to the lookup on another member, stamped with the view that the lookup has:
// from within Reshape on that is one more than the node has installed.
func (h host) Call(ctx context.Context, to core.Member, m core.Message) (core.Message, error) {
	s := wireform.StampOf(h.n.views.shaped.Load())
	if simbug.On("question-without-view") {
		s = wireform.Stamp{}
	}
	return h.n.request(ctx, to, processLookup, &wireform.Envelope{Type: wireform.TypeLookup, View: &s, Message: m})
}

// handleLookup answers Host.Call of another member, once this node has the view of the message.
func (n *Node) handleLookup(ctx context.Context, from core.Member, view *wireform.Stamp, m core.Message) (core.Message, error) {
	if err := n.awaitStamp(ctx, *view); err != nil {
		return core.Message{}, err
	}
	return n.parts.Lookup.Handle(paidBy(ctx, from.ID), from, m)
}

// Deactivate stops the activation of exactly token t and waits for its last turn. Whoever asks for it
// within a turn that the last one would have to wait for is refused.
func (h host) Deactivate(ctx context.Context, id core.Identity, t core.Token, why core.StopReason) error {
	a, _ := h.n.acts.get(id)
	if a == nil || a.token != t {
		return nil
	}
	if turn := h.n.turnOf(ctx); turn != nil && a.heldUpBy(turn) {
		return core.WithDelivery(&grain.Error{Code: grain.FailedPrecondition, Reason: grain.ReasonCycle,
			Message: fmt.Sprintf("deactivate %s: it is asked for within a turn of it, whose end it would wait for; use Self.Stop there, which ends the grain after the turn", id)}, core.Undelivered)
	}
	return h.n.end(ctx, a, why)
}

// end drains a and waits until it has ended or ctx has.
func (n *Node) end(ctx context.Context, a *activation, why core.StopReason) error {
	gone, running := n.acts.endOf(a)
	if !running {
		return nil
	}
	a.askToEnd(why)
	select {
	case <-gone:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// askToEnd has a finish its queue and end. A start-up that still runs is of use to nobody any more:
// its context ends.
func (a *activation) askToEnd(why core.StopReason) {
	a.mark(unwanted)
	_ = a.node.sys.Nudge(a.ref, drain{why}) // it may be ending already
	if ctx := a.starting.Load(); ctx != nil {
		ctx.cancel(context.Canceled)
	}
}

// Activations walks what runs here.
func (h host) Activations() iter.Seq[core.Activation] { return h.n.Activations() }

// Strategy is the kind's choice among hosts.
func (h host) Strategy(kind string) core.Strategy { return h.n.strategyOf(kind) }

var _ core.Host = host{}

// clients is the one bucket of all clients: a client draws a new ID for each start, and whoever may
// connect as one may do so again, so an ID is nothing to hold anybody to. It is no ID of a member.
const clients core.MemberID = "clients/all"

// payer is whose bucket a new activation is taken from.
func payer(from *remote.Peer) core.MemberID {
	if from.Client {
		return clients
	}
	return from.Member.ID
}

// payerKey is where a context says who has caused what is done under it.
type payerKey struct{}

// paidBy is ctx under which the activations that a lookup makes are taken from the bucket of id.
func paidBy(ctx context.Context, id core.MemberID) context.Context {
	return context.WithValue(ctx, payerKey{}, id)
}

// payerOf is whose bucket an activation under ctx is taken from: the peer's that has asked for it, else
// this member's own.
func (n *Node) payerOf(ctx context.Context) core.MemberID {
	if id, ok := ctx.Value(payerKey{}).(core.MemberID); ok {
		return id
	}
	return n.id
}
