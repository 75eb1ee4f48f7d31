package shop_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/granary-go/granary/core/leaktest"
	"github.com/granary-go/granary/engine/grain"
	"github.com/granary-go/granary/examples/typed/cartpb"
	"github.com/granary-go/granary/examples/typed/shop"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// A grain is a Go type like any other: it is tested without a node.
func TestCart(t *testing.T) {
	c, err := shop.NewCart(grain.Self{})
	if err != nil {
		t.Fatal(err)
	}
	for i, sku := range []string{"a", "b", "c", "a"} {
		if r, err := c.Add(t.Context(), &cartpb.AddRequest{Sku: sku}); err != nil || r.GetLines() != int32(min(i+1, 3)) {
			t.Fatalf("%s: %v, %v", sku, r, err)
		}
	}
	if _, err := c.Add(t.Context(), &cartpb.AddRequest{Sku: "d"}); !cartpb.IsCartFull(err) {
		t.Errorf("the fourth article: %v", err)
	}
	list, err := c.List(t.Context(), &emptypb.Empty{})
	if err != nil || list.GetCount()["a"] != 2 || len(list.GetCount()) != 3 {
		t.Errorf("listed %v, %v", list, err)
	}
}

// What calls grains is tested with a fake.
func ExampleVisit() {
	fake := &cartpb.FakeCart{
		AddFunc: func(_ context.Context, r *cartpb.AddRequest) (*cartpb.AddReply, error) {
			if r.GetSku() == "piano" {
				return nil, cartpb.ErrCartFull("not even one")
			}
			return &cartpb.AddReply{Lines: 1}, nil
		},
		ListFunc: func(context.Context, *emptypb.Empty) (*cartpb.ListReply, error) {
			return nil, grain.Errorf(grain.Unavailable, "the shop is closed")
		},
	}
	err := shop.Visit(context.Background(), fake, os.Stdout, "tea", "piano")
	fmt.Println(err)
	// Output:
	// added tea: 1 different
	// CART_FULL: not even one
	// unavailable: the shop is closed
}

// An error that the customer does not expect ends the visit.
func TestVisitFails(t *testing.T) {
	var out strings.Builder
	err := shop.Visit(t.Context(), &cartpb.FakeCart{}, &out, "tea")
	if grain.CodeOf(err) != grain.Unimplemented || out.Len() != 0 {
		t.Errorf("%v, %q", err, &out)
	}
}
