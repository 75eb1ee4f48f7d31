package cluster_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/leaktest"
	"github.com/granary-go/granary/engine/actor"
	"github.com/granary-go/granary/engine/cluster"
	"github.com/granary-go/granary/engine/clustertest"
	"github.com/granary-go/granary/engine/grain"
	"github.com/granary-go/granary/engine/remote"
	"github.com/granary-go/granary/protos/clusterpb"
)

// The tests of this file are named in docs/differences.md: each shows that a known weakness of another
// system is none here.

// underLoad has callers on two members call grains all the time, with a method that may not run twice,
// while change runs: no call fails.
func underLoad(t *testing.T, change func(t *testing.T, c *clustertest.Cluster, round int)) {
	for _, lookup := range []struct {
		name string
		make func() (core.Lookup, error)
	}{{"directory", nil}, {"ring", newRing}} {
		t.Run(lookup.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := clustertest.Start(t, clustertest.Config{Members: 2, Lookup: lookup.make, Kinds: grain.Kinds{keeperKind("Keeper", nil)}, Network: remote.MemoryConfig{Delay: 200 * time.Microsecond}})
				c.Agree()
				ids := clustertest.Identities("Keeper", 60)
				var calls atomic.Int64
				var wg sync.WaitGroup
				stop := make(chan struct{})
				for i := range 4 {
					wg.Go(func() {
						for n := i; ; n++ {
							select {
							case <-stop:
								return
							case <-time.After(500 * time.Microsecond):
							}
							ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
							id := ids[n%len(ids)]
							if _, err := keep(ctx, c.Node(i%2), id.Kind, id.Key, "x"); err != nil {
								t.Errorf("call %d of %s: %v", n, id, err)
							}
							cancel()
							calls.Add(1)
						}
					})
				}
				for round := range 3 {
					time.Sleep(30 * time.Millisecond)
					change(t, c, round)
				}
				time.Sleep(30 * time.Millisecond)
				close(stop)
				wg.Wait()
				if calls.Load() < 200 {
					t.Errorf("%d calls only", calls.Load())
				}
			})
		})
	}
}

func TestJoinUnderLoadFailsNoCall(t *testing.T) {
	underLoad(t, func(t *testing.T, c *clustertest.Cluster, _ int) { c.Add() })
}

func TestLeaveUnderLoadFailsNoCall(t *testing.T) {
	underLoad(t, func(t *testing.T, c *clustertest.Cluster, round int) {
		c.Add()
		time.Sleep(30 * time.Millisecond)
		if err := c.Stop(2 + round); err != nil {
			t.Error(err)
		}
	})
}

// disagreeing is a ring whose member never holds itself for the owner.
type disagreeing struct{ *ring }

func (d disagreeing) Owner(id core.Identity) (core.Member, bool) {
	for _, m := range d.view.Load().Hosting(id.Kind) {
		if m.ID != d.host.Self().ID {
			return m, true
		}
	}
	return core.Member{}, false
}

// TestOwnersThatDisagreeRunNothing has two members each hold the other for the owner: a member looks
// itself before it runs a grain, whatever the caller believes.
func TestOwnersThatDisagreeRunNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen events
		c := clustertest.Start(t, clustertest.Config{Members: 2, Kinds: grain.Kinds{keeperKind("Keeper", seen.add)},
			Lookup: func() (core.Lookup, error) { return disagreeing{&ring{}}, nil }})
		c.Agree()
		for i := range 2 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			_, err := keep(ctx, c.Node(i), "Keeper", "x", "x")
			cancel()
			if !errors.Is(err, core.ErrNotOwner) || core.DeliveryOf(err) != core.Undelivered {
				t.Errorf("%v (%v); want ErrNotOwner, undelivered", err, core.DeliveryOf(err))
			}
		}
		if list := seen.take(); len(list) > 0 {
			t.Errorf("a grain ran: %v", list)
		}
	})
}

