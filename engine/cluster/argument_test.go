package cluster_test

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/cluster"
	"github.com/granary-go/granary/engine/grain"
)

// An argument of another type is refused alike here and on another member: the method did not run.
func TestArgumentOfAnotherType(t *testing.T) {
	for name, arg := range map[string]any{"a message": wrapperspb.String("x"), "a number": 7, "too deep": grain.JSON(strings.Repeat("[", 65))} {
		t.Run(name, func(t *testing.T) {
			bothWays(t, nil, func(t *testing.T, caller *cluster.Node, p *pair) {
				_, err := grain.Call[string](t.Context(), caller, core.Identity{Kind: "Keeper", Key: "k"}, "Keep", arg)
				if grain.CodeOf(err) != grain.InvalidArgument || core.DeliveryOf(err) != core.Undelivered {
					t.Errorf("%v: %v, %v", err, grain.CodeOf(err), core.DeliveryOf(err))
				}
				if p.events.count("keep") != 0 {
					t.Errorf("events %v", p.events.take())
				}
			})
		})
	}
}
