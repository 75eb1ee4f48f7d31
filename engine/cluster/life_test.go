package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/leaktest"
	"github.com/granary-go/granary/core/memory"
	"github.com/granary-go/granary/engine/cluster"
	"github.com/granary-go/granary/engine/clustertest"
	"github.com/granary-go/granary/engine/grain"
	"github.com/granary-go/granary/engine/remote"
)

// steps records the steps of a node.
type steps struct {
	mu   sync.Mutex
	list []string
}

func (s *steps) note(step string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, step)
}

func (s *steps) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.list, " ")
}

// recorded tells the calls of a part's life.
type recordedLookup struct {
	core.Lookup
	note func(string)
}

func (l recordedLookup) Start(ctx context.Context, h core.Host, e core.Env) error {
	l.note("lookup.Start")
	return l.Lookup.Start(ctx, h, e)
}

func (l recordedLookup) Stop(ctx context.Context) error {
	l.note("lookup.Stop")
	return l.Lookup.Stop(ctx)
}

type recordedProvider struct {
	core.Provider
	note func(string)
}

func (p recordedProvider) Join(ctx context.Context, e core.Env, self core.Member, report func(*core.View)) error {
	p.note("provider.Join " + self.Status.String())
	return p.Provider.Join(ctx, e, self, report)
}

func (p recordedProvider) Update(ctx context.Context, self core.Member) error {
	p.note("provider.Update " + self.Status.String())
	return p.Provider.Update(ctx, self)
}

func (p recordedProvider) Leave(ctx context.Context) error {
	p.note("provider.Leave")
	return p.Provider.Leave(ctx)
}

type recordedService struct {
	name string
	note func(string)
	rt   grain.Runtime
}

func (s *recordedService) Kinds() []grain.Kind { return []grain.Kind{keeperKind(s.name+"Kind", nil)} }
func (s *recordedService) Start(_ context.Context, rt grain.Runtime) error {
	s.note(s.name + ".Start")
	s.rt = rt
	return nil
}
func (s *recordedService) Stop(context.Context) error { s.note(s.name + ".Stop"); return nil }
func (s *recordedService) Reshape(t core.Topology)    { s.note(s.name + ".Reshape") }

func TestOrderOfStartAndStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s steps
		c := clustertest.Start(t, clustertest.Config{Members: 1, Kinds: grain.Kinds{keeperKind("Keeper", func(e string) {
			if e == "deactivate leaving" {
				s.note("grain.Deactivate")
			}
		})}, Node: func(_ int, cfg *cluster.Config, parts *cluster.Components) {
			cfg.Seams.Step = s.note
			parts.Lookup = recordedLookup{parts.Lookup, s.note}
			parts.Provider = recordedProvider{parts.Provider, s.note}
			parts.Services = grain.Services{&recordedService{name: "a", note: s.note}, &recordedService{name: "b", note: s.note}}
		}})
		before := s.String()
		started := strings.Fields(before)
		if first := slices.Index(started, "a.Reshape"); first < slices.Index(started, "b.Start") { // views come when they come, but not before that
			t.Fatalf("a service hears of a view before it has started: %q", started)
		}
		started = slices.DeleteFunc(started, func(step string) bool { return strings.HasSuffix(step, ".Reshape") })
		want := "start.listen start.system start.kinds start.lookup lookup.Start start.loops start.services a.Start b.Start " +
			"start.join provider.Join joining start.view start.up provider.Update up start.ready"
		if got := strings.Join(started, " "); got != want {
			t.Fatalf("start:\n got %s\nwant %s", got, want)
		}
		if _, err := keep(t.Context(), c.Node(0), "Keeper", "x", "hello"); err != nil {
			t.Fatal(err)
		}
		if err := c.Stop(0); err != nil {
			t.Fatal(err)
		}
		rest := strings.Fields(strings.TrimPrefix(s.String(), before))
		rest = slices.DeleteFunc(rest, func(step string) bool { return strings.HasSuffix(step, ".Reshape") })
		want = "stop.announce provider.Update leaving stop.seen stop.drain grain.Deactivate " +
			"stop.service 1 b.Stop stop.service 0 a.Stop stop.lookup lookup.Stop stop.provider provider.Leave " +
			"stop.loops stop.actors stop.network stop.goroutines"
		if got := strings.Join(rest, " "); got != want {
			t.Fatalf("stop:\n got %s\nwant %s", got, want)
		}
	})
}

