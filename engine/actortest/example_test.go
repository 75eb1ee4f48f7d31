package actortest_test

import (
	"context"
	"fmt"
	"io"
	"slices"
	"testing"

	"github.com/granary-go/granary/engine/actor"
	"github.com/granary-go/granary/engine/actortest"
)

// exampleTB stands in for the *testing.T that an example does not have.
type exampleTB struct {
	testing.TB
	cleanups []func()
}

func (*exampleTB) Helper()                  {}
func (*exampleTB) Name() string             { return "Example" }
func (*exampleTB) Output() io.Writer        { return io.Discard }
func (*exampleTB) Context() context.Context { return context.Background() }
func (e *exampleTB) Cleanup(f func())       { e.cleanups = append(e.cleanups, f) }

func (e *exampleTB) end() {
	for _, f := range slices.Backward(e.cleanups) {
		f()
	}
}

func Example() {
	t := &exampleTB{} // in a test, its *testing.T
	defer t.end()

	sys := actortest.NewSystem(t, actor.Config{})
	probe := actortest.NewProbe(t, sys)
	ref := actortest.Spawn(t, sys, actortest.Immutable(t, actor.FromFunc(func(c *actor.Context) {
		if name, ok := c.Message().(string); ok {
			_ = c.Respond("hello " + name)
		}
	})))
	probe.Send(ref, "you")
	fmt.Println(actortest.Expect[string](probe))
	// Output: hello you
}