// TestNoticesOfUnknownEndsHarmNobody sends the end of a process that nobody knows, and of one that is
// somebody else's, to everything that has a name.
func TestNoticesOfUnknownEndsHarmNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		services := make([]*recordedService, 2)
		c := clustertest.Start(t, clustertest.Config{Members: 2, Lookup: newRing, Kinds: grain.Kinds{keeperKind("Keeper", nil)}, Node: func(i int, _ *cluster.Config, parts *cluster.Components) {
			services[i] = &recordedService{name: "s", note: func(string) {}}
			parts.Services = grain.Services{services[i]}
		}})
		c.Agree()
		ids := clustertest.Identities("Keeper", 20)
		for _, id := range ids {
			if _, err := keep(t.Context(), c.Node(0), id.Kind, id.Key, "x"); err != nil {
				t.Fatal(err)
			}
		}
		var targets []core.PID
		for _, n := range c.Nodes() {
			for a := range n.Activations() {
				targets = append(targets, a.PID)
			}
			for _, name := range []string{"$grain", "gossip", "partition-activator", "nobody"} {
				targets = append(targets, core.PID{Member: n.ID(), Address: n.Address(), ID: name})
			}
		}
		for _, target := range targets {
			for _, who := range append(targets, core.PID{}, core.PID{ID: "gone", Member: "gone", Address: "gone:1"}) {
				_ = services[0].rt.Actors.Ref(target).SendSystem(&actor.Terminated{Who: who})
			}
			_ = services[0].rt.Actors.Ref(target).Tell(&clusterpb.ActivationTerminated{})
		}
		time.Sleep(time.Second)
		for _, id := range ids {
			if got, err := keep(t.Context(), c.Node(1), id.Kind, id.Key, "x"); got != "2" || err != nil {
				t.Errorf("%s: %q, %v; want the second call of one instance", id, got, err)
			}
		}
	})
}

// TestGrainsEndSideBySide stops a member with many grains that each take their time to end: they do so
// at once, not one after the other.
func TestGrainsEndSideBySide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const grains = 200
		kind := grain.KindOf("Slow", func(grain.Self) (slowEnd, error) { return slowEnd{}, nil },
			grain.Method("Hello", func(slowEnd, context.Context, int) (int, error) { return 1, nil }))
		c := clustertest.Start(t, clustertest.Config{Members: 1, Kinds: grain.Kinds{kind}})
		for _, id := range clustertest.Identities("Slow", grains) {
			if _, err := grain.Call[int](t.Context(), c.Node(0), id, "Hello", 1); err != nil {
				t.Fatal(err)
			}
		}
		began := time.Now()
		if err := c.Stop(0); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("%d grains of 1 s each ended in %v", grains, took)
		}
	})
}

type slowEnd struct{}

func (slowEnd) Deactivate(context.Context, core.StopReason) error {
	time.Sleep(time.Second)
	return nil
}

// stuckLookup never finds anything; it gives up with ctx.
type stuckLookup struct{ core.Lookup }

func (stuckLookup) Resolve(ctx context.Context, id core.Identity) (core.Placement, error) {
	<-ctx.Done()
	return core.Placement{}, core.WithDelivery(fmt.Errorf("resolve %s: %w", id, context.Cause(ctx)), core.Undelivered)
}

// brokenLookup has an error of its own.
type brokenLookup struct{ core.Lookup }

var errBroken = errors.New("the lookup's own error")

func (brokenLookup) Resolve(context.Context, core.Identity) (core.Placement, error) {
	return core.Placement{}, core.WithDelivery(errBroken, core.Undelivered)
}

// TestLookupKeepsTheCallersTimeAndTellsWhy calls with different deadlines over a lookup that is stuck,
// and over one that fails.
func TestLookupKeepsTheCallersTimeAndTellsWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clustertest.Start(t, clustertest.Config{Members: 2, Kinds: grain.Kinds{keeperKind("Keeper", nil)}, Node: func(i int, _ *cluster.Config, parts *cluster.Components) {
			if parts.Lookup = core.Lookup(stuckLookup{parts.Lookup}); i == 1 {
				parts.Lookup = brokenLookup{parts.Lookup}
			}
		}})
		for _, limit := range []time.Duration{50 * time.Millisecond, 30 * time.Second} {
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			began := time.Now()
			_, err := keep(ctx, c.Node(0), "Keeper", "x", "x")
			cancel()
			if took := time.Since(began); took != limit {
				t.Errorf("given up after %v; want %v", took, limit)
			}
			if !errors.Is(err, context.DeadlineExceeded) || core.DeliveryOf(err) != core.Undelivered {
				t.Errorf("%v (%v); want DeadlineExceeded, undelivered", err, core.DeliveryOf(err))
			}
		}
		if _, err := keep(t.Context(), c.Node(1), "Keeper", "x", "x"); !errors.Is(err, errBroken) {
			t.Errorf("%v; want the lookup's own error", err)
		}
	})
}

