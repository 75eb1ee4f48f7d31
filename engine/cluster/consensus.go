package cluster

import "github.com/granary-go/granary/engine/internal/gossip"

// checks are the consensus checks of a node.
type checks struct{}

func (c *checks) told(gossip.Agreement) {}
