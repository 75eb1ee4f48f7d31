package cluster

import "github.com/granary-go/granary/engine/actor"

// System is the actor system of a node, so that tests can send what no application can.
func System(n *Node) *actor.System { return n.sys }
