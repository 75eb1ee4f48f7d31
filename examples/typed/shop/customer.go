package shop

import (
	"context"
	"fmt"
	"io"

	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/granary-go/granary/examples/typed/cartpb"
)

// Visit puts articles into a cart and prints how it went. The cart may live in any process of the
// cluster.
func Visit(ctx context.Context, cart cartpb.CartClient, out io.Writer, articles ...string) error {
	for _, sku := range articles {
		reply, err := cart.Add(ctx, &cartpb.AddRequest{Sku: sku})
		line := fmt.Sprintf("added %s: %d different", sku, reply.GetLines())
		if cartpb.IsCartFull(err) {
			line, err = err.Error(), nil
		}
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintln(out, line); err != nil {
			return err
		}
	}
	list, err := cart.List(ctx, &emptypb.Empty{})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(out, "in the cart:", list.GetCount())
	return err
}
