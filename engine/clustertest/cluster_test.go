package clustertest_test

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/granary-go/granary/core/leaktest"
	"github.com/granary-go/granary/engine/clustertest"
	"github.com/granary-go/granary/engine/grain"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

type counter struct{ n int }

func counterKind() grain.Kind {
	return grain.KindOf("Counter", func(grain.Self) (*counter, error) { return &counter{}, nil },
		grain.Method("Add", func(c *counter, _ context.Context, by int) (int, error) {
			c.n += by
			return c.n, nil
		}))
}

func TestCallsFromEveryMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clustertest.Start(t, clustertest.Config{Kinds: grain.Kinds{counterKind()}})
		c.Agree()
		for i, id := range clustertest.Identities("Counter", 20) {
			for want, n := range c.Nodes() {
				got, err := grain.Call[int](t.Context(), n, id, "Add", 1)
				if err != nil || got != want+1 {
					t.Fatalf("call %d of %s: %d, %v; want %d", i, id, got, err, want+1)
				}
			}
			if hosts := c.Hosts(id); len(hosts) != 1 {
				t.Fatalf("%s runs on %d members", id, len(hosts))
			}
		}
	})
}

func TestKillAndStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clustertest.Start(t, clustertest.Config{Members: 4, Kinds: grain.Kinds{counterKind()}})
		c.Agree()
		ids := clustertest.Identities("Counter", 20)
		all := func() {
			t.Helper()
			for _, id := range ids {
				for _, n := range c.Nodes() {
					if _, err := grain.Call[int](t.Context(), n, id, "Add", 1); err != nil {
						t.Fatalf("%s from %s: %v", id, n.ID(), err)
					}
				}
			}
		}
		all()
		c.Kill(1)
		c.Agree()
		all()
		if err := c.Stop(2); err != nil {
			t.Fatal(err)
		}
		c.Agree()
		all()
		c.Add()
		c.Agree()
		all()
	})
}

func TestCutAndHeal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clustertest.Start(t, clustertest.Config{Kinds: grain.Kinds{counterKind()}})
		c.Agree()
		c.Cut(0, 1)
		c.Heal(0, 1)
		if _, err := grain.Call[int](t.Context(), c.Node(0), clustertest.Identities("Counter", 1)[0], "Add", 1); err != nil {
			t.Fatal(err)
		}
	})
}
