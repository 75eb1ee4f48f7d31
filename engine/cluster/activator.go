package cluster

import (
	"context"
	"fmt"
	"hash/maphash"
	"iter"
	"sync"
	"sync/atomic"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/actor"
	"github.com/granary-go/granary/engine/grain"
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
	seed   maphash.Seed
	shards [64]tableShard
}

type tableShard struct {
	mu sync.Mutex
	m  map[core.Identity]*activation
	_  [48]byte // shards do not share cache lines
}

func newTable() *table {
	t := &table{seed: maphash.MakeSeed()}
	for i := range t.shards {
		t.shards[i].m = map[core.Identity]*activation{}
	}
	return t
}

func (t *table) shard(id core.Identity) *tableShard {
	return &t.shards[maphash.Comparable(t.seed, id)%uint64(len(t.shards))]
}

// get finds the activation of id; stopping ones too.
func (t *table) get(id core.Identity) (a *activation, stopping bool) {
	s := t.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	a = s.m[id]
	return a, a != nil && a.stopping
}

// stopping marks a: from here on calls by identity wait for its end.
func (t *table) stopping(a *activation) {
	s := t.shard(a.id)
	s.mu.Lock()
	a.stopping = true
	s.mu.Unlock()
}

// end is closed when the activation of id that is stopping has ended; nil if there is none.
func (t *table) end(id core.Identity) <-chan struct{} {
	s := t.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.m[id]; a != nil && a.stopping {
		return a.goneLocked()
	}
	return nil
}

// goneLocked is called under the shard's lock.
func (a *activation) goneLocked() <-chan struct{} {
	if a.gone == nil {
		a.gone = make(chan struct{})
	}
	return a.gone
}

// park keeps a routed call until a has ended. False: a has ended by now, or too many wait.
func (t *table) park(a *activation, in *inCall) bool {
	s := t.shard(a.id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.m[a.id] != a || len(a.parked) >= maxParked || !a.node.room(in) {
		return false
	}
	a.parked = append(a.parked, in)
	return true
}

// remove takes a out, and routes again what waited for that.
func (t *table) remove(a *activation) {
	s := t.shard(a.id)
	s.mu.Lock()
	if s.m[a.id] == a {
		delete(s.m, a.id)
		a.kind.live.Add(-1)
	}
	if a.gone != nil {
		close(a.gone)
	}
	parked := a.parked
	a.parked = nil
	s.mu.Unlock()
	for _, in := range parked {
		a.node.reroute(in)
	}
}

// all walks what runs here, shard by shard, without holding a lock while the caller looks.
func (t *table) all() iter.Seq[*activation] {
	return func(yield func(*activation) bool) {
		for i := range t.shards {
			s := &t.shards[i]
			s.mu.Lock()
			batch := make([]*activation, 0, len(s.m))
			for _, a := range s.m {
				batch = append(batch, a)
			}
			s.mu.Unlock()
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
	s := n.acts.shard(o.id)
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
	if a := s.m[o.id]; a != nil {
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
	switch order := t.Compare(a.place.Token); {
	case a.stopping:
		return errStopping(a.id)
	case t.IsZero() || order == 0:
		return nil
	case order < 0:
		return core.WithDelivery(fmt.Errorf("cluster: activate %s under %s: it runs under %s: %w", a.id, t, a.place.Token, core.ErrFenced), core.Undelivered)
	default:
		return core.WithDelivery(fmt.Errorf("cluster: activate %s under %s: it runs under %s: %w", a.id, t, a.place.Token, core.ErrConflict), core.Undelivered)
	}
}

// spawn makes the activation under the shard's lock, so that its end cannot be told before it is in
// the table; its first turn waits for the lock, so that it sees itself complete.
func (n *Node) spawn(s *tableShard, k *kind, o order) (*activation, error) {
	a := &activation{node: n, kind: k, id: o.id}
	a.outer.a, a.outer.ended = a, true
	a.place.Token = o.token
	if n.observer.Activated != nil {
		a.made = n.clock.Now()
	}
	a.touch()
	ref, err := n.sys.SpawnActor(activationPrefix, k.props, a)
	if err != nil {
		return nil, core.WithDelivery(fmt.Errorf("cluster: activate %s: %w", o.id, err), core.Undelivered)
	}
	a.ref, a.place.PID = ref, ref.PID()
	s.m[o.id] = a
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
	return a.place, err
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
