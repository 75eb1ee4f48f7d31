package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/cluster"
	"github.com/granary-go/granary/engine/clustertest"
	"github.com/granary-go/granary/engine/grain"
)

// saver has much to save if its key begins with "slow": six seconds.
type saver struct{ key string }

func (s *saver) Activate(context.Context) error { return nil }

func (s *saver) Deactivate(context.Context, core.StopReason) error {
	if strings.HasPrefix(s.key, "slow") {
		time.Sleep(6 * time.Second)
	}
	return nil
}

func saverKind() grain.Kind {
	return grain.KindOf("Saver", func(self grain.Self) (*saver, error) { return &saver{self.Identity().Key}, nil },
		grain.Method("Keep", func(_ *saver, _ context.Context, what string) (string, error) { return what, nil }))
}

// rolled replaces each of three members once, by a graceful stop and a new member, under eight callers with
// deadlines of five seconds and a method that is not idempotent.
func rolled(t *testing.T, edit func(n *cluster.Node)) (calls, failed int64) {
	c := clustertest.Start(t, clustertest.Config{Members: 3, Lookup: newRing, Kinds: grain.Kinds{saverKind()}, Node: func(_ int, cfg *cluster.Config, _ *cluster.Components) {
		cfg.StopTimeout = 30 * time.Second
	}})
	c.Agree()
	client := c.AddClient()
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var done, bad atomic.Int64
	for w := range 8 {
		wg.Go(func() {
			for i := w; ctx.Err() == nil; i++ {
				call, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				if _, err := keep(call, client, "Saver", fmt.Sprint(i%200), "x"); err != nil {
					bad.Add(1)
				}
				cancel()
				done.Add(1)
				time.Sleep(10 * time.Millisecond)
			}
		})
	}
	for i := range 3 {
		for slow := range 20 { // some of them run on each member
			if _, err := keep(t.Context(), client, "Saver", fmt.Sprint("slow", i, slow), "x"); err != nil {
				t.Fatal(err)
			}
		}
		n := c.Node(i)
		if edit != nil {
			edit(n)
		}
		began := time.Now()
		if err := c.Stop(i); err != nil {
			t.Errorf("stop %d: %v", i, err)
		}
		if took := time.Since(began); took < 6*time.Second || took > 9*time.Second {
			t.Errorf("the stop took %v, its last turns 6s", took)
		}
		c.Add()
	}
	stop()
	wg.Wait()
	return done.Load(), bad.Load()
}

// TestRollingRestartFailsNoCall, however long the leavers take: by then everybody goes elsewhere.
func TestRollingRestartFailsNoCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		if calls, failed := rolled(t, nil); failed > 0 || calls < 5_000 {
			t.Errorf("%d of %d calls failed", failed, calls)
		}
	})
}

// TestRollingRestartUntold takes out the step by which callers know of the leave before the drain: the
// test above would notice.
func TestRollingRestartUntold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		if calls, failed := rolled(t, cluster.LeaveUntold); failed == 0 {
			t.Errorf("none of %d calls failed", calls)
		}
	})
}

// TestLeaverKnowsThatAllHaveSeen: when the drain begins every member has a view in which it leaves,
// although one gets its views late.
func TestLeaverKnowsThatAllHaveSeen(t *testing.T) {
	t.Run("ordered", func(t *testing.T) { leaverKnows(t, func(p core.Provider) core.Provider { return p }) })
	t.Run("without an order", func(t *testing.T) { leaverKnows(t, func(p core.Provider) core.Provider { return unordered{p} }) })
}

func leaverKnows(t *testing.T, as func(core.Provider) core.Provider) {
	synctest.Test(t, func(t *testing.T) {
		var c *clustertest.Cluster
		var early atomic.Int64
		var stopping atomic.Bool
		c = clustertest.Start(t, clustertest.Config{Members: 4, Lookup: newRing, Node: func(i int, cfg *cluster.Config, parts *cluster.Components) {
			parts.Provider = as(parts.Provider)
			if i == 3 {
				parts.Provider = &lateViews{Provider: parts.Provider, clock: &stopping, by: time.Second}
			}
			if i != 0 {
				return
			}
			cfg.Seams.Step = func(step string) {
				if step != "stop.drain" {
					return
				}
				for _, n := range c.Nodes() {
					if m, ok := n.View().Member(c.Node(0).ID()); ok && m.Status != core.Leaving {
						early.Add(1)
					}
				}
			}
		}})
		c.Agree()
		stopping.Store(true)
		began := time.Now()
		if err := c.Stop(0); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); early.Load() > 0 || took < time.Second || took > 3*time.Second {
			t.Errorf("after %v; %d members did not know", took, early.Load())
		}
	})
}

// lateViews reports late once it is told to.
type lateViews struct {
	core.Provider
	clock *atomic.Bool
	by    time.Duration
	mu    sync.Mutex // held while it reports: views of one instant stay in order
	views []*core.View
}

func (p *lateViews) Join(ctx context.Context, e core.Env, self core.Member, report func(*core.View)) error {
	return p.Provider.Join(ctx, e, self, func(v *core.View) {
		if !p.clock.Load() {
			report(v)
			return
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.views = append(p.views, v)
		e.Clock.AfterFunc(p.by, func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			report(p.views[0])
			p.views = p.views[1:]
		})
	})
}

