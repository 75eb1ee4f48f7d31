package actortest_test

import (
	"fmt"
	"testing"

	"github.com/granary-go/granary/engine/actor"
	"github.com/granary-go/granary/engine/actortest"
)

// What stands in the body of a test function.
func Example() {
	test := func(t *testing.T) {
		sys := actortest.NewSystem(t, actor.Config{})
		probe := actortest.NewProbe(t, sys)
		ref := actortest.Spawn(t, sys, actortest.Immutable(t, actor.FromFunc(func(c *actor.Context) {
			if name, ok := c.Message().(string); ok {
				_ = c.Respond("hello " + name)
			}
		})))
		probe.Send(ref, "you")
		fmt.Println(actortest.Expect[string](probe))
	}
	fmt.Println(testing.RunTests(func(string, string) (bool, error) { return true, nil }, []testing.InternalTest{{Name: "TestGreeter", F: test}}))
	// Output:
	// hello you
	// true
}
