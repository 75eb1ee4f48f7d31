package cluster

import (
	"sync"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/internal/gossip"
)

// watches are those who follow keys. Safe for concurrent use.
type watches struct {
	mu sync.Mutex
}

func (w *watches) changed(gossip.Changed) {}
func (w *watches) gone(core.MemberID)     {}
func (w *watches) close()                 {}
