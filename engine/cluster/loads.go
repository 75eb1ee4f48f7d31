package cluster

import (
	"slices"
	"strings"
	"sync"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/internal/convert"
	"github.com/granary-go/granary/engine/internal/gossip"
)

// loads is what the members of the view have last said of their activations. Safe for concurrent use.
type loads struct {
	n  *Node
	mu sync.RWMutex
	by map[core.MemberID]gossip.Heartbeat // never modified once in here
}

func (l *loads) init(n *Node) { l.n, l.by = n, map[core.MemberID]gossip.Heartbeat{} }

// note takes what a member says; what cannot be read says nothing.
func (l *loads) note(member core.MemberID, value core.Message) {
	h, err := convert.HeartbeatFromMessage(value)
	if err != nil {
		l.forget(member)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.by[member] = h
}

func (l *loads) forget(member core.MemberID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.by, member)
}

func (l *loads) of(member core.MemberID) gossip.Heartbeat {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.by[member]
}

// Load is how many activations of kind the member has: its own count of this moment, of others as they
// last said. It does not allocate.
func (g *gossiper) Load(member core.MemberID, kind string) (activations int64, ok bool) {
	if member == g.n.id {
		k := g.n.kinds[kind]
		if k == nil {
			return 0, false
		}
		return k.live.Load(), true
	}
	counts := g.loads.of(member).Activations
	i, ok := slices.BinarySearchFunc(counts, kind, func(c gossip.KindCount, kind string) int { return strings.Compare(c.Kind, kind) })
	if !ok {
		return 0, false
	}
	return counts[i].Count, true
}

var _ core.Loads = (*gossiper)(nil)
