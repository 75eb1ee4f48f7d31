package cluster_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/memory"
	"github.com/granary-go/granary/engine/cluster"
	"github.com/granary-go/granary/engine/clustertest"
	"github.com/granary-go/granary/engine/grain"
)

// patient is a provider that knows how patient one has to be.
type patient struct {
	*told
	grace time.Duration
}

func (p patient) RemovalGrace() time.Duration { return p.grace }

// testRemovalGrace: a member that is missed is kept for as long as the configuration says, or else the
// provider, or else for 2 s; one that comes back meanwhile has not moved anything.
func testRemovalGrace(t *testing.T) {
	for _, test := range []struct {
		name     string
		set      time.Duration
		provider time.Duration // -1: it does not say
		want     time.Duration
	}{
		{"default", 0, -1, 2 * time.Second},
		{"of the provider", 0, 5 * time.Second, 5 * time.Second},
		{"none of the provider", 0, 0, 0},
		{"set", 10 * time.Second, 5 * time.Second, 10 * time.Second},
		{"none", -1, 5 * time.Second, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &told{}
				n, h := toldNode(t, s, func(cfg *cluster.Config, parts *cluster.Components) {
					cfg.RemovalGrace = test.set
					if test.provider >= 0 {
						parts.Provider = patient{s, test.provider}
					}
				})
				h.call("x", "x")
				s.set(row("x", "10.0.0.1:1"))
				h.take()
				s.set()
				began := time.Now()
				for n.View().Len() == 2 && time.Since(began) < time.Minute {
					time.Sleep(time.Millisecond)
				}
				if took := time.Since(began); took < test.want || took > test.want+10*time.Millisecond {
					t.Errorf("kept for %v, want %v", took, test.want)
				}
				if test.want == 0 {
					return
				}
				s.set(row("x", "10.0.0.1:1"))
				synctest.Wait()
				epoch := n.View().Epoch()
				s.set()
				time.Sleep(test.want / 2)
				s.set(row("x", "10.0.0.1:1"))
				time.Sleep(test.want)
				if n.View().Epoch() != epoch {
					t.Error("a flap that was shorter than the grace has moved the view")
				}
			})
		})
	}
}

// testProbes: how soon a silent member is a suspect follows from interval and misses.
func testProbes(t *testing.T) {
	for _, test := range []struct {
		interval time.Duration
		misses   int
		min, max time.Duration
	}{
		{0, 0, 3 * time.Second, 5 * time.Second},
		{200 * time.Millisecond, 0, 600 * time.Millisecond, time.Second},
		{0, 10, 10 * time.Second, 12 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			hub, err := memory.New(slowHub)
			if err != nil {
				t.Fatal(err)
			}
			c := clustertest.Start(t, clustertest.Config{Members: 2, Node: func(_ int, cfg *cluster.Config, parts *cluster.Components) {
				parts.Provider, parts.Lookup = storeless{hub.Provider()}, hub.Lookup()
				cfg.ProbeInterval, cfg.ProbeMisses = test.interval, test.misses
				cfg.Limits.Keepalive = time.Hour // the links do not find out
			}})
			c.Agree()
			time.Sleep(time.Second)
			c.Cut(0, 1)
			began := time.Now()
			for len(c.Node(0).Health().Suspects) == 0 && c.Node(0).View().Len() == 2 && time.Since(began) < time.Minute {
				time.Sleep(10 * time.Millisecond)
			}
			c.Heal(0, 1)
			if took := time.Since(began); took < test.min || took > test.max {
				t.Errorf("interval %v, misses %d: suspected after %v, want %v to %v", test.interval, test.misses, took, test.min, test.max)
			}
		})
	}
}

func testBroadcasts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, types := range [][]proto.Message{nil, {&wrapperspb.StringValue{}}} {
			c := nodes(t, 1, func(cfg *cluster.Config) { cfg.Broadcasts = types })
			if _, err := c.Node(0).Broadcast(t.Context(), wrapperspb.String("x")); (err == nil) != (types != nil) {
				t.Errorf("%d types: %v", len(types), err)
			}
		}
	})
}

