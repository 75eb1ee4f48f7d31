package cluster_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/cluster"
	"github.com/granary-go/granary/engine/clustertest"
	"github.com/granary-go/granary/engine/grain"
)

// stopper is a grain that stops a node of its process, or has the next one of a path do so.
type stopper struct {
	self grain.Self
	stop func(ctx context.Context) error
}

func (s *stopper) Stop(ctx context.Context, path []core.Identity) (string, error) {
	if len(path) == 0 {
		return "stopped", s.stop(ctx)
	}
	return grain.Call[string](ctx, s.self, path[0], "Stop", path[1:])
}

// Later leaves the stop to somebody else, and passes its ctx on to it.
func (s *stopper) Later(ctx context.Context, done chan error) (string, error) {
	go func() {
		time.Sleep(time.Second)
		done <- s.stop(ctx)
	}()
	return "", nil
}

// TestStopWithinATurn is refused at once, and tells what to do: in the turn of a grain of the node, and in one
// that such a turn waits for. Where it has not to wait for itself it stops.
func TestStopWithinATurn(t *testing.T) {
	first, second := core.Identity{Kind: "First", Key: "x"}, core.Identity{Kind: "Second", Key: "x"}
	for _, test := range []struct {
		name string
		path []core.Identity // of the call; the first node is stopped by the last of it
		held bool
	}{
		{"in a turn of the node", []core.Identity{first}, true},
		{"in a turn of another node", []core.Identity{second}, false},
		{"in one that a turn of the node waits for", []core.Identity{first, second}, true},
		{"in one further on", []core.Identity{second, first, second}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var c *clustertest.Cluster
				kind := func(name string) grain.Kinds {
					k := grain.KindOf(name, func(self grain.Self) (*stopper, error) {
						return &stopper{self, func(ctx context.Context) error { return c.Node(0).Stop(ctx) }}, nil
					}, grain.Method("Stop", (*stopper).Stop).Reentrant())
					return grain.Kinds{k}
				}
				c = clustertest.Start(t, clustertest.Config{Members: 2, Node: func(i int, _ *cluster.Config, parts *cluster.Components) {
					parts.Kinds = kind([]string{"First", "Second"}[i])
				}})
				c.Agree()
				began := time.Now()
				path := append([]core.Identity{}, test.path[1:]...)
				_, err := grain.Call[string](t.Context(), c.Node(1), test.path[0], "Stop", path)
				took := time.Since(began)
				if !test.held {
					if err != nil || c.Node(0).Health().Live {
						t.Errorf("%v, live: %v", err, c.Node(0).Health().Live)
					}
					return
				}
				if grain.ReasonOf(err) != grain.ReasonCycle || grain.CodeOf(err) != grain.FailedPrecondition || !strings.Contains(err.Error(), "stop from another goroutine") {
					t.Errorf("%v", err)
				}
				if took > 10*time.Millisecond || !c.Node(0).Health().Live {
					t.Errorf("after %v; live: %v", took, c.Node(0).Health().Live)
				}
				if err := c.Stop(0); err != nil {
					t.Errorf("afterwards: %v", err)
				}
			})
		})
	}
}

// TestStopAfterTheTurn: the ctx of a turn that is over holds nobody up.
func TestStopAfterTheTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c *clustertest.Cluster
		done := make(chan error, 1)
		k := grain.KindOf("First", func(self grain.Self) (*stopper, error) {
			return &stopper{self, func(ctx context.Context) error { return c.Node(0).Stop(context.WithoutCancel(ctx)) }}, nil
		}, grain.Method("Later", func(s *stopper, ctx context.Context, _ int) (string, error) { return s.Later(ctx, done) }))
		c = clustertest.Start(t, clustertest.Config{Members: 1, Kinds: grain.Kinds{k}})
		if _, err := grain.Call[string](t.Context(), c.Node(0), core.Identity{Kind: "First", Key: "x"}, "Later", 0); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil || c.Node(0).Health().Live {
			t.Errorf("%v, live: %v", err, c.Node(0).Health().Live)
		}
	})
}
