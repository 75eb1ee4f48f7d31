package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/memory"
	"github.com/granary-go/granary/core/strategy"
	"github.com/granary-go/granary/engine/cluster"
	"github.com/granary-go/granary/engine/clustertest"
	"github.com/granary-go/granary/engine/grain"
)

// noted is a strategy whose picks are remembered.
type noted struct {
	core.Strategy
	mu    *sync.Mutex
	picks map[core.Identity]core.MemberID
}

func (s noted) with(inner core.Strategy) core.Strategy {
	s.Strategy = inner
	return s
}

func (s noted) For(self core.MemberID) core.Strategy {
	if inner, ok := s.Strategy.(core.LocalStrategy); ok {
		return s.with(inner.For(self))
	}
	return s
}

func (s noted) Under(loads core.Loads) core.Strategy {
	if inner, ok := s.Strategy.(core.LoadStrategy); ok {
		return s.with(inner.Under(loads))
	}
	return s
}

func (s noted) Pick(id core.Identity, hosts []core.Member) (core.Member, bool) {
	m, ok := s.Strategy.Pick(id, hosts)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.picks[id] = m.ID
	return m, ok
}

func (s noted) of(id core.Identity) core.MemberID {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.picks[id]
}

func greatest(_ core.Identity, hosts []core.Member) (core.Member, bool) {
	return hosts[len(hosts)-1], true // they come in ascending order
}

// hostedBy starts members of which the first few host the kind.
func hostedBy(t *testing.T, hosts, members int, k grain.Kind, edit func(i int, cfg *cluster.Config, parts *cluster.Components)) *clustertest.Cluster {
	return clustertest.Start(t, clustertest.Config{Members: members, Hub: memory.Config{TTL: 20 * time.Second}, Node: func(i int, cfg *cluster.Config, parts *cluster.Components) {
		if i < hosts {
			parts.Kinds = grain.Kinds{k}
		}
		if edit != nil {
			edit(i, cfg, parts)
		}
	}})
}

// TestStrategyIsHeededFromElsewhere: the first call comes from a member that does not host the kind, from a
// client, or is one that nobody waits for. The kind's strategy places it all the same.
func TestStrategyIsHeededFromElsewhere(t *testing.T) {
	for name, s := range map[string]core.Strategy{
		"default": nil, "rendezvous": strategy.Rendezvous{}, "round robin": &strategy.RoundRobin{},
		"local first": strategy.LocalFirst{}, "least activations": strategy.LeastActivations{}, "its own": core.StrategyFunc(greatest),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				kind := keeperKind("Keeper", nil)
				note := noted{Strategy: s, mu: &sync.Mutex{}, picks: map[core.Identity]core.MemberID{}}
				if s != nil {
					kind.Strategy = note
				} else {
					note.Strategy = strategy.Rendezvous{}
				}
				c := hostedBy(t, 3, 5, kind, nil)
				client := c.AddClient()
				c.Agree()
				check := func(id core.Identity) {
					hosts := c.Hosts(id)
					if s == nil {
						_, _ = note.Pick(id, c.Node(0).View().Hosting("Keeper"))
					}
					if len(hosts) != 1 || hosts[0].ID() != note.of(id) {
						t.Errorf("%s runs on %d members, the strategy picked %s", id, len(hosts), note.of(id))
					}
				}
				for i, caller := range []*cluster.Node{c.Node(3), client} {
					for j := range 20 {
						id := core.Identity{Kind: "Keeper", Key: fmt.Sprint(i, " ", j)}
						if _, err := keep(t.Context(), caller, id.Kind, id.Key, "x"); err != nil {
							t.Fatal(err)
						}
						check(id)
						id.Key += " told"
						if err := grain.Tell(t.Context(), caller, id, "Keep", "x"); err != nil {
							t.Fatal(err)
						}
						synctest.Wait()
						check(id)
						for from, n := range []*cluster.Node{client, c.Node(4), c.Node(0)} {
							if got, err := keep(t.Context(), n, id.Kind, id.Key, "x"); got != fmt.Sprint(from+2) || err != nil {
								t.Errorf("%s, told once: %q, %v", id, got, err)
							}
						}
					}
				}
			})
		})
	}
}

// TestAnotherHostIsAsked when the one that would be is dead, or stands still, though in the view: calls are
// neither lost nor wait for its removal.
func TestAnotherHostIsAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var alive core.MemberID
		kind := keeperKind("Keeper", nil)
		kind.Strategy = core.StrategyFunc(func(_ core.Identity, hosts []core.Member) (core.Member, bool) {
			for _, m := range hosts {
				if m.ID == alive {
					return m, true
				}
			}
			return core.Member{}, false
		})
		c := hostedBy(t, 3, 4, kind, func(_ int, _ *cluster.Config, parts *cluster.Components) {
			parts.Provider = voteless{parts.Provider, parts.Provider.(crasher)}
		})
		client := c.AddClient()
		c.Agree()
		alive = c.Node(0).ID()
		c.Kill(1)
		c.Pause(2)
		defer c.Resume(2)
		for i, caller := range []*cluster.Node{c.Node(3), client} {
			for j := range 30 {
				ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
				_, err := keep(ctx, caller, "Keeper", fmt.Sprint(i, j), "x")
				cancel()
				if err != nil {
					t.Errorf("call %d: %v", j, err)
				}
			}
			if _, listed := caller.View().Member(c.Node(1).ID()); !listed {
				t.Error("the dead one was removed before")
			}
		}
	})
}

// TestWhatLivesOnALeaverIsFound although nobody is up who hosts the kind, and what does not live yet is not
// placed by whoever calls.
func TestWhatLivesOnALeaverIsFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c *clustertest.Cluster
		looked := false
		c = hostedBy(t, 1, 2, keeperKind("Keeper", nil), func(i int, cfg *cluster.Config, _ *cluster.Components) {
			if i != 0 {
				return
			}
			cfg.Seams.Step = func(step string) {
				if step != "stop.drain" {
					return
				}
				looked = true
				if hosts := c.Node(1).View().Hosting("Keeper"); len(hosts) > 0 {
					t.Errorf("%v is up", hosts)
				}
				if got, err := keep(t.Context(), c.Node(1), "Keeper", "x", "x"); got != "2" || err != nil {
					t.Errorf("what lives on the leaver: %q, %v", got, err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
				defer cancel()
				if _, err := keep(ctx, c.Node(1), "Keeper", "y", "y"); !errors.Is(err, core.ErrNoMember) {
					t.Errorf("what does not live: %v", err)
				}
			}
		})
		c.Agree()
		if _, err := keep(t.Context(), c.Node(0), "Keeper", "x", "x"); err != nil {
			t.Fatal(err)
		}
		if err := c.Stop(0); err != nil || !looked {
			t.Errorf("stop: %v, looked: %v", err, looked)
		}
	})
}
