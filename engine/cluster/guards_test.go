package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/memory"
	"github.com/granary-go/granary/engine/cluster"
	"github.com/granary-go/granary/engine/clustertest"
	"github.com/granary-go/granary/engine/grain"
	"github.com/granary-go/granary/engine/remote"
)

// moving is a ring that can be made to say that everything belongs to somebody else, or is held.
type moving struct {
	*ring
	away, held atomic.Bool
}

func (m *moving) Owner(id core.Identity) (core.Member, bool) {
	if m.away.Load() {
		return core.Member{ID: "somebody else", Status: core.Up}, true
	}
	return m.ring.Owner(id)
}

func (m *moving) Held(core.Identity) bool { return m.held.Load() }

func movingNode(t *testing.T, tell func(string)) (*moving, *cluster.Node) {
	t.Helper()
	m := &moving{ring: &ring{}}
	c := clustertest.Start(t, clustertest.Config{Members: 1, Kinds: grain.Kinds{keeperKind("Keeper", tell)}, Node: func(_ int, _ *cluster.Config, parts *cluster.Components) {
		parts.Lookup = m
	}})
	return m, c.Node(0)
}

// TestOwnerIsAskedAgainAfterTheActivation has the view move between the moment in which a lookup asks
// for an activation and the moment in which it is there: it may be one that nobody would ever stop.
func TestOwnerIsAskedAgainAfterTheActivation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, node := movingNode(t, nil)
		m.away.Store(true)
		_, err := m.host.Activate(t.Context(), core.Identity{Kind: "Keeper", Key: "x"}, core.Token{})
		if !errors.Is(err, core.ErrNotOwner) || core.DeliveryOf(err) != core.Undelivered {
			t.Errorf("%v", err)
		}
		synctest.Wait()
		if live := node.Kinds()[0].Live; live != 0 {
			t.Errorf("%d live", live)
		}
	})
}

// TestHeldIdentitiesAreNotActivated until the lookup says so; the caller waits.
func TestHeldIdentitiesAreNotActivated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, node := movingNode(t, nil)
		m.held.Store(true)
		_, err := m.host.Activate(t.Context(), core.Identity{Kind: "Keeper", Key: "x"}, core.Token{})
		if after, ok := core.RetryAfter(err); !errors.Is(err, core.ErrBusy) || !ok || after != 5*time.Millisecond {
			t.Errorf("%v", err)
		}
		began := time.Now()
		time.AfterFunc(100*time.Millisecond, func() { m.held.Store(false) })
		if got, err := keep(t.Context(), node, "Keeper", "x", "x"); got != "1" || err != nil || time.Since(began) > 120*time.Millisecond {
			t.Errorf("%q, %v after %v", got, err, time.Since(began))
		}
	})
}

// TestBusyGrainsEndToo deactivates a grain whose queue is never empty: new calls are refused, so that
// the queue comes to an end.
func TestBusyGrainsEndToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, node := movingNode(t, nil)
		id := core.Identity{Kind: "Keeper", Key: "x"}
		ctx, stop := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for ctx.Err() == nil {
					if _, err := keep(t.Context(), node, id.Kind, id.Key, "sleep"); err != nil {
						t.Error(err)
					}
				}
			})
		}
		time.Sleep(3500 * time.Millisecond)
		limit, cancel := context.WithTimeout(t.Context(), 5*time.Second) // four calls of 1 s are queued
		defer cancel()
		if err := m.host.Deactivate(limit, id, core.Token{}, core.StopMoved); err != nil {
			t.Errorf("deactivate: %v", err)
		}
		stop()
		wg.Wait()
	})
}

// TestOwnGrainsAreNotCached: a member finds what runs there in its table, and takes no place of the cache.
func TestOwnGrainsAreNotCached(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, idleAfter(100*time.Millisecond))
		host := p.Node(1)
		for _, id := range clustertest.Identities("Keeper", 30) {
			for range 2 {
				if _, err := keep(t.Context(), host, id.Kind, id.Key, "x"); err != nil {
					t.Fatal(err)
				}
			}
			if at, ok := host.Where(id); !ok || at != host.ID() {
				t.Errorf("%s is at %q", id, at)
			}
		}
		if cached, live := host.Health().Cached, host.Kinds()[0].Live; cached != 0 || live != 30 {
			t.Errorf("%d cached, %d live", cached, live)
		}
		time.Sleep(time.Second)
		if cached, live := host.Health().Cached, host.Kinds()[0].Live; cached != 0 || live != 0 {
			t.Errorf("%d cached, %d live after the end of all", cached, live)
		}
	})
}