// TestClientHostsNothing has a client call grains: it is in nobody's view, nothing ever runs on it, and
// it starts and stops as a member does.
func TestClientHostsNothing(t *testing.T) {
	for _, lookup := range []func() (core.Lookup, error){nil, newRing} {
		synctest.Test(t, func(t *testing.T) {
			c := clustertest.Start(t, clustertest.Config{Members: 2, Lookup: lookup, Kinds: grain.Kinds{keeperKind("Keeper", nil)}})
			client := c.AddClient()
			for _, id := range clustertest.Identities("Keeper", 30) {
				if _, err := keep(t.Context(), client, id.Kind, id.Key, "x"); err != nil {
					t.Fatal(err)
				}
				if hosts := c.Hosts(id); len(hosts) != 1 || hosts[0] == client {
					t.Errorf("%s runs on %d members", id, len(hosts))
				}
			}
			for a := range client.Activations() {
				t.Errorf("the client runs %s", a.Identity)
			}
			if len(client.Kinds()) > 0 {
				t.Errorf("the client has kinds: %v", client.Kinds())
			}
			for _, n := range append(c.Nodes(), client) {
				if _, there := n.View().Member(client.ID()); there {
					t.Errorf("%s sees the client as a member", n.ID())
				}
			}
			if h := client.Health(); !h.Live || !h.Ready || h.Members != 2 {
				t.Errorf("health %+v", h)
			}
			for range 2 {
				if err := c.Stop(2); err != nil {
					t.Errorf("stop of the client: %v", err)
				}
			}
		})
	}
	_, err := cluster.New(cluster.Config{Client: true}, cluster.Single(keeperKind("Keeper", nil)))
	if !errors.Is(err, core.ErrInvalid) {
		t.Errorf("a client with kinds: %v; want ErrInvalid", err)
	}
}

// TestSlowStartHoldsUpNobodyElse starts many grains while one hangs in its own start.
func TestSlowStartHoldsUpNobodyElse(t *testing.T) {
	bothWays(t, nil, func(t *testing.T, caller *cluster.Node, p *pair) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		hangs := make(chan error, 1)
		go func() {
			_, err := keep(ctx, caller, "Keeper", "hang-activate", "x")
			hangs <- err
		}()
		synctest.Wait()
		began := time.Now()
		for i := range 50 {
			if _, err := keep(t.Context(), caller, "Keeper", fmt.Sprint(i), "x"); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(began); took > 200*time.Millisecond {
			t.Errorf("50 grains took %v to start", took)
		}
		cancel()
		if err := <-hangs; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

// TestKindsAndKeysAreNeverMixedUp calls grains whose kind and key give the same text when they are put
// together.
func TestKindsAndKeysAreNeverMixedUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ids := []core.Identity{
			{Kind: "a", Key: "b.c"}, {Kind: "a.b", Key: "c"}, {Kind: "c", Key: "a.b"}, {Kind: "b.c", Key: "a"},
			{Kind: "a", Key: "b/c"}, {Kind: "a", Key: "b/c/"}, {Kind: "a", Key: "/b/c"}, {Kind: "a", Key: "/"},
			{Kind: "a", Key: "b"}, {Kind: "a.b", Key: "b"}, {Kind: "c", Key: "a/b"}, {Kind: "a-b", Key: "c"},
		}
		kinds := map[string]bool{}
		var all grain.Kinds
		for _, id := range ids {
			if !kinds[id.Kind] {
				kinds[id.Kind] = true
				all = append(all, keeperKind(id.Kind, nil))
			}
		}
		c := clustertest.Start(t, clustertest.Config{Members: 2, Lookup: newRing, Kinds: all})
		c.Agree()
		for round := 1; round <= 2; round++ {
			for _, n := range c.Nodes() {
				for _, id := range ids {
					if _, err := keep(t.Context(), n, id.Kind, id.Key, "x"); err != nil {
						t.Fatalf("%s: %v", id, err)
					}
				}
			}
			for _, id := range ids {
				if got, err := grain.Call[int](t.Context(), c.Node(0), id, "Count", 0); got != 2*round || err != nil {
					t.Errorf("%s was called %d times, %v; want %d", id, got, err, 2*round)
				}
			}
		}
		for _, kind := range []string{"a/b", "/", ""} {
			if _, err := keep(t.Context(), c.Node(0), kind, "x", "x"); !errors.Is(err, core.ErrInvalid) {
				t.Errorf("kind %q: %v; want ErrInvalid", kind, err)
			}
		}
	})
}

