package nodes_test

import (
	"context"
	"testing"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/leaktest"
	"github.com/granary-go/granary/engine/grain"
	"github.com/granary-go/granary/lookups/disthash"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

func newDisthash() (core.Lookup, error) { return disthash.New(disthash.Config{}) }

// counter is a grain that counts its calls. One whose key is "hangs" does not end before it is told to.
type counter struct {
	self  grain.Self
	calls int
}

func (c *counter) Add(_ context.Context, n int) (int, error) {
	c.calls += n
	return c.calls, nil
}

func (c *counter) Deactivate(ctx context.Context, _ core.StopReason) error {
	if c.self.Identity().Key == "hangs" {
		<-ctx.Done()
		return ctx.Err()
	}
	return nil
}

func counterKind(name string) grain.Kind {
	return grain.KindOf(name, func(self grain.Self) (*counter, error) { return &counter{self: self}, nil }, grain.Method("Add", (*counter).Add))
}

func add(ctx context.Context, c grain.Caller, kind, key string) error {
	_, err := grain.Call[int](ctx, c, core.Identity{Kind: kind, Key: key}, "Add", 1)
	return err
}