// TestLastAnswersOfALeaver arrive after its row has gone: the network is slow, the provider is not.
func TestLastAnswersOfALeaver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, nil)
		p.Network.Slow("n1", "n0", 50*time.Millisecond)
		done := make(chan error, 1)
		go func() {
			_, err := keep(t.Context(), p.Node(0), "Keeper", "x", "sleep")
			done <- err
		}()
		time.Sleep(100 * time.Millisecond)
		if err := p.Stop(1); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Errorf("the call under way: %v", err)
		}
	})
}

// TestDrainWaitsUntilPeersKnow has a peer whose provider is late: what runs on the leaver is ended only
// when that peer has seen that it leaves.
func TestDrainWaitsUntilPeersKnow(t *testing.T) {
	for name, late := range map[string]time.Duration{"a little late": 700 * time.Millisecond, "too late": time.Minute} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var peer atomic.Pointer[cluster.Node]
				var knew atomic.Bool
				var slow atomic.Int64
				var c *clustertest.Cluster
				c = clustertest.Start(t, clustertest.Config{Members: 2, Lookup: newRing, Kinds: grain.Kinds{keeperKind("Keeper", nil)}, Node: func(i int, cfg *cluster.Config, parts *cluster.Components) {
					if i == 1 {
						parts.Provider = slowing{parts.Provider, &slow}
						return
					}
					cfg.Seams.Step = func(step string) {
						if step == "stop.drain" {
							m, _ := peer.Load().View().Member(c.Node(0).ID())
							knew.Store(m.Status == core.Leaving)
						}
					}
				}})
				c.Agree()
				peer.Store(c.Node(1))
				slow.Store(int64(late))
				began := time.Now()
				if err := c.Stop(0); err != nil {
					t.Error(err)
				}
				if want := late < 2*time.Second; knew.Load() != want {
					t.Errorf("the peer knew: %v, want %v", knew.Load(), want)
				}
				if took := time.Since(began); took > 3*time.Second {
					t.Errorf("stop took %v", took)
				}
				slow.Store(0)
			})
		})
	}
}

// slowing is a provider that begins to report late when it is told to.
type slowing struct {
	core.Provider
	by *atomic.Int64
}

func (p slowing) Join(ctx context.Context, e core.Env, self core.Member, report func(*core.View)) error {
	var mu sync.Mutex
	var last uint64
	return p.Provider.Join(ctx, e, self, func(v *core.View) {
		e.Clock.AfterFunc(time.Duration(p.by.Load()), func() {
			mu.Lock()
			defer mu.Unlock()
			if v.Epoch() > last {
				last = v.Epoch()
				report(v)
			}
		})
	})
}

// TestCallsWaitForTheViewOfTheirCaller at a member that does not have it yet, instead of being sent
// back and forth.
func TestCallsWaitForTheViewOfTheirCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var slow, retried atomic.Int64
		c := clustertest.Start(t, clustertest.Config{Members: 2, Lookup: newRing, Kinds: grain.Kinds{keeperKind("Keeper", nil)}, Node: func(i int, _ *cluster.Config, parts *cluster.Components) {
			if i == 1 {
				parts.Provider = slowing{parts.Provider, &slow}
			}
			if i == 0 {
				parts.Telemetry.Observer.Retried = func(_ core.Identity, _ int, err error) {
					if errors.Is(err, core.ErrNotOwner) {
						retried.Add(1)
					}
				}
			}
		}})
		c.Agree()
		c.Add()
		c.Agree()
		slow.Store(int64(400 * time.Millisecond))
		c.Kill(2)
		for c.Node(0).View().Len() != 2 {
			time.Sleep(time.Millisecond)
		}
		if c.Node(1).View().Len() != 3 {
			t.Fatal("the late one is not late")
		}
		for _, id := range clustertest.Identities("Keeper", 60) { // some have moved to the late one
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			if _, err := keep(ctx, c.Node(0), id.Kind, id.Key, "x"); err != nil {
				t.Error(err)
			}
			cancel()
		}
		if n := retried.Load(); n != 0 {
			t.Errorf("%d calls were refused by a member that was behind", n)
		}
	})
}

// flapping is a provider without an order that can lose members from sight.
type flapping struct {
	core.Provider
	mu     sync.Mutex
	last   *core.View
	report func(*core.View)
	hidden core.MemberID
}

func (f *flapping) Promises() core.Promises { return core.Promises{} }

func (f *flapping) RemovalGrace() time.Duration { return 0 }

func (f *flapping) Join(ctx context.Context, e core.Env, self core.Member, report func(*core.View)) error {
	f.report = report
	return f.Provider.Join(ctx, e, self, func(v *core.View) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.last = v
		f.tell()
	})
}

