package cluster_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
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

// slowHub is a hub whose leases take long to run out, so that who is out sooner was voted out.
var slowHub = memory.Config{TTL: 10 * time.Minute}

// TestVotesEvictTheSilent well before any lease ends: at once where nobody listens any more, after three
// probes where nothing comes; and its grains run elsewhere.
func TestVotesEvictTheSilent(t *testing.T) {
	for name, test := range map[string]struct {
		silence func(c *clustertest.Cluster)
		within  time.Duration
	}{
		"killed": {func(c *clustertest.Cluster) { c.Kill(2) }, 3 * time.Second},
		"cut off": {func(c *clustertest.Cluster) {
			c.Cut(2, 0)
			c.Cut(2, 1)
		}, 8 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := clustertest.Start(t, clustertest.Config{Members: 3, Hub: slowHub, Lookup: newRing, Kinds: grain.Kinds{keeperKind("Keeper", nil)}})
				c.Agree()
				time.Sleep(3 * time.Second)
				began := time.Now()
				test.silence(c)
				for c.Node(0).View().Len() != 2 || c.Node(1).View().Len() != 2 {
					if time.Since(began) > time.Minute {
						t.Fatalf("not evicted; suspects %v and %v", c.Node(0).Health().Suspects, c.Node(1).Health().Suspects)
					}
					time.Sleep(10 * time.Millisecond)
				}
				if took := time.Since(began); took > test.within {
					t.Errorf("evicted after %v, want %v at most", took, test.within)
				}
				for _, id := range clustertest.Identities("Keeper", 30) {
					if _, err := keep(t.Context(), c.Node(0), id.Kind, id.Key, "x"); err != nil {
						t.Error(err)
					}
				}
				if name == "cut off" { // it learns that it is out, and does not come back
					c.Heal(2, 0)
					c.Heal(2, 1)
					ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
					defer cancel()
					for c.Node(2).Health().Live && ctx.Err() == nil {
						time.Sleep(time.Second)
					}
					_, err := keep(ctx, c.Node(2), "Keeper", "x", "x")
					if !errors.Is(err, core.ErrStopped) {
						t.Errorf("a call of the evicted: %v", err)
					}
				}
			})
		})
	}
}

// storeless is a provider with an order and without a view store.
type storeless struct{ core.Provider }

// TestSuspectStaysOwner: where identities have owners, a suspect keeps its own for as long as it is in the
// view. Calls to these end by their deadlines; to others they go on, and to all once it is heard again.
func TestSuspectStaysOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub, err := memory.New(slowHub)
		if err != nil {
			t.Fatal(err)
		}
		var rings []*ring
		lookup := func() (core.Lookup, error) {
			rings = append(rings, &ring{})
			return rings[len(rings)-1], nil
		}
		c := clustertest.Start(t, clustertest.Config{Members: 3, Lookup: lookup, Kinds: grain.Kinds{keeperKind("Keeper", nil)}, Node: func(_ int, _ *cluster.Config, parts *cluster.Components) {
			parts.Provider = storeless{hub.Provider()}
		}})
		c.Agree()
		time.Sleep(3 * time.Second)
		c.Cut(2, 0)
		c.Cut(2, 1)
		time.Sleep(10 * time.Second)
		silent := c.Node(2).ID()
		if got := c.Node(0).Health().Suspects; !slices.Equal(got, []core.MemberID{silent}) {
			t.Fatalf("suspects %v, want %s", got, silent)
		}
		owned := 0
		for _, id := range clustertest.Identities("Keeper", 60) {
			owner, _ := rings[0].Owner(id)
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			_, err := keep(ctx, c.Node(0), id.Kind, id.Key, "x")
			cancel()
			if owner.ID == silent {
				owned++
			}
			if (err != nil) != (owner.ID == silent) || err != nil && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, core.ErrUnreachable) {
				t.Errorf("%v, which %s owns: %v", id, owner.ID, err)
			}
		}
		if owned == 0 {
			t.Fatal("the suspect owns nothing: the test shows nothing")
		}
		c.HealAll()
		for _, id := range clustertest.Identities("Keeper", 60) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			if _, err := keep(ctx, c.Node(0), id.Kind, id.Key, "x"); err != nil {
				t.Error(err)
			}
			cancel()
		}
	})
}

