package cluster

import (
	"sync"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/simbug"
	"github.com/granary-go/granary/engine/actor"
	"github.com/granary-go/granary/engine/internal/wireform"
	"github.com/granary-go/granary/engine/remote"
)

// Ended activations are told to the members in batches: whichever of the two comes first.
const (
	noticeDelay = 5 * time.Millisecond
	noticeBatch = 256
)

// notices gathers the ends of activations for the other members, whose caches then drop them.
type notices struct {
	mu    sync.Mutex
	ends  []core.Activation
	timer func() bool // nil: none runs
}

// ended is told once an activation, after its last turn.
func (n *Node) ended(a *activation) {
	n.cache.Drop(a.id, a.place.PID)
	if n.released != nil {
		func() {
			defer n.caught("the lookup's Released")
			n.released.Released(a.Activation(), a.why)
		}()
	}
	if n.tellsEnds {
		n.notices.add(n, a.Activation())
	}
}

func (s *notices) add(n *Node, a core.Activation) {
	s.mu.Lock()
	s.ends = append(s.ends, a)
	if len(s.ends) >= noticeBatch {
		ends := s.takeLocked()
		s.mu.Unlock()
		n.tellEnds(ends)
		return
	}
	if s.timer == nil {
		s.timer = n.clock.AfterFunc(noticeDelay, func() { n.tellEnds(s.take()) })
	}
	s.mu.Unlock()
}

func (s *notices) take() []core.Activation {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.takeLocked()
}

func (s *notices) takeLocked() []core.Activation {
	ends := s.ends
	s.ends = nil
	if s.timer != nil {
		s.timer()
		s.timer = nil
	}
	return ends
}

// tellEnds sends one batch to every other member. It is a hint: nobody waits for it, and what is
// lost costs a caller one try.
func (n *Node) tellEnds(ends []core.Activation) {
	if len(ends) == 0 {
		return
	}
	for _, ref := range n.views.current.Load().refs {
		_ = ref.Send(actor.Envelope{Message: &wireform.Ends{Ends: ends}}) // a member that cannot be reached has nothing to drop that it would not find out
	}
}

// dropEnded takes the notices of a member about activations of its own.
func (n *Node) dropEnded(m *remote.Inbound) error {
	err := wireform.EachEnd(m.Data, func(a core.Activation) {
		if a.PID.Member == m.From.Member.ID && !simbug.On("cache-keeps-stopped") { // a member speaks for itself only
			n.cache.Drop(a.Identity, a.PID)
		}
	})
	if err != nil {
		return core.WithDelivery(err, core.Undelivered)
	}
	return nil
}
