package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/cluster"
	"github.com/granary-go/granary/engine/clustertest"
	"github.com/granary-go/granary/engine/grain"
	"github.com/granary-go/granary/engine/remote"
)

// walker is a grain that calls the next one of a path, by the way that the test picks. Home lives on
// the second of two members, Away on the first.
type walker struct {
	grain.Self
	world *walkers
}

type walkers struct {
	*clustertest.Cluster
	via string
}

// caller is what the walker calls by.
func (w *walker) caller() grain.Caller {
	own, other := 1, 0
	if w.Identity().Kind == "Away" {
		own, other = 0, 1
	}
	switch w.world.via {
	case "its node":
		return w.world.Node(own)
	case "the other node":
		return w.world.Node(other)
	}
	return w.Self
}

func (w *walker) Walk(ctx context.Context, path []core.Identity) (string, error) {
	turn, ok := grain.FromContext(ctx)
	if !ok || turn.Identity() != w.Identity() {
		return "", fmt.Errorf("the turn of %s is that of %s, %v", w.Identity(), turn.Identity(), ok)
	}
	if len(path) == 0 {
		return "the end", nil
	}
	return grain.Call[string](ctx, w.caller(), path[0], "Walk", path[1:])
}

func newWalkers(t *testing.T) *walkers {
	t.Helper()
	w := &walkers{}
	kind := func(name string) grain.Kinds {
		return grain.Kinds{grain.KindOf(name, func(self grain.Self) (*walker, error) { return &walker{self, w}, nil },
			grain.Method("Walk", (*walker).Walk))}
	}
	kinds := []grain.Kinds{kind("Away"), kind("Home")}
	w.Cluster = clustertest.Start(t, clustertest.Config{Members: 2, Lookup: newRing, Network: remote.MemoryConfig{Delay: 100 * time.Microsecond},
		Node: func(i int, _ *cluster.Config, parts *cluster.Components) { parts.Kinds = kinds[i] }})
	w.Agree()
	return w
}

// TestCycles closes chains of calls, which start on the first grain's own member or on another one, go
// over one member or two, and by each kind of caller. The call that closes the ring is refused at once.
func TestCycles(t *testing.T) {
	a, b, c, x := id("Home", "a"), id("Home", "b"), id("Home", "c"), id("Away", "x")
	rings := map[string][]core.Identity{
		"itself":                  {a, a},
		"two on one member":       {a, b, a},
		"two on two members":      {a, x, a},
		"three on one member":     {a, b, c, a},
		"three on two members":    {a, x, b, a},
		"not through the first":   {a, b, c, b},
		"not through the first 2": {a, x, b, x},
	}
	for _, first := range []string{"local", "remote"} {
		for _, via := range []string{"self", "its node", "the other node"} {
			t.Run(first+" by "+via, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWalkers(t)
					w.via = via
					caller := w.Node(1)
					if first == "remote" {
						caller = w.Node(0)
					}
					if end, err := walk(t.Context(), caller, a, x, b, c); end != "the end" || err != nil {
						t.Errorf("without a ring: %q, %v", end, err)
					}
					for name, ring := range rings {
						ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
						began := time.Now()
						_, err := walk(ctx, caller, ring...)
						cancel()
						if e, ok := errors.AsType[*grain.Error](err); !ok || e.Reason != grain.ReasonCycle {
							t.Errorf("%s: %v", name, err)
						}
						if took := time.Since(began); took > time.Second {
							t.Errorf("%s: it took %v", name, took)
						}
					}
				})
			})
		}
	}
}

func id(kind, key string) core.Identity { return core.Identity{Kind: kind, Key: key} }

func walk(ctx context.Context, c grain.Caller, path ...core.Identity) (string, error) {
	return grain.Call[string](ctx, c, path[0], "Walk", path[1:])
}

// TestNoCycleAcrossClusters has grains of one name in two clusters of one process: the call is no ring.
func TestNoCycleAcrossClusters(t *testing.T) {
	var other *cluster.Node
	kind := func(next func() grain.Caller) grain.Kind {
		return scriptedKind("A", nil, script(func(_ *scripted, ctx context.Context) error {
			if c := next(); c != nil {
				return do(ctx, c, "A", "Do")
			}
			return nil
		}).method("Do"))
	}
	node := single(t, cluster.Config{}, kind(func() grain.Caller { return other }))
	back := single(t, cluster.Config{}, kind(func() grain.Caller { return nil }))
	other = single(t, cluster.Config{}, kind(func() grain.Caller { return back }))
	if err := do(t.Context(), node, "A", "Do"); err != nil {
		t.Error(err)
	}
}

// hooked tells in each of its hooks and methods whose turn it finds itself in.
type hooked struct {
	self grain.Self
	tell func(where string, ctx context.Context)
}

func (h *hooked) Activate(ctx context.Context) error {
	h.tell("Activate", ctx)
	h.self.After(0, func(ctx context.Context) error { h.tell("After", ctx); return nil })
	return nil
}

func (h *hooked) Deactivate(ctx context.Context, _ core.StopReason) error {
	h.tell("Deactivate", ctx)
	return nil
}

// TestTurnOfEveryCall is found by the context of each handler and hook, wherever the call came from.
func TestTurnOfEveryCall(t *testing.T) {
	bothWaysTurn(t, func(t *testing.T, caller, own *cluster.Node, seen *events) {
		if err := do(t.Context(), caller, "H", "Do"); err != nil {
			t.Error(err)
		}
		if err := grain.Tell(t.Context(), caller, id("H", "k"), "Do", 0); err != nil {
			t.Error(err)
		}
		if _, err := grain.Call[int](t.Context(), caller, id("H", "k"), "Do", 0, grain.Header("h", "v")); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Second)
		if err := own.Stop(context.Background()); err != nil {
			t.Error(err)
		}
		for _, where := range []string{"Activate", "After", "Deactivate", "Handle", "Do"} {
			want := 1
			if where == "Handle" || where == "Do" {
				want = 3
			}
			if n := seen.count(where+" by "+string(own.Self().ID)) + seen.count(where+" by "+string(caller.Self().ID)); n < want {
				t.Errorf("%s: %d times, want %d", where, n, want)
			}
		}
		if n := seen.count("lost"); n > 0 {
			t.Errorf("%d without their turn: %v", n, seen.take())
		}
	})
}

func bothWaysTurn(t *testing.T, f func(t *testing.T, caller, own *cluster.Node, seen *events)) {
	for i, way := range []string{"remote", "local"} {
		t.Run(way, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				seen := &events{}
				tell := func(where string, ctx context.Context) {
					turn, ok := grain.FromContext(ctx)
					if !ok || turn.Identity() != id("H", "k") {
						where = "lost " + where
					}
					seen.add(where + " by " + string(turn.Peer.ID))
				}
				kind := grain.KindOf("H", func(self grain.Self) (*hooked, error) { return &hooked{self, tell}, nil },
					grain.Method("Do", func(h *hooked, ctx context.Context, n int) (int, error) { h.tell("Do", ctx); return n, nil }))
				c := clustertest.Start(t, clustertest.Config{Members: 2, Lookup: newRing, Node: func(i int, _ *cluster.Config, parts *cluster.Components) {
					if i == 1 {
						parts.Kinds = grain.Kinds{kind}
						parts.Interceptors = grain.Interceptors{{Handle: func(ctx context.Context, in grain.Invocation, next grain.HandleFunc) (any, error) {
							tell("Handle", ctx)
							return next(ctx, in)
						}}}
					}
				}})
				c.Agree()
				f(t, c.Node(i), c.Node(1), seen)
			})
		})
	}
}