// TestPeerCallsAtFirstSight calls a joiner from a peer at the very moment the peer first sees it in
// any status: whatever serves already runs.
func TestPeerCallsAtFirstSight(t *testing.T) {
	for _, lookup := range []struct {
		name string
		make func() (core.Lookup, error)
	}{{"directory", nil}, {"ring", newRing}} {
		t.Run(lookup.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var wg sync.WaitGroup
				var first atomic.Pointer[cluster.Node]
				c := clustertest.Start(t, clustertest.Config{Members: 1, Lookup: lookup.make, Kinds: grain.Kinds{keeperKind("Keeper", nil)}, Node: func(i int, _ *cluster.Config, parts *cluster.Components) {
					if i != 0 {
						return
					}
					parts.Telemetry.Observer.Topology = func(top core.Topology) {
						node := first.Load()
						if node == nil {
							return // its own coming
						}
						for _, m := range slices.Concat(top.Joined, top.Changed) {
							if m.Status == core.Leaving {
								continue // the end of the test
							}
							for _, id := range clustertest.Identities("Keeper", 20) {
								wg.Go(func() {
									ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
									defer cancel()
									if _, err := keep(ctx, node, id.Kind, id.Key+string(m.ID), "x"); err != nil {
										t.Errorf("call at the sight of %v %v: %v", m.ID, m.Status, err)
									}
								})
							}
						}
					}
				}})
				first.Store(c.Node(0))
				c.Add()
				c.Add()
				c.Agree()
				synctest.Wait() // the observer has heard of it, too
				wg.Wait()
			})
		})
	}
}

// TestReadyMeansThatPeersTakeCalls has a node call a grain of every peer right after Start.
func TestReadyMeansThatPeersTakeCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clustertest.Start(t, clustertest.Config{Members: 3, Lookup: newRing, Kinds: grain.Kinds{keeperKind("Keeper", nil)}, Network: remote.MemoryConfig{Delay: 5 * time.Millisecond}})
		n := c.Add()
		for _, id := range clustertest.Identities("Keeper", 40) {
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			if _, err := keep(ctx, n, id.Kind, id.Key, "x"); err != nil {
				t.Fatalf("%s: %v", id, err)
			}
			cancel()
		}
		select {
		case <-n.Ready():
		default:
			t.Fatal("Ready is not closed")
		}
	})
}

func TestStopAtAnyMoment(t *testing.T) {
	const rounds = 1000
	for seed := range uint64(rounds) {
		synctest.Test(t, func(t *testing.T) {
			stopAtRandom(t, seed, remote.NewMemory(remote.MemoryConfig{Delay: time.Millisecond}).Host("n"))
		})
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func TestStopAtAnyMomentForReal(t *testing.T) {
	leaktest.Check(t)
	for seed := range uint64(20) {
		stopAtRandom(t, seed, remote.TCP())
	}
}

// stopAtRandom starts a node under load and stops it at a random moment, maybe twice, maybe before it
// has started.
func stopAtRandom(t *testing.T, seed uint64, network remote.Transport) {
	r := rand.New(rand.NewPCG(seed, 3))
	parts := cluster.Single(keeperKind("Keeper", nil))
	if r.IntN(2) == 0 {
		parts.Lookup, _ = newRing()
	}
	if r.IntN(3) == 0 {
		parts.Provider = slowProvider{parts.Provider, time.Duration(r.IntN(int(3 * time.Millisecond)))}
	}
	node, err := cluster.New(cluster.Config{Logger: slog.New(slog.DiscardHandler), Seams: cluster.Seams{Transport: network}}, parts)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := node.Start(context.Background()); err != nil && !errors.Is(err, core.ErrStopped) {
			t.Errorf("start: %v", err)
		}
	})
	for i := range 4 {
		wg.Go(func() {
			for j := range 20 {
				ctx, cancel := context.WithTimeout(context.Background(), time.Second)
				_, err := keep(ctx, node, "Keeper", fmt.Sprint(i, j%5), "x")
				cancel()
				if err != nil && core.DeliveryOf(err) != core.Undelivered {
					t.Errorf("call: %v (%v)", err, core.DeliveryOf(err))
				}
			}
		})
	}
	for range 1 + r.IntN(3) {
		wait := time.Duration(r.IntN(int(8 * time.Millisecond)))
		wg.Go(func() {
			time.Sleep(wait)
			began := time.Now()
			if err := node.Stop(context.Background()); err != nil {
				t.Errorf("stop: %v", err)
			}
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("stop took %v", took)
			}
		})
	}
	wg.Wait()
	if err := node.Stop(context.Background()); err != nil {
		t.Errorf("second stop: %v", err)
	}
	if err := node.Start(context.Background()); !errors.Is(err, core.ErrStopped) {
		t.Errorf("start after stop: %v", err)
	}
}

