package cluster_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/actor"
	"github.com/granary-go/granary/engine/cluster"
	"github.com/granary-go/granary/engine/clustertest"
	"github.com/granary-go/granary/engine/grain"
)

// tries counts the failed attempts of each call.
type tries struct {
	mu   sync.Mutex
	of   map[core.Identity]int
	dead int // that met something that had ended
}

func (s *tries) retried(id core.Identity, _ int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of == nil {
		s.of = map[core.Identity]int{}
	}
	s.of[id]++
	if errors.Is(err, actor.ErrDeadLetter) || errors.Is(err, core.ErrUnreachable) {
		s.dead++
	}
}

// take gives the most failed attempts of one identity, and how many met something dead.
func (s *tries) take() (most, dead int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range s.of {
		most = max(most, n)
	}
	dead = s.dead
	s.of, s.dead = nil, 0
	return most, dead
}

// departing is three members, the first of which has called every grain and remembers where it is.
func departing(t *testing.T, lookup func() (core.Lookup, error)) (c *clustertest.Cluster, ids []core.Identity, failed *tries) {
	t.Helper()
	failed = &tries{}
	c = clustertest.Start(t, clustertest.Config{Lookup: lookup, Kinds: grain.Kinds{keeperKind("Keeper", nil)}, Node: func(i int, _ *cluster.Config, parts *cluster.Components) {
		if i == 0 {
			parts.Telemetry.Observer.Retried = failed.retried
		}
	}})
	c.Agree()
	ids = clustertest.Identities("Keeper", 60)
	callAll(t, c.Node(0), ids)
	failed.take()
	return c, ids, failed
}

func callAll(t *testing.T, from *cluster.Node, ids []core.Identity) {
	t.Helper()
	for _, id := range ids {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		if _, err := keep(ctx, from, id.Kind, id.Key, "x"); err != nil {
			t.Errorf("%s: %v", id, err)
		}
		cancel()
	}
}

var lookups = []struct {
	name string
	make func() (core.Lookup, error)
}{{"directory", nil}, {"ring", newRing}}

// TestDepartureCostsNoTry once the view shows it: what was remembered of the member is forgotten, so a
// call meets nothing dead.
func TestDepartureCostsNoTry(t *testing.T) {
	for _, lookup := range lookups {
		for _, kill := range []bool{false, true} {
			t.Run(lookup.name+map[bool]string{false: ", stopped", true: ", killed"}[kill], func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					c, ids, failed := departing(t, lookup.make)
					if kill {
						c.Kill(2)
					} else if err := c.Stop(2); err != nil {
						t.Error(err)
					}
					c.Agree()
					callAll(t, c.Node(0), ids)
					if most, dead := failed.take(); dead != 0 {
						t.Errorf("%d attempts met the member that has gone; at most %d for one grain", dead, most)
					}
				})
			})
		}
	}
}

// TestEndCostsOneTryAtMost has grains end on a member that stays: a caller that has not heard of it meets
// what has ended once, and is then told where the next one is.
func TestEndCostsOneTryAtMost(t *testing.T) {
	for _, lookup := range lookups {
		t.Run(lookup.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, ids, failed := departing(t, lookup.make)
				for _, id := range ids {
					for _, n := range c.Hosts(id) {
						if _, err := keep(t.Context(), n, id.Kind, id.Key, "stop"); err != nil {
							t.Error(err)
						}
					}
				}
				synctest.Wait()            // they have ended
				callAll(t, c.Node(0), ids) // notices are 5 ms late
				most, dead := failed.take()
				if most > 1 || dead == 0 || dead > len(ids) {
					t.Errorf("at most %d failed attempts for one grain and %d in all; want 1, and some", most, dead)
				}
				callAll(t, c.Node(0), ids)
				if most, _ := failed.take(); most != 0 {
					t.Errorf("%d failed attempts of a second call", most)
				}
			})
		})
	}
}