// TestSuspicionAloneRemovesNobody where the provider has an order and no store for votes: the silent
// member stays in the view, gets nothing new, and is available again when it is heard.
func TestSuspicionAloneRemovesNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub, err := memory.New(slowHub)
		if err != nil {
			t.Fatal(err)
		}
		kind := keeperKind("Keeper", nil)
		c := clustertest.Start(t, clustertest.Config{Members: 3, Kinds: grain.Kinds{kind}, Node: func(_ int, _ *cluster.Config, parts *cluster.Components) {
			parts.Provider, parts.Lookup = storeless{hub.Provider()}, hub.Lookup()
		}})
		c.Agree()
		h := hear(c.Node(0))
		h.call(c.Node(2).ID(), "silent")
		time.Sleep(3 * time.Second)
		h.take()
		c.Cut(2, 0)
		c.Cut(2, 1)
		time.Sleep(6 * time.Second)
		if got := c.Node(0).Health().Suspects; !slices.Equal(got, []core.MemberID{c.Node(2).ID()}) {
			t.Errorf("suspects %v", got)
		}
		for _, id := range clustertest.Identities("Keeper", 60) {
			if _, err := keep(t.Context(), c.Node(0), id.Kind, id.Key, "x"); err != nil {
				t.Errorf("%s: %v", id, err)
			}
		}
		if live := c.Node(2).Kinds()[0].Live; live != 0 {
			t.Errorf("%d grains were placed on the suspect", live)
		}
		time.Sleep(5 * time.Minute)
		if c.Node(0).View().Len() != 3 {
			t.Errorf("%d members after a suspicion", c.Node(0).View().Len())
		}
		c.Heal(2, 0)
		c.Heal(2, 1)
		time.Sleep(time.Minute)
		h.want(t, "cut and healed", "MemberUnavailable silent", "MemberAvailable silent")
		for i, id := range clustertest.Identities("Keeper", 200)[60:] {
			if _, err := keep(t.Context(), c.Node(0), id.Kind, id.Key, "x"); err != nil {
				t.Errorf("%d: %v", i, err)
			}
		}
		if c.Node(2).Kinds()[0].Live == 0 {
			t.Error("nothing is placed there after it was heard again")
		}
	})
}

// TestIdleMembersAreHeard: nobody is suspected where nobody has anything to say, nor under loss of less
// than the patience.
func TestIdleMembersAreHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clustertest.Start(t, clustertest.Config{Members: 3, Lookup: newRing, Kinds: grain.Kinds{keeperKind("Keeper", nil)}})
		client := c.AddClient()
		c.Agree()
		time.Sleep(time.Second)
		h, hc := hear(c.Node(0)), hear(client)
		epoch := c.Node(0).View().Epoch()
		time.Sleep(time.Minute)
		c.Cut(0, 1)
		time.Sleep(1500 * time.Millisecond) // less than three probes
		c.Heal(0, 1)
		time.Sleep(time.Minute)
		h.want(t, "a member")
		hc.want(t, "a client")
		if got := c.Node(0).View().Epoch(); got != epoch {
			t.Errorf("the view has moved from epoch %d to %d", epoch, got)
		}
	})
}

// lagging is a clock whose timers can be held up, as those of a process that does not run.
type lagging struct {
	core.SystemClock
	mu   sync.Mutex
	late time.Duration
}

func (l *lagging) set(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.late = d
}

func (l *lagging) AfterFunc(d time.Duration, f func()) func() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if d > 10*time.Millisecond {
		d += l.late
	}
	return l.SystemClock.AfterFunc(d, f)
}