// slowProvider takes its time.
type slowProvider struct {
	core.Provider
	d time.Duration
}

func (p slowProvider) Join(ctx context.Context, e core.Env, self core.Member, report func(*core.View)) error {
	time.Sleep(p.d)
	return p.Provider.Join(ctx, e, self, report)
}

func (p slowProvider) Update(ctx context.Context, self core.Member) error {
	time.Sleep(p.d)
	return p.Provider.Update(ctx, self)
}

func TestStopBeforeStart(t *testing.T) {
	node, err := cluster.New(cluster.Config{}, cluster.Single())
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := node.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for range 100 {
		if err := node.Stop(ended); err != nil {
			t.Fatalf("stopped long ago: %v", err)
		}
	}
	if err := node.Start(t.Context()); !errors.Is(err, core.ErrStopped) {
		t.Fatalf("start after stop: %v", err)
	}
	if _, err := keep(t.Context(), node, "Keeper", "x", "x"); !errors.Is(err, core.ErrStopped) || core.DeliveryOf(err) != core.Undelivered {
		t.Fatalf("call of a stopped node: %v", err)
	}
}

// deadProvider answers nothing any more, not even to Leave, until ctx ends.
type deadProvider struct {
	core.Provider
	dead *sync.Map
}

func (p deadProvider) Update(ctx context.Context, self core.Member) error {
	if _, dead := p.dead.Load("dead"); dead {
		<-ctx.Done()
		return fmt.Errorf("update: %w: %w", core.ErrUnreachable, ctx.Err())
	}
	return p.Provider.Update(ctx, self)
}

func (p deadProvider) Leave(ctx context.Context) error {
	err := p.Provider.Leave(ctx)
	if _, dead := p.dead.Load("dead"); dead {
		<-ctx.Done()
		return fmt.Errorf("leave: %w: %w", core.ErrUnreachable, ctx.Err())
	}
	return err
}

// TestStopWhateverHasFailed stops one of three members: within 10 s, with everything ended.
func TestStopWhateverHasFailed(t *testing.T) {
	tests := []struct {
		name  string
		harm  func(c *clustertest.Cluster, dead *sync.Map)
		clean bool
	}{
		{"nothing", func(*clustertest.Cluster, *sync.Map) {}, true},
		{"the provider is dead", func(_ *clustertest.Cluster, dead *sync.Map) { dead.Store("dead", true) }, false},
		{"a peer is stopped", func(c *clustertest.Cluster, _ *sync.Map) { c.Kill(1) }, true},
		{"the network is cut", func(c *clustertest.Cluster, _ *sync.Map) { c.Cut(0, 1); c.Cut(0, 2) }, true},
		{"a grain hangs in its last turn", func(c *clustertest.Cluster, _ *sync.Map) {
			_, _ = keep(context.Background(), c.Node(0), "Local", "hang-deactivate", "x")
		}, false},
		{"a grain hangs in its method", func(c *clustertest.Cluster, _ *sync.Map) {
			_ = grain.Tell(context.Background(), c.Node(0), core.Identity{Kind: "Local", Key: "y"}, "Keep", "hang")
		}, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var dead sync.Map
				c := clustertest.Start(t, clustertest.Config{Kinds: grain.Kinds{keeperKind("Keeper", nil)}, Node: func(i int, _ *cluster.Config, parts *cluster.Components) {
					if i == 0 {
						parts.Kinds = append(parts.Kinds, keeperKind("Local", nil))
						parts.Provider = deadProvider{parts.Provider, &dead}
					}
				}})
				c.Agree()
				for _, id := range clustertest.Identities("Keeper", 30) {
					if _, err := keep(t.Context(), c.Node(0), id.Kind, id.Key, "x"); err != nil {
						t.Fatal(err)
					}
				}
				test.harm(c, &dead)
				began := time.Now()
				err := c.Stop(0)
				if took := time.Since(began); took > 10*time.Second {
					t.Errorf("stop took %v: %v", took, err)
				}
				if (err == nil) != test.clean {
					t.Errorf("stop: %v", err)
				}
				if again := c.Stop(0); (again == nil) != (err == nil) {
					t.Errorf("the second stop: %v", again)
				}
				c.Heal(0, 1)
				c.Heal(0, 2)
			})
		})
	}
}