// TestFailureIsOneGrainsOwn panics in one grain again and again: the others keep their state.
func TestFailureIsOneGrainsOwn(t *testing.T) {
	bothWays(t, nil, func(t *testing.T, caller *cluster.Node, p *pair) {
		const others, panics = 40, 30
		for i := range others {
			if _, err := keep(t.Context(), caller, "Keeper", fmt.Sprint(i), "x"); err != nil {
				t.Fatal(err)
			}
		}
		for range panics {
			for _, what := range []string{"panic", "error"} {
				if _, err := keep(t.Context(), caller, "Keeper", "bad", what); err == nil {
					t.Fatal("no error")
				}
			}
			if _, err := keep(t.Context(), caller, "Keeper", "panic-activate", "x"); grain.CodeOf(err) != grain.Internal {
				t.Fatal(err)
			}
		}
		for i := range others {
			if got, err := keep(t.Context(), caller, "Keeper", fmt.Sprint(i), "x"); got != "2" || err != nil {
				t.Errorf("another grain: %q, %v; want its second call", got, err)
			}
		}
	})
}

// nothing answers with nothing.
type nothing struct{ runs *atomic.Int64 }

func (n nothing) Map(context.Context, map[string]int) (map[string]int, error) {
	n.runs.Add(1)
	return nil, nil
}

func (n nothing) Pointer(_ context.Context, in *int) (*int, error) {
	n.runs.Add(1)
	return in, nil
}

func (n nothing) Message(_ context.Context, in *clusterpb.ClusterIdentity) (*clusterpb.ClusterIdentity, error) {
	if n.runs.Add(1); in == nil {
		return nil, errors.New("the argument is nil")
	}
	return nil, nil
}

// TestNothingIsAnAnswer calls methods that return nil without an error, with nil for an argument: the
// call runs once and its answer is empty.
func TestNothingIsAnAnswer(t *testing.T) {
	for _, way := range []int{0, 1} {
		synctest.Test(t, func(t *testing.T) {
			var runs atomic.Int64
			make := func(grain.Self) (nothing, error) { return nothing{&runs}, nil }
			c := clustertest.Start(t, clustertest.Config{Members: 2, Lookup: newRing, Node: func(i int, _ *cluster.Config, parts *cluster.Components) {
				if i == 0 {
					parts.Kinds = grain.Kinds{
						grain.KindOf("Plain", make, grain.Method("Map", nothing.Map), grain.Method("Pointer", nothing.Pointer)),
						grain.NewKind("Proto", make, []grain.MethodSpec{grain.ProtoMethod(grain.MethodSpec{Name: "Message"}, nothing.Message)}),
					}
				}
			}})
			c.Agree()
			caller := c.Node(way)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			plain := core.Identity{Kind: "Plain", Key: "x"}
			if got, err := grain.Call[map[string]int](ctx, caller, plain, "Map", nil); len(got) > 0 || err != nil {
				t.Errorf("map: %v, %v", got, err)
			}
			if got, err := grain.Call[*int](ctx, caller, plain, "Pointer", (*int)(nil)); got != nil || err != nil {
				t.Errorf("pointer: %v, %v", got, err)
			}
			for _, arg := range []any{(*clusterpb.ClusterIdentity)(nil), &clusterpb.ClusterIdentity{}} {
				got, err := grain.Do[*clusterpb.ClusterIdentity](ctx, caller, grain.Request{To: core.Identity{Kind: "Proto", Key: "x"}, Method: "Message", Arg: arg})
				if got == nil || got.GetKind() != "" || err != nil {
					t.Errorf("message for %v: %v, %v", arg, got, err)
				}
			}
			if runs.Load() != 4 {
				t.Errorf("four calls ran %d times", runs.Load())
			}
		})
	}
}