// TestBadViews reports what no provider should: the node goes on, serves, and installs what it can.
func TestBadViews(t *testing.T) {
	many := make([]core.Member, 10_000)
	if raced {
		many = many[:1_000]
	}
	for i := range many {
		many[i] = row(core.MemberID(fmt.Sprintf("m%05d", i)), fmt.Sprintf("10.0.%d.%d:1", i/250, i%250+1))
	}
	for _, test := range []struct {
		name             string
		do               func(s *told)
		ordered, without int // members in the view, with and without an order; -1: evicted
	}{
		{"empty", func(s *told) { s.tellOnly() }, -1, 1},
		{"without self", func(s *told) { s.tellOnly(row("x", "10.0.0.1:1")) }, -1, 2},
		{"port 0", func(s *told) { s.set(row("x", "10.0.0.1:0")) }, 2, 1},
		{"port 70000", func(s *told) { s.set(row("x", "10.0.0.1:70000")) }, 2, 1},
		{"no port", func(s *told) { s.set(row("x", "10.0.0.1")) }, 2, 1},
		{"two at one address", func(s *told) {
			s.set(row("x", "10.0.0.1:1"))
			synctest.Wait()
			s.set(row("x", "10.0.0.1:1"), row("y", "10.0.0.1:1"))
		}, 3, 2},
		{"10,000 members", func(s *told) { s.set(many...) }, len(many) + 1, len(many) + 1},
		{"back in epoch", func(s *told) {
			s.set(row("x", "10.0.0.1:1"))
			synctest.Wait()
			s.epoch -= 2
			s.set()
		}, 2, 1},
		{"the same again", func(s *told) {
			for range 5 {
				s.epoch--
				s.report()
				synctest.Wait()
			}
		}, 1, 1},
		{"of another cluster", func(s *told) {
			s.lineage = "another"
			s.set(row("x", "10.0.0.1:1"))
		}, 2, 2},
		{"of another cluster, without self", func(s *told) {
			s.lineage = "another"
			s.tellOnly(row("x", "10.0.0.1:1"))
		}, 1, 2},
		{"nil", func(s *told) { s.tell(nil) }, 1, 1},
	} {
		for _, ordered := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, ordered %v", test.name, ordered), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := &told{lineage: "one", promises: core.Promises{Ordered: ordered}}
					n, _ := toldNode(t, s, func(cfg *cluster.Config, parts *cluster.Components) {
						cfg.RemovalGrace = -1
						parts.Lookup, _ = newRing()
						parts.Kinds = grain.Kinds{keeperKind("Keeper", nil)}
					})
					test.do(s)
					synctest.Wait()
					want := test.without
					if ordered {
						want = test.ordered
					}
					_, err := keep(t.Context(), n, "Keeper", "x", "x")
					if want < 0 {
						if n.Health().Live || err == nil {
							t.Errorf("it was put out and goes on: %+v, %v", n.Health(), err)
						}
						return
					}
					if got := n.View().Len(); got != want || !n.Health().Ready || err != nil {
						t.Errorf("%d members, want %d; %+v, %v", got, want, n.Health(), err)
					}
					s.lineage, s.epoch = "one", s.epoch+10
					s.set()
					synctest.Wait()
					if n.View().Len() != 1 || !n.Health().Live {
						t.Errorf("afterwards %d members, %+v", n.View().Len(), n.Health())
					}
				})
			})
		}
	}
}

// TestDuplicateRows cannot be reported at all: no view of them can be made.
func TestDuplicateRows(t *testing.T) {
	_, err := core.NewView(core.ViewRecord{Members: []core.Member{row("x", "10.0.0.1:1"), row("x", "10.0.0.2:1")}})
	if err == nil {
		t.Error("a view with one ID twice")
	}
}

// TestRestartOnOneAddress 50 times, by turns in order and killed: each start serves, and none is taken for
// the one before.
func TestRestartOnOneAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clustertest.Start(t, clustertest.Config{Members: 2, Lookup: newRing, Kinds: grain.Kinds{keeperKind("Keeper", nil)}, Node: func(i int, cfg *cluster.Config, _ *cluster.Components) {
			if i >= 2 {
				cfg.Address = "127.0.0.1:7002"
			}
		}})
		c.Agree()
		all := clustertest.Identities("Keeper", 60) // so many that each of three members has some
		for round := range 50 {
			ids := all
			if round > 0 {
				ids = all[:8]
			}
			n := c.Add()
			c.Agree()
			for _, from := range c.Nodes() {
				for _, id := range ids {
					ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
					if _, err := keep(ctx, from, id.Kind, id.Key, "x"); err != nil {
						t.Fatalf("round %d: %v", round, err)
					}
					cancel()
				}
			}
			if n.Kinds()[0].Live == 0 && round == 0 {
				t.Error("nothing runs on the new member")
			}
			last := c.Len() - 1
			if round%2 == 1 {
				c.Kill(last)
				continue // the next one starts while the row of this one still stands
			}
			if err := c.Stop(last); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// TestKindsPlaceByTheirStrategy: each kind by its own, over a directory.
func TestKindsPlaceByTheirStrategy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := core.StrategyFunc(func(_ core.Identity, c []core.Member) (core.Member, bool) { return c[0], true })
		own, plain := keeperKind("Own", nil), keeperKind("Plain", nil)
		own.Strategy = first
		c := clustertest.Start(t, clustertest.Config{Members: 3, Kinds: grain.Kinds{own, plain}})
		view := c.Agree()
		for i := range 30 {
			for _, kind := range []string{"Own", "Plain"} {
				if _, err := keep(t.Context(), c.Node(i%3), kind, fmt.Sprint(i), "x"); err != nil {
					t.Fatal(err)
				}
			}
		}
		smallest := slices.Collect(view.All())[0].ID
		for _, n := range c.Nodes() {
			kinds := n.Kinds()
			if n.ID() == smallest && kinds[0].Live != 30 || n.ID() != smallest && kinds[0].Live != 0 {
				t.Errorf("member %s (the first is %s) runs %d of the kind that wants the first", n.ID(), smallest, kinds[0].Live)
			}
			if kinds[1].Live == 0 || kinds[1].Live == 30 {
				t.Errorf("member %s runs %d of the kind without a strategy", n.ID(), kinds[1].Live)
			}
		}
	})
}