// TestSickMemberIsNotReady while its own timers are late, and tells so.
func TestSickMemberIsNotReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clock := &lagging{}
		c := clustertest.Start(t, clustertest.Config{Members: 2, Node: func(i int, cfg *cluster.Config, _ *cluster.Components) {
			if i == 0 {
				cfg.Seams.Clock = clock
			}
		}})
		c.Agree()
		n := c.Node(0)
		h := hear(n)
		if !n.Health().Ready {
			t.Fatal("it is not ready")
		}
		clock.set(3 * time.Second) // more than a quarter of the hub's TTL
		time.Sleep(10 * time.Second)
		if n.Health().Ready || !n.Health().Live {
			t.Errorf("while its timers are late: %+v", n.Health())
		}
		clock.set(0)
		time.Sleep(10 * time.Second)
		if !n.Health().Ready {
			t.Errorf("afterwards: %+v", n.Health())
		}
		var self []string
		for _, line := range h.take() {
			if line == "SelfSick" || line == "SelfWell" {
				self = append(self, line)
			}
		}
		if !slices.Equal(self, []string{"SelfSick", "SelfWell"}) {
			t.Errorf("told %q", self)
		}
	})
}

// TestAccusedAndAbsolved has a vote against a member stand in the view, and go.
func TestAccusedAndAbsolved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clustertest.Start(t, clustertest.Config{Members: 4, Hub: slowHub})
		c.Agree()
		h := hear(c.Node(0))
		c.Cut(0, 1) // one vote of the two that it takes
		time.Sleep(10 * time.Second)
		c.Heal(0, 1)
		time.Sleep(20 * time.Second)
		got := h.take()
		accused, absolved := slices.Index(got, "SelfAccused"), slices.Index(got, "SelfAbsolved")
		if accused < 0 || absolved < accused {
			t.Errorf("%q", got)
		}
		if c.Node(0).View().Len() != 4 {
			t.Errorf("%d members", c.Node(0).View().Len())
		}
	})
}

// TestWhereGrainsOfASuspectAreIsAskedAnew instead of being remembered.
func TestWhereGrainsOfASuspectAreIsAskedAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub, err := memory.New(slowHub)
		if err != nil {
			t.Fatal(err)
		}
		c := clustertest.Start(t, clustertest.Config{Members: 2, Kinds: grain.Kinds{keeperKind("Keeper", nil)}, Node: func(_ int, _ *cluster.Config, parts *cluster.Components) {
			parts.Provider, parts.Lookup = storeless{hub.Provider()}, hub.Lookup()
		}})
		c.Agree()
		for _, id := range clustertest.Identities("Keeper", 40) {
			if _, err := keep(t.Context(), c.Node(0), id.Kind, id.Key, "x"); err != nil {
				t.Fatal(err)
			}
		}
		own := int(c.Node(0).Kinds()[0].Live)
		if cached := c.Node(0).Health().Cached; own == 0 || own == 40 || cached != 40-own {
			t.Fatalf("%d cached, %d here", cached, own)
		}
		c.Cut(0, 1)
		time.Sleep(6 * time.Second)
		if cached := c.Node(0).Health().Cached; cached != 0 {
			t.Errorf("%d cached while the other is suspected", cached)
		}
		c.Heal(0, 1)
		time.Sleep(10 * time.Second)
		if _, err := keep(t.Context(), c.Node(0), "Keeper", "0", "x"); err != nil {
			t.Error(err)
		}
	})
}

// TestLeastActivationsHeedsTheLoadsOfGossip: a member that comes late gets what is new until it has caught up.
func TestLeastActivationsHeedsTheLoadsOfGossip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kind := keeperKind("Keeper", nil)
		kind.Strategy = strategy.LeastActivations{}
		c := clustertest.Start(t, clustertest.Config{Members: 2, Kinds: grain.Kinds{kind}})
		c.Agree()
		ids := clustertest.Identities("Keeper", 200)
		call := func(ids []core.Identity) {
			for _, id := range ids {
				if _, err := keep(t.Context(), c.Node(0), id.Kind, id.Key, "x"); err != nil {
					t.Fatal(err)
				}
			}
		}
		call(ids[:100])
		late := c.Add()
		c.Agree()
		time.Sleep(10 * time.Second) // everybody has heard of all counts
		call(ids[100:130])
		if live := late.Kinds()[0].Live; live != 30 {
			t.Errorf("the idle member got %d of 30", live)
		}
	})
}