// TestRetriesFillTheTimeOfTheCall watches a call for which there is no member yet: it tries with growing
// pauses until one comes, or until its time is over, and uses one time for all its attempts.
func TestRetriesFillTheTimeOfTheCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tries []time.Duration
		began := time.Now()
		c := clustertest.Start(t, clustertest.Config{Members: 1, Lookup: newRing, Node: func(i int, _ *cluster.Config, parts *cluster.Components) {
			if i > 0 {
				parts.Kinds = grain.Kinds{keeperKind("Keeper", nil)}
				return
			}
			parts.Telemetry.Observer.Retried = func(core.Identity, int, error) { tries = append(tries, time.Since(began)) }
		}})
		began = time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		_, err := keep(ctx, c.Node(0), "Keeper", "x", "x")
		if took := time.Since(began); took != 5*time.Second || !errors.Is(err, core.ErrNoMember) {
			t.Errorf("%v after %v; want ErrNoMember after 5 s", err, took)
		}
		if len(tries) < 8 || len(tries) > 100 {
			t.Fatalf("%d attempts in 5 s", len(tries))
		}
		late := 0
		for _, at := range tries {
			if at > time.Second {
				late++
			}
		}
		if late < 5 {
			t.Errorf("%d attempts after the first second: %v", late, tries)
		}
		answered := make(chan error, 1)
		go func() {
			_, err := keep(context.WithoutCancel(ctx), c.Node(0), "Keeper", "x", "x")
			answered <- err
		}()
		time.Sleep(2 * time.Second)
		c.Add()
		came := time.Now()
		if err := <-answered; err != nil || time.Since(came) > 100*time.Millisecond {
			t.Errorf("%v, %v after a host had come", err, time.Since(came))
		}
	})
}

// TestOptionsOfOneCallAreItsOwn sets a short time for one call; those beside and after it have none.
func TestOptionsOfOneCallAreItsOwn(t *testing.T) {
	bothWays(t, nil, func(t *testing.T, caller *cluster.Node, p *pair) {
		var wg sync.WaitGroup
		for i := range 10 {
			wg.Go(func() {
				_, err := keep(t.Context(), caller, "Keeper", fmt.Sprint("short", i), "hang", grain.Timeout(7*time.Millisecond))
				if !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("with 7 ms: %v", err)
				}
			})
			wg.Go(func() {
				for range 20 {
					if got, err := keep(t.Context(), caller, "Keeper", fmt.Sprint("free", i), "deadline"); got != "none" || err != nil {
						t.Errorf("without: %q, %v", got, err)
					}
				}
			})
		}
		wg.Wait()
		if got, err := keep(t.Context(), caller, "Keeper", "after", "deadline"); got != "none" || err != nil {
			t.Errorf("afterwards: %q, %v", got, err)
		}
	})
}

// TestClustersOfOneProcessShareNothing runs two clusters with the same kind and keys side by side, over real
// sockets, each with a factory of its own, and ends one of them.
func TestClustersOfOneProcessShareNothing(t *testing.T) {
	leaktest.Check(t)
	var nodes []*cluster.Node
	for _, name := range []string{"one", "two"} {
		kind := grain.KindOf("Keeper", func(self grain.Self) (*named, error) { return &named{name: name}, nil }, grain.Method("Name", (*named).Name))
		node, err := cluster.New(cluster.Config{Name: name, Logger: slog.New(slog.DiscardHandler)}, cluster.Single(kind))
		if err != nil {
			t.Fatal(err)
		}
		if err := node.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		defer node.Stop(context.Background())
		nodes = append(nodes, node)
	}
	call := func(i, n int) {
		t.Helper()
		want := fmt.Sprint([]string{"one", "two"}[i], n)
		if got, err := grain.Call[string](t.Context(), nodes[i], core.Identity{Kind: "Keeper", Key: "x"}, "Name", 0); got != want || err != nil {
			t.Errorf("%q, %v; want %q", got, err, want)
		}
	}
	for n := 1; n <= 3; n++ {
		call(0, n)
		call(1, n)
	}
	if err := nodes[0].Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	call(1, 4)
}

type named struct {
	name string
	n    int
}

func (k *named) Name(context.Context, int) (string, error) {
	k.n++
	return fmt.Sprint(k.name, k.n), nil
}

// TestCallIsSentOnceUnlessItMayRunTwice resets the connection while a method runs.
func TestCallIsSentOnceUnlessItMayRunTwice(t *testing.T) {
	for _, idempotent := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			p := newPair(t, nil)
			if _, err := keep(t.Context(), p.Node(0), "Keeper", "x", "warm"); err != nil {
				t.Fatal(err)
			}
			var opts []grain.CallOption
			if idempotent {
				opts = append(opts, grain.Idempotent())
			}
			done := make(chan error, 1)
			go func() {
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				_, err := keep(ctx, p.Node(0), "Keeper", "x", "sleep", opts...)
				done <- err
			}()
			time.Sleep(100 * time.Millisecond)
			p.Network.Reset("n0", "n1")
			err, want := <-done, 1
			if idempotent {
				want = 2
				if err != nil {
					t.Errorf("a call that may run twice: %v", err)
				}
			} else if !errors.Is(err, core.ErrUnreachable) || core.DeliveryOf(err) != core.DeliveryUnknown {
				t.Errorf("a call that may not run twice: %v (%v); want ErrUnreachable, unknown", err, core.DeliveryOf(err))
			}
			time.Sleep(5 * time.Second)
			if got := p.events.count("keep sleep"); got != want {
				t.Errorf("idempotent %v: it ran %d times; want %d", idempotent, got, want)
			}
		})
	}
}

