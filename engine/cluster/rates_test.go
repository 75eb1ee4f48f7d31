package cluster_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/clustertest"
	"github.com/granary-go/granary/engine/grain"
)

// TestClientsThatComeAnewHaveNoNewRate: a client that spends the rate of new activations gets no other
// one by connecting again. Members have their own.
func TestClientsThatComeAnewHaveNoNewRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kind := keeperKind("Keeper", nil)
		kind.MaxNewRate = 10
		c := clustertest.Start(t, clustertest.Config{Members: 1, Lookup: newRing, Kinds: grain.Kinds{kind}})
		taken := 0
		for i := range 4 {
			client := c.AddClient()
			for j := range 10 {
				_, err := keep(t.Context(), client, "Keeper", fmt.Sprint(i, j), "x")
				switch {
				case err == nil:
					taken++
				case !errors.Is(err, core.ErrOverloaded) || core.DeliveryOf(err) != core.Undelivered:
					t.Fatal(err)
				}
			}
		}
		if taken < 10 || taken > 15 {
			t.Errorf("4 clients made 40 calls and %d activations at once, the rate is 10 a second", taken)
		}
		if _, err := keep(t.Context(), c.Node(0), "Keeper", "member", "x"); err != nil {
			t.Errorf("a member: %v", err)
		}
		time.Sleep(time.Second)
		if _, err := keep(t.Context(), c.AddClient(), "Keeper", "after", "x"); err != nil {
			t.Errorf("a second later: %v", err)
		}
	})
}
