package cluster

import (
	"slices"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/actor"
	"github.com/granary-go/granary/engine/grain"
	"github.com/granary-go/granary/engine/internal/convert"
	"github.com/granary-go/granary/engine/remote"
	"github.com/granary-go/granary/protos/actorpb"
)

// System is the actor system of a node, so that tests can send what no application can.
func System(n *Node) *actor.System { return n.sys }

// PID is the wire form of p.
func PID(p core.PID) *actorpb.PID { return convert.PIDToProto(p) }

// UnderWay is how many calls from peers are known to n.
func UnderWay(n *Node) int { return n.routed.len() }

// Loads is what n knows of the activations of others.
func Loads(n *Node) core.Loads { return n.gossip }

// LeaveUntold takes out of n's stop the steps by which others learn of it before the drain.
func LeaveUntold(n *Node) {
	n.life.mu.Lock()
	defer n.life.mu.Unlock()
	n.life.undo = slices.DeleteFunc(n.life.undo, func(s step) bool { return s.order > stopDrain })
}

// Gossip hands in to the gossip of n, which need not have started, what came from a peer.
func Gossip(n *Node) func(*remote.Inbound) error {
	p := &gossipProcess{g: n.gossip}
	return func(in *remote.Inbound) error { return p.Send(core.PID{}, actor.Envelope{Message: in}) }
}

// Past is the hashes of views that n counts as its own past.
func Past(n *Node) []uint64 { return n.views.current.Load().past }

// HostOf is what the node lends to its lookup.
func HostOf(n *Node) core.Host { return host{n} }

// MayRunTwice reports whether a call is tried again although it may have run.
func MayRunTwice(n *Node, r grain.Request) bool {
	return n.policyOf(&question{Request: r}).Idempotent
}

// HoldGossip has the gossip of n do nothing until release.
func HoldGossip(n *Node) (release func()) {
	held := make(chan struct{})
	n.gossip.post(func() { <-held })
	return func() { close(held) }
}