// lockedBuffer is a log for many goroutines.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// TestFailedCallsAreQuiet makes many calls that fail after many attempts: the error tells the cause, the
// log has no line an attempt, and no goroutine is left.
func TestFailedCallsAreQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &lockedBuffer{}
		c := clustertest.Start(t, clustertest.Config{Members: 1, Lookup: newRing, Log: slog.New(slog.NewTextHandler(log, nil))})
		synctest.Wait()
		before, lines := runtime.NumGoroutine(), strings.Count(log.b.String(), "\n")
		for i := range 200 {
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			_, err := keep(ctx, c.Node(0), "Nobody", fmt.Sprint(i), "x")
			cancel()
			if !errors.Is(err, core.ErrNoMember) || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "Nobody") {
				t.Fatalf("%v; want the deadline, and why every attempt failed", err)
			}
		}
		synctest.Wait()
		if after := runtime.NumGoroutine(); after > before+2 {
			t.Errorf("%d goroutines more after 200 calls", after-before)
		}
		if n := strings.Count(log.b.String(), "\n") - lines; n > 5 {
			t.Errorf("%d lines of log for 200 calls:\n%.500s", n, log.b.String())
		}
	})
}

// TestStrategyOfAKindPlacesIt gives one kind a strategy that chooses the member with the greatest ID,
// and leaves another to the default.
func TestStrategyOfAKindPlacesIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int64
		greatest := core.StrategyFunc(func(_ core.Identity, ms []core.Member) (core.Member, bool) {
			asked.Add(1)
			return ms[len(ms)-1], true // they come in ascending order
		})
		chosen := keeperKind("Chosen", nil)
		chosen.Strategy = greatest
		c := clustertest.Start(t, clustertest.Config{Members: 3, Kinds: grain.Kinds{chosen, keeperKind("Default", nil)}})
		var want core.MemberID
		for m := range c.Agree().All() {
			want = max(want, m.ID)
		}
		spread := map[core.MemberID]int{}
		for i := range 30 {
			for _, kind := range []string{"Chosen", "Default"} {
				key := fmt.Sprint(i)
				if _, err := keep(t.Context(), c.Node(i%3), kind, key, "x"); err != nil {
					t.Fatal(err)
				}
				host := c.Hosts(core.Identity{Kind: kind, Key: key})[0].ID()
				if kind == "Default" {
					spread[host]++
				} else if host != want {
					t.Errorf("%s runs on %s; the strategy says %s", key, host, want)
				}
			}
		}
		if asked.Load() < 30 || len(spread) != 3 {
			t.Errorf("the strategy was asked %d times; the default spread %v", asked.Load(), spread)
		}
	})
}

// TestMethodsAreFoundByName calls with the position of another method, as a caller does that was built
// from another order of them: the name decides, and an unknown one is refused at once.
func TestMethodsAreFoundByName(t *testing.T) {
	bothWays(t, nil, func(t *testing.T, caller *cluster.Node, p *pair) {
		id := core.Identity{Kind: "Keeper", Key: "x"}
		for index := range 6 {
			_, err := grain.Do[string](t.Context(), caller, grain.Request{To: id, Method: "Keep", Index: index, Arg: "x"})
			if err != nil {
				t.Errorf("Keep at %d: %v", index, err)
			}
			n, err := grain.Do[int](t.Context(), caller, grain.Request{To: id, Method: "Count", Index: index, Arg: 0})
			if n != index+1 || err != nil {
				t.Errorf("Count at %d: %d, %v", index, n, err)
			}
			began := time.Now()
			_, err = grain.Do[int](t.Context(), caller, grain.Request{To: id, Method: "Gone", Index: index, Arg: 0})
			if grain.CodeOf(err) != grain.Unimplemented || time.Since(began) > 10*time.Millisecond {
				t.Errorf("an unknown method at %d: %v after %v", index, err, time.Since(began))
			}
		}
	})
}
