package shop_test

import (
	"testing"
	"testing/synctest"

	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/clustertest"
	"github.com/granary-go/granary/engine/grain"
	"github.com/granary-go/granary/examples/typed/cartpb"
	"github.com/granary-go/granary/examples/typed/shop"
)

// A whole cluster in one test: a cart is the same one from every member, and a new one once its member
// is dead, since this grain keeps nothing. In a bubble of synctest no time passes for real.
func TestCartInACluster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clustertest.Start(t, clustertest.Config{Members: 3, Kinds: grain.Kinds{cartpb.CartKind(shop.NewCart)}})
		c.Agree()
		for _, node := range c.Nodes() {
			if _, err := cartpb.Cart(node, "alice").Add(t.Context(), &cartpb.AddRequest{Sku: "tea"}); err != nil {
				t.Fatal(err)
			}
		}
		c.Kill(hostOf(t, c, core.Identity{Kind: "Cart", Key: "alice"}))
		c.Agree()
		list, err := cartpb.Cart(c.Nodes()[0], "alice").List(t.Context(), &emptypb.Empty{})
		if err != nil || len(list.GetCount()) != 0 {
			t.Errorf("after the kill: %v, %v", list, err)
		}
	})
}

// hostOf is the number of the node that runs a grain.
func hostOf(t *testing.T, c *clustertest.Cluster, id core.Identity) int {
	t.Helper()
	hosts := c.Hosts(id)
	for i := range c.Len() {
		if len(hosts) == 1 && c.Node(i) == hosts[0] {
			return i
		}
	}
	t.Fatalf("%d members run %v, want one", len(hosts), id)
	return -1
}
