package cluster

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/internal/convert"
	"github.com/granary-go/granary/engine/internal/gossip"
)

// MaxConsensus is how many checks one node may have at a time.
const MaxConsensus = 63 // the machine takes 64, and one is the engine's

// Consensus tells whether all members of the present view say the same under one key. Members that say
// nothing prevent it; those that have left do not count. It is made by NewConsensus. It is safe for
// concurrent use.
//
// It is knowledge of the past: somebody may have said something else meanwhile, and that is on its way. So
// it is good for waiting until a change has spread, and no lock.
type Consensus[T comparable] struct{ c *consensus }

// NewConsensus checks what extract finds in the values of key: for each V that a member has set, what has
// to be the same, and whether there is such a thing. It is evaluated when something changes, and its
// outcome is kept.
//
// extract is called once for each new value, on a goroutine of the engine: it must not block, and must not
// wait for the node. If it panics, finds what cannot be compared, and for a value that is no V, the
// member counts as one that says nothing. A check may be made before Start. End it with Stop. The error is core.ErrOverloaded
// (MaxConsensus are open) or core.ErrStopped.
func NewConsensus[V any, T comparable](n *Node, key string, extract func(V) (T, bool)) (*Consensus[T], error) {
	c, err := n.gossip.checks.add(n.gossip, func(name string) *gossip.Check {
		return gossip.NewCheck(name, key, func(m core.Message) (same T, ok bool) {
			value, err := DecodeState[V](m)
			if err != nil {
				return same, false
			}
			return extract(value)
		})
	})
	if err != nil {
		return nil, fmt.Errorf("cluster: consensus over %.80q: %w", key, err)
	}
	return &Consensus[T]{c}, nil
}

// Agreed is what all members say, and whether they do, as of what has reached this node. Once the check or
// the node has stopped nothing is known.
func (c *Consensus[T]) Agreed() (value T, agreed bool) {
	at := c.c.now()
	value, _ = at.value.(T)
	return value, at.agreed
}

// Wait waits until all members agree, and returns on what. The error is the cause of ctx, or
// core.ErrStopped once the check or the node has stopped: then nothing is known.
func (c *Consensus[T]) Wait(ctx context.Context) (T, error) {
	for {
		at := c.c.now()
		if at.agreed {
			value, _ := at.value.(T)
			return value, nil
		}
		if err := at.changes(ctx, c.c, nil); err != nil {
			var none T
			return none, fmt.Errorf("cluster: consensus: %w", err)
		}
	}
}

// Stop ends the check, any number of times.
func (c *Consensus[T]) Stop() { c.c.stop() }

// TopologyConsensus waits until all members of the view that this node has installed say that they have
// installed the same one, and returns its hash, as View.Hash has it. It becomes true within a few rounds of
// gossip after the last change of the members, and false again with the next; on a client it is about the
// members that the client sees.
//
// The error is the cause of ctx, or core.ErrStopped: then nothing is known, and nothing is to be taken for
// granted.
func (n *Node) TopologyConsensus(ctx context.Context) (hash uint64, err error) {
	c := n.gossip.checks.topology
	for {
		installed, at := n.views.current.Load(), c.now()
		if v := installed.view; v != nil && at.agreed && at.value == any(v.Hash()) {
			return v.Hash(), nil
		}
		if err := at.changes(ctx, c, installed.next); err != nil {
			return 0, fmt.Errorf("cluster: consensus on the topology: %w", err)
		}
	}
}

// outcome is what a check has found last.
type outcome struct {
	value  any
	agreed bool
	next   chan struct{} // closed when there is another
}

// changes waits for another outcome, or until also is closed.
func (o *outcome) changes(ctx context.Context, c *consensus, also <-chan struct{}) error {
	select {
	case <-o.next:
		return nil
	case <-also:
		return nil
	case <-c.over:
		return fmt.Errorf("the check has ended: %w", core.ErrStopped)
	case <-c.g.n.life.over:
		return fmt.Errorf("the check has ended: %w", core.ErrStopped)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// consensus is one check of a node.
type consensus struct {
	g    *gossiper
	name string
	at   atomic.Pointer[outcome]
	over chan struct{}
	once sync.Once
}

func newCheck(g *gossiper, name string) *consensus {
	c := &consensus{g: g, name: name, over: make(chan struct{})}
	c.at.Store(&outcome{next: make(chan struct{})})
	return c
}

// now is what is known.
func (c *consensus) now() *outcome {
	select {
	case <-c.over:
		return &outcome{}
	default:
		return c.at.Load()
	}
}

// tell is called by the owner of gossip.
func (c *consensus) tell(value any, agreed bool) {
	old := c.at.Load()
	c.at.Store(&outcome{value, agreed, make(chan struct{})})
	close(old.next)
}

func (c *consensus) end() { c.once.Do(func() { close(c.over) }) }

func (c *consensus) stop() {
	if c.g.checks.remove(c) {
		c.g.post(func() { c.g.machine.RemoveCheck(c.name) })
	}
}

// checks are all checks of a node. Safe for concurrent use.
type checks struct {
	topology *consensus

	mu     sync.Mutex
	by     map[string]*consensus
	made   uint64
	closed bool
}

// init makes the engine's own check.
func (k *checks) init(g *gossiper) error {
	k.by = map[string]*consensus{}
	k.topology = newCheck(g, "topology")
	k.by[k.topology.name] = k.topology
	return g.machine.AddCheck(gossip.NewCheck(k.topology.name, gossip.KeyTopology, func(m core.Message) (uint64, bool) {
		t, err := convert.TopologyFromMessage(m)
		return t.Hash, err == nil
	}))
}

// add begins a check.
func (k *checks) add(g *gossiper, build func(name string) *gossip.Check) (*consensus, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.closed:
		return nil, fmt.Errorf("the node has stopped: %w", core.ErrStopped)
	case len(k.by) > MaxConsensus:
		return nil, fmt.Errorf("%d checks are open; stop some: %w", MaxConsensus, core.ErrOverloaded)
	}
	k.made++
	c := newCheck(g, fmt.Sprint(k.made))
	k.by[c.name] = c
	check := build(c.name)
	g.post(func() {
		if err := g.machine.AddCheck(check); err == nil { // there is room, and the name is new
			c.tell(g.machine.Agreed(c.name))
		}
	})
	return c, nil
}

// told takes the outcome of a check.
func (k *checks) told(e gossip.Agreement) {
	k.mu.Lock()
	c := k.by[e.Check]
	k.mu.Unlock()
	if c != nil {
		c.tell(e.Value, e.Agreed)
	}
}

// remove forgets c; false: it was forgotten before.
func (k *checks) remove(c *consensus) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	c.end()
	if k.by[c.name] != c {
		return false
	}
	delete(k.by, c.name)
	return true
}

// close ends all checks.
func (k *checks) close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.closed = true
	for _, c := range k.by {
		c.end()
	}
}