// TestPartialCutsRemoveNobody: links are cut one way, both ways and in a circle, for a minute each; the provider is
// reached by all. Nobody is taken out or comes back, and all are heard again when the links are.
func TestPartialCutsRemoveNobody(t *testing.T) {
	for name, links := range map[string][][2]int{
		"one way":  {{0, 1}},
		"one pair": {{0, 1}, {1, 0}},
		"a circle": {{0, 1}, {1, 2}, {2, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := clustertest.Start(t, clustertest.Config{Members: 3, Hub: slowHub, Lookup: newRing, Kinds: grain.Kinds{keeperKind("Keeper", nil)}})
				epoch := c.Agree().Epoch()
				time.Sleep(3 * time.Second)
				for range 2 {
					for _, l := range links {
						c.CutOneWay(l[0], l[1])
					}
					time.Sleep(time.Minute)
					if len(c.Node(links[0][1]).Health().Suspects) == 0 {
						t.Error("nobody is suspected: the test shows nothing")
					}
					c.HealAll()
					time.Sleep(time.Minute)
				}
				for _, n := range c.Nodes() {
					if v := n.View(); v.Epoch() != epoch || v.Len() != 3 || len(n.Health().Suspects) > 0 {
						t.Errorf("%s: epoch %d with %d members, it was %d; suspects %v", n.ID(), v.Epoch(), v.Len(), epoch, n.Health().Suspects)
					}
				}
				callAll(t, c.Node(0), clustertest.Identities("Keeper", 30))
			})
		})
	}
}

// TestMemberBehindABadLink: the links of one member lose 5 % of what they carry, which is sent again after
// 200 ms as TCP does, and delay all of it by 100 ms, for a minute. Nobody is taken out, no activation moves, no
// call fails, with votes of members or without.
func TestMemberBehindABadLink(t *testing.T) {
	for seed, lookup := range lookups {
		t.Run(lookup.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				kinds := grain.Kinds{keeperKind("Keeper", nil)}
				c := clustertest.Start(t, clustertest.Config{Members: 4, Lookup: lookup.make, Kinds: kinds})
				c.Agree()
				ids := clustertest.Identities("Keeper", 60)
				callAll(t, c.Node(0), ids)
				before, hosts := c.Node(0).View(), map[core.Identity]core.MemberID{}
				for _, id := range ids {
					hosts[id] = c.Hosts(id)[0].ID()
				}
				r := rand.New(rand.NewPCG(uint64(seed), 5))
				ctx, stop := context.WithTimeout(t.Context(), time.Minute)
				defer stop()
				var callers sync.WaitGroup
				for i, n := range c.Nodes() {
					callers.Go(func() {
						for at := i; ctx.Err() == nil; at++ {
							id := ids[at%len(ids)]
							limit, cancel := context.WithTimeout(t.Context(), 5*time.Second)
							if _, err := keep(limit, n, id.Kind, id.Key, "x"); err != nil {
								t.Errorf("%s from %s: %v", id, n.ID(), err)
							}
							cancel()
							time.Sleep(20 * time.Millisecond)
						}
					})
				}
				const bad = 3
				for ctx.Err() == nil {
					for other := range bad {
						delay := 100 * time.Millisecond
						if r.Float64() < 0.05 {
							delay += 200 * time.Millisecond
						}
						c.Slow(bad, other, delay)
					}
					time.Sleep(10 * time.Millisecond)
				}
				callers.Wait()
				for _, n := range c.Nodes() {
					if v := n.View(); v.Compare(before) != core.Same || v.Epoch() != before.Epoch() {
						t.Errorf("%s has epoch %d, it was %d: somebody was taken out", n.ID(), v.Epoch(), before.Epoch())
					}
				}
				for _, id := range ids {
					if now := c.Hosts(id); len(now) != 1 || now[0].ID() != hosts[id] {
						t.Errorf("%s has moved", id)
					}
				}
			})
		})
	}
}
