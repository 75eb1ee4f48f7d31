package cluster

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/internal/gossip"
)

// Clients that ask for state are remembered, so that each is told only what is new to it.
const (
	maxGossipClients = 4_096            // of one member; more are refused as overloaded
	clientForgotten  = 30 * time.Second // without a question
)

// readers is who has asked of late; it belongs to the owner of gossip.
type readers struct {
	asked map[core.MemberID]time.Time
}

// admit lets a client's question through, which brings nothing: StateQueryFromWire has seen to that.
func (c *readers) admit(g *gossiper, id core.MemberID) error {
	if _, member := g.members[id]; member || id == g.n.id {
		return fmt.Errorf("client %q has the ID of a member: %w", id, gossip.ErrForeign)
	}
	_, known := c.asked[id]
	if !known && len(c.asked) >= maxGossipClients {
		return core.Retry(fmt.Errorf("%d clients ask already: %w", maxGossipClients, core.ErrOverloaded), retryLimit)
	}
	if c.asked == nil {
		c.asked = map[core.MemberID]time.Time{}
	}
	c.asked[id] = g.clock.Now()
	if !known {
		c.tell(g)
	}
	return nil
}

// prune forgets those that ask no more.
func (c *readers) prune(g *gossiper) {
	before, now := len(c.asked), g.clock.Now()
	maps.DeleteFunc(c.asked, func(_ core.MemberID, at time.Time) bool { return now.Sub(at) > clientForgotten })
	if len(c.asked) != before {
		c.tell(g)
	}
}

func (c *readers) tell(g *gossiper) {
	g.step(gossip.Clients{IDs: slices.Sorted(maps.Keys(c.asked))})
}