// tell reports without a lineage, and without the one who is hidden; mu is held.
func (f *flapping) tell() {
	var rec core.ViewRecord
	for m := range f.last.All() {
		if m.ID != f.hidden {
			rec.Members = append(rec.Members, m)
		}
	}
	v, err := core.NewView(rec)
	if err != nil {
		panic(err)
	}
	f.report(v)
}

func (f *flapping) hide(id core.MemberID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hidden = id
	f.tell()
}

// TestMemberLostFromSight comes back under its own ID, as a provider without an order may report it:
// it is called again, and its grains are remembered again.
func TestMemberLostFromSight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := memory.NewHub()
		var first *flapping
		c := clustertest.Start(t, clustertest.Config{Members: 2, Lookup: newRing, Network: remote.MemoryConfig{Delay: time.Millisecond}, Node: func(i int, _ *cluster.Config, parts *cluster.Components) {
			f := &flapping{Provider: hub.Provider()}
			parts.Provider = f
			if i == 0 {
				first = f
			} else {
				parts.Kinds = grain.Kinds{keeperKind("Keeper", nil)}
			}
		}})
		c.Agree()
		far := c.Node(1).ID()
		for round := range 3 {
			if got, err := keep(t.Context(), c.Node(0), "Keeper", "x", "x"); err != nil || got != fmt.Sprint(round+1) {
				t.Fatalf("round %d: %q, %v", round, got, err)
			}
			first.hide(far)
			synctest.Wait()
			if cached := c.Node(0).Health().Cached; cached != 0 {
				t.Errorf("round %d: %d cached of a member that is gone", round, cached)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			if _, err := keep(ctx, c.Node(0), "Keeper", "x", "x"); !errors.Is(err, core.ErrNoMember) {
				t.Errorf("round %d: a call while it is gone: %v", round, err)
			}
			cancel()
			first.hide("")
			time.Sleep(time.Second)
		}
		if _, err := keep(t.Context(), c.Node(0), "Keeper", "x", "x"); err != nil {
			t.Error(err)
		}
		if cached := c.Node(0).Health().Cached; cached != 1 {
			t.Errorf("%d cached", cached)
		}
	})
}

// unready is a provider without an order whose reports show members as Joining for a while longer.
type unready struct {
	core.Provider
	by time.Duration
}

func (unready) Promises() core.Promises { return core.Promises{} }

func (p unready) Join(ctx context.Context, e core.Env, self core.Member, report func(*core.View)) error {
	var mu sync.Mutex
	up := map[core.MemberID]bool{self.ID: true}
	var last *core.View
	tell := func() {
		var rec core.ViewRecord
		for m := range last.All() {
			if m.Status == core.Up && !up[m.ID] {
				m.Status = core.Joining
			}
			rec.Members = append(rec.Members, m)
		}
		v, err := core.NewView(rec)
		if err != nil {
			panic(err)
		}
		report(v)
	}
	return p.Provider.Join(ctx, e, self, func(v *core.View) {
		mu.Lock()
		defer mu.Unlock()
		last = v
		for m := range v.All() {
			if m.Status == core.Up {
				e.Clock.AfterFunc(p.by, func() {
					mu.Lock()
					defer mu.Unlock()
					up[m.ID] = true
					tell()
				})
			}
		}
		tell()
	})
}

// TestCallerThatIsBehind has no order to go by: a member that is ahead knows the view of its caller as
// one of its own past, and sends the call back at once.
func TestCallerThatIsBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := memory.NewHub()
		c := clustertest.Start(t, clustertest.Config{Members: 3, Lookup: newRing, Kinds: grain.Kinds{keeperKind("Keeper", nil)}, Node: func(i int, _ *cluster.Config, parts *cluster.Components) {
			late := time.Duration(0)
			if i == 0 {
				late = 300 * time.Millisecond
			}
			parts.Provider = unready{hub.Provider(), late}
		}})
		c.Agree()
		joiner, started := c.New(), make(chan error, 1)
		go func() { started <- joiner.Start(t.Context()) }()
		c.Eventually(func() error { // the joiner itself waits for the one that is behind
			if m, _ := c.Node(1).View().Member(joiner.ID()); m.Status != core.Up {
				return fmt.Errorf("it is %v", m.Status)
			}
			return nil
		})
		var worst time.Duration
		for _, id := range clustertest.Identities("Keeper", 60) { // some belong to the new one by now
			began := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			if _, err := keep(ctx, c.Node(0), id.Kind, id.Key, "x"); err != nil {
				t.Error(err)
			}
			cancel()
			worst = max(worst, time.Since(began))
		}
		if worst > 400*time.Millisecond || worst < 100*time.Millisecond {
			t.Errorf("the slowest call took %v; the caller was behind for 300ms", worst)
		}
		if err := <-started; err != nil {
			t.Error(err)
		}
	})
}

