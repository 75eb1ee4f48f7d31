package cluster

import (
	"context"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/remote"
)

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