func TestFailingStartUndoesEverything(t *testing.T) {
	leaktest.Check(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	boom := errors.New("boom")
	tests := []struct {
		name string
		cfg  cluster.Config
		edit func(*cluster.Components)
		want error
	}{
		{"port in use", cluster.Config{Address: taken.Addr().String()}, func(*cluster.Components) {}, nil},
		{"lookup", cluster.Config{}, func(p *cluster.Components) { p.Lookup = failing{Lookup: p.Lookup, start: boom} }, boom},
		{"service", cluster.Config{}, func(p *cluster.Components) { p.Services = grain.Services{failingService{boom}} }, boom},
		{"join", cluster.Config{}, func(p *cluster.Components) { p.Provider = failingProvider{p.Provider, boom} }, boom},
		{"reshape", cluster.Config{}, func(p *cluster.Components) {
			p.Lookup = &ring{reshape: func(core.Topology) error { return boom }}
		}, boom},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			parts := cluster.Single(keeperKind("Keeper", nil))
			test.edit(&parts)
			test.cfg.Logger = slog.New(slog.DiscardHandler)
			node, err := cluster.New(test.cfg, parts)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			if err = node.Start(ctx); err == nil || test.want != nil && !errors.Is(err, test.want) {
				t.Fatalf("start: %v, want %v", err, test.want)
			}
			if err := node.Stop(t.Context()); err != nil && !errors.Is(err, boom) {
				t.Errorf("stop: %v", err)
			}
		})
	}
}

type failing struct {
	core.Lookup
	start error
}

func (f failing) Start(context.Context, core.Host, core.Env) error { return f.start }

type failingProvider struct {
	core.Provider
	err error
}

func (f failingProvider) Join(context.Context, core.Env, core.Member, func(*core.View)) error {
	return f.err
}

type failingService struct{ err error }

func (failingService) Kinds() []grain.Kind                          { return nil }
func (s failingService) Start(context.Context, grain.Runtime) error { return s.err }
func (failingService) Stop(context.Context) error                   { return nil }

// TestStartEndsWithItsContext lets a start wait for members that never come.
func TestStartEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clustertest.Start(t, clustertest.Config{Members: 1})
		var node *cluster.Node
		c2 := clustertest.Start(t, clustertest.Config{Members: -1, Node: func(_ int, cfg *cluster.Config, _ *cluster.Components) { cfg.MinMembers = 2 }})
		node = c2.New()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := node.Start(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("start: %v", err)
		}
		_ = c
	})
}

func TestEvictionFencesAndEndsRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var ends []string
		hub := memory.NewHub()
		provider := hub.Provider()
		kind := keeperKind("Keeper", func(e string) {
			mu.Lock()
			defer mu.Unlock()
			ends = append(ends, e)
		})
		var why []core.StopReason
		fenced := 0
		node, err := cluster.New(cluster.Config{Logger: slog.New(slog.DiscardHandler), Seams: cluster.Seams{Transport: remote.NewMemory(remote.MemoryConfig{}).Host("n")}},
			cluster.Components{Provider: provider, Lookup: hub.Lookup(), Kinds: grain.Kinds{kind}, Telemetry: cluster.Telemetry{Observer: grain.Observer{
				Fenced: func(core.Activation) { fenced++ },
				Deactivated: func(_ core.Activation, w core.StopReason) {
					mu.Lock()
					defer mu.Unlock()
					why = append(why, w)
				}}}})
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- node.Run(context.Background()) }()
		<-node.Ready()
		if _, err := keep(t.Context(), node, "Keeper", "x", "x"); err != nil {
			t.Fatal(err)
		}
		rec := node.View().Record()
		rec.Members = nil
		rec.Departed = append(rec.Departed, core.Departure{ID: node.ID(), Epoch: rec.Epoch + 1})
		if _, err := provider.SwapView(t.Context(), node.View(), rec); err != nil {
			t.Fatal(err)
		}
		if err := <-done; !errors.Is(err, core.ErrEvicted) {
			t.Fatalf("run: %v", err)
		}
		mu.Lock()
		defer mu.Unlock()
		if slices.Contains(ends, "deactivate fenced") || fenced != 1 || !slices.Equal(why, []core.StopReason{core.StopFenced}) {
			t.Fatalf("the grain saw %v and ended by %v", ends, why)
		}
		if _, err := keep(t.Context(), node, "Keeper", "x", "x"); !errors.Is(err, core.ErrStopped) {
			t.Fatalf("call after the eviction: %v", err)
		}
	})
}