// hasty is a provider without an order that reports each view twice, first with everybody as Joining.
type hasty struct {
	core.Provider
	hashes *sync.Map // of what it reported first
}

func (hasty) Promises() core.Promises { return core.Promises{} }

func (p hasty) Join(ctx context.Context, e core.Env, self core.Member, report func(*core.View)) error {
	return p.Provider.Join(ctx, e, self, func(v *core.View) {
		var first, second core.ViewRecord
		for m := range v.All() {
			second.Members = append(second.Members, m)
			m.Status = core.Joining
			first.Members = append(first.Members, m)
		}
		for _, rec := range []core.ViewRecord{first, second} {
			v, err := core.NewView(rec)
			if err != nil {
				panic(err)
			}
			if rec.Members[0].Status == core.Joining {
				p.hashes.Store(v.Hash(), nil)
			}
			report(v)
		}
	})
}

// TestSkippedViewIsPast although it was never installed: a caller may have it still.
func TestSkippedViewIsPast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := memory.NewHub()
		var hashes sync.Map
		c := clustertest.Start(t, clustertest.Config{Members: 2, Lookup: newRing, Node: func(_ int, _ *cluster.Config, parts *cluster.Components) {
			parts.Provider = hasty{hub.Provider(), &hashes}
		}})
		c.Agree()
		for _, n := range c.Nodes() {
			known := 0
			for _, h := range cluster.Past(n) {
				if _, ok := hashes.Load(h); ok {
					known++
				}
			}
			if known == 0 {
				t.Errorf("%s knows none of the views that were followed at once", n.ID())
			}
		}
	})
}

// TestNothingIsRememberedOnALeaver under a lookup that places by ownership: by the view that shows it
// leaving its grains belong to others.
func TestNothingIsRememberedOnALeaver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var first *cluster.Node
		var seen atomic.Int64
		c := clustertest.Start(t, clustertest.Config{Members: 2, Lookup: newRing, Kinds: grain.Kinds{keeperKind("Keeper", nil)}, Node: func(i int, _ *cluster.Config, parts *cluster.Components) {
			if i == 0 {
				parts.Telemetry.Observer.Topology = func(top core.Topology) {
					for _, m := range top.Changed {
						if m.Status == core.Leaving && m.ID != first.ID() {
							seen.Store(int64(first.Health().Cached))
						}
					}
				}
			}
		}})
		first = c.Node(0)
		c.Agree()
		ids := clustertest.Identities("Keeper", 40)
		for _, id := range ids {
			if _, err := keep(t.Context(), first, id.Kind, id.Key, "slow"); err != nil {
				t.Fatal(err)
			}
		}
		seen.Store(-1)
		if n := first.Health().Cached; n == 0 {
			t.Error("nothing is remembered of the other member")
		}
		if err := c.Stop(1); err != nil {
			t.Error(err)
		}
		if n := seen.Load(); n != 0 {
			t.Errorf("%d cached once the member was seen to leave", n)
		}
	})
}

// slowStarter is a grain whose first start-up takes until its context ends.
type slowStarter struct{ first bool }

func (s *slowStarter) Activate(ctx context.Context) error {
	if !s.first {
		return nil
	}
	<-ctx.Done()
	return ctx.Err()
}

// TestCallOutlivesAStartUpThatIsCutShort moves an identity while its grain still starts: the call that
// waits for it is answered by the next activation, and not by the end of the first one's context.
func TestCallOutlivesAStartUpThatIsCutShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var made atomic.Int32
		kind := grain.KindOf("Slow", func(grain.Self) (*slowStarter, error) { return &slowStarter{made.Add(1) == 1}, nil },
			grain.Method("Hello", func(*slowStarter, context.Context, string) (string, error) { return "hello", nil }))
		m := &moving{ring: &ring{}}
		c := clustertest.Start(t, clustertest.Config{Members: 1, Kinds: grain.Kinds{kind}, Node: func(_ int, _ *cluster.Config, parts *cluster.Components) {
			parts.Lookup = m
		}})
		id := core.Identity{Kind: "Slow", Key: "x"}
		var calls sync.WaitGroup
		calls.Go(func() {
			if text, err := grain.Call[string](t.Context(), c.Node(0), id, "Hello", "x"); err != nil || text != "hello" {
				t.Errorf("%q, %v", text, err)
			}
		})
		synctest.Wait()
		if err := m.host.Deactivate(t.Context(), id, core.Token{}, core.StopMoved); err != nil {
			t.Error(err)
		}
		calls.Wait()
		if n := made.Load(); n != 2 {
			t.Errorf("made %d times, want twice", n)
		}
	})
}