// TestLeaveWithADeadPeer waits for it no longer than the step may take.
func TestLeaveWithADeadPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clustertest.Start(t, clustertest.Config{Members: 3, Lookup: newRing, Kinds: grain.Kinds{saverKind()}})
		c.Agree()
		c.Kill(1)
		began := time.Now()
		if err := c.Stop(0); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

// TestLeaveDuringJoin stops a node at each step of its start: it leaves nothing behind, and the others
// agree without it.
func TestLeaveDuringJoin(t *testing.T) {
	for _, at := range []string{"listen", "loops", "join", "view", "up", "ready"} {
		t.Run(at, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				stopped := make(chan error, 2)
				var c *clustertest.Cluster
				c = clustertest.Start(t, clustertest.Config{Members: 2, Lookup: newRing, Node: func(i int, cfg *cluster.Config, _ *cluster.Components) {
					if i != 2 {
						return
					}
					cfg.Seams.Step = func(step string) {
						if step == "start."+at {
							for range 2 { // leave twice, at the same time
								go func() { stopped <- c.Node(2).Stop(context.Background()) }()
							}
							synctestSettle()
						}
					}
				}})
				c.Agree()
				joiner := c.New()
				began := time.Now()
				if err := joiner.Start(t.Context()); !errors.Is(err, core.ErrStopped) {
					t.Errorf("start: %v", err)
				}
				for range 2 {
					if err := <-stopped; err != nil {
						t.Errorf("stop: %v", err)
					}
				}
				if took := time.Since(began); took > 10*time.Second {
					t.Errorf("it took %v", took)
				}
				c.Eventually(func() error {
					for i := range 2 {
						if v := c.Node(i).View(); v.Len() != 2 {
							return fmt.Errorf("member %d sees %d members", i, v.Len())
						}
					}
					return nil
				})
				if _, err := c.Node(0).TopologyConsensus(t.Context()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// synctestSettle lets the stops begin, in virtual time.
func synctestSettle() { time.Sleep(time.Millisecond) }

// gone is a provider that is not there once it is told so: it refuses, or it hangs and does not heed its
// context.
type gone struct {
	core.Provider
	on   atomic.Bool
	hang chan struct{} // nil: it refuses
}

func (p *gone) Update(ctx context.Context, self core.Member) error {
	if err := p.fail(); err != nil {
		return err
	}
	return p.Provider.Update(ctx, self)
}

func (p *gone) Leave(ctx context.Context) error {
	if err := p.fail(); err != nil {
		_ = p.Provider.Leave(ctx) // so that the test ends in order
		return err
	}
	return p.Provider.Leave(ctx)
}

func (p *gone) fail() error {
	if !p.on.Load() {
		return nil
	}
	if p.hang != nil {
		<-p.hang
	}
	return errGone
}

var errGone = errors.New("the provider is gone")

// TestLeaveWithTheProviderGone drains all the same, says so, and takes no longer than it may.
func TestLeaveWithTheProviderGone(t *testing.T) {
	for _, hangs := range []bool{false, true} {
		t.Run(fmt.Sprint("hangs ", hangs), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				provider := &gone{}
				if hangs {
					provider.hang = make(chan struct{})
					defer close(provider.hang)
				}
				var ran events
				c := clustertest.Start(t, clustertest.Config{Members: 2, Kinds: grain.Kinds{keeperKind("Keeper", ran.add)}, Node: func(i int, _ *cluster.Config, parts *cluster.Components) {
					if i == 0 {
						provider.Provider, parts.Provider = parts.Provider, provider
					}
				}})
				c.Agree()
				for _, id := range clustertest.Identities("Keeper", 20) {
					if _, err := keep(t.Context(), c.Node(0), id.Kind, id.Key, "x"); err != nil {
						t.Fatal(err)
					}
				}
				mine := int(c.Node(0).Kinds()[0].Live)
				provider.on.Store(true)
				began := time.Now()
				err := c.Stop(0)
				if took := time.Since(began); took > 10*time.Second || !hangs && took > 3*time.Second {
					t.Errorf("it took %v", took)
				}
				if err == nil || !strings.Contains(err.Error(), "announce") || !strings.Contains(err.Error(), "provider") {
					t.Errorf("the steps that failed are not named: %v", err)
				}
				if got := ran.count("deactivate leaving"); mine == 0 || got != mine {
					t.Errorf("%d of %d activations ended in order", got, mine)
				}
			})
		})
	}
}

// TestClientLosesItsOnlyMember and finds the next one by itself; between the two its calls end in time.
func TestClientLosesItsOnlyMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := gossiping(t, 1, cluster.GossipConfig{})
		client := c.AddClient()
		if _, err := keep(t.Context(), client, "Keeper", "x", "x"); err != nil {
			t.Fatal(err)
		}
		c.Kill(0)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		began := time.Now()
		if _, err := keep(ctx, client, "Keeper", "x", "x"); err == nil || time.Since(began) > 2*time.Second+50*time.Millisecond {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		next := c.Add()
		if err := next.SetState(t.Context(), "k", "v"); err != nil {
			t.Fatal(err)
		}
		later, end := context.WithTimeout(t.Context(), 5*time.Second)
		defer end()
		if got, err := keep(later, client, "Keeper", "x", "x"); got != "1" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		knows(t, client, "k", 1)
		if _, err := client.TopologyConsensus(later); err != nil {
			t.Error(err)
		}
	})
}
