// Package shop holds what the examples typed and handwired have in common: a grain, and a customer
// who calls it. Neither knows how the node is put together.
package shop

import (
	"context"
	"maps"

	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/granary-go/granary/engine/grain"
	"github.com/granary-go/granary/examples/typed/cartpb"
)

// maxLines is how many different articles a cart holds.
const maxLines = 3

// Cart is one customer's cart. Its methods run one at a time, so it needs no lock.
type Cart struct {
	self  grain.Self // identity, token, calls to other grains, timers
	count map[string]int32
}

// NewCart makes an empty cart; the node calls it at the first call of a customer's cart.
func NewCart(self grain.Self) (cartpb.CartGrain, error) {
	return &Cart{self: self, count: make(map[string]int32)}, nil
}

// Add puts an article into the cart.
func (c *Cart) Add(_ context.Context, r *cartpb.AddRequest) (*cartpb.AddReply, error) {
	if _, known := c.count[r.GetSku()]; !known && len(c.count) == maxLines {
		return nil, cartpb.ErrCartFull("the cart of %s has no room for %s", c.self.Identity().Key, r.GetSku())
	}
	c.count[r.GetSku()]++
	return &cartpb.AddReply{Lines: int32(len(c.count))}, nil
}

// List tells what is in the cart.
func (c *Cart) List(context.Context, *emptypb.Empty) (*cartpb.ListReply, error) {
	return &cartpb.ListReply{Count: maps.Clone(c.count)}, nil // the caller owns what it gets
}

var _ cartpb.CartGrain = (*Cart)(nil)
