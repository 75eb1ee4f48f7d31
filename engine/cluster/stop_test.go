package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
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

// waiter is a service whose process waits for the end of its context, and tells how long that took.
type waiter struct {
	rt     grain.Runtime
	began  atomic.Int64
	waited chan time.Duration
}

func newWaiter() *waiter { return &waiter{waited: make(chan time.Duration, 10)} }

func (*waiter) Kinds() []grain.Kind { return nil }
func (w *waiter) Start(_ context.Context, rt grain.Runtime) error {
	w.rt = rt
	rt.Handle("waiter", func(ctx context.Context, _ core.Member, _ core.Message) (core.Message, error) {
		began := time.Now()
		<-ctx.Done()
		w.waited <- time.Since(began)
		return core.Message{}, ctx.Err()
	})
	return nil
}
func (*waiter) Stop(context.Context) error { return nil }

// waiting is two members, on the first of which a handler waits for the second one's request.
func waiting(t *testing.T, remaining time.Duration) (c *clustertest.Cluster, w *waiter, asked *sync.WaitGroup) {
	t.Helper()
	services := []*waiter{newWaiter(), newWaiter()}
	c = clustertest.Start(t, clustertest.Config{Members: 2, Node: func(i int, _ *cluster.Config, parts *cluster.Components) {
		parts.Services = grain.Services{services[i]}
	}})
	c.Agree()
	asked = &sync.WaitGroup{}
	asked.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), remaining)
		defer cancel()
		if _, err := services[1].rt.Send(ctx, c.Node(0).Self(), "waiter", core.Message{Type: "x"}); err == nil {
			t.Error("the handler has answered")
		}
	})
	time.Sleep(time.Millisecond)
	return c, services[0], asked
}

// TestStopEndsHandlers of services, which wait for nothing but their contexts, and is a clean stop.
func TestStopEndsHandlers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, w, asked := waiting(t, 50*time.Second)
		if err := c.Stop(0); err != nil {
			t.Errorf("stop: %v", err)
		}
		if took := <-w.waited; took > 5*time.Second {
			t.Errorf("the handler waited for %v", took)
		}
		asked.Wait()
	})
}

// TestHandlersAreKeptForAMinute at most, whatever the peer says.
func TestHandlersAreKeptForAMinute(t *testing.T) {
	for _, remaining := range []time.Duration{time.Minute - time.Second, time.Minute, time.Hour} {
		t.Run(remaining.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, w, asked := waiting(t, remaining)
				if took, want := <-w.waited, min(remaining, time.Minute); took.Round(10*time.Millisecond) != want {
					t.Errorf("the handler waited for %v, want %v", took, want)
				}
				asked.Wait()
			})
		})
	}
}

// deaf is parts that, once they are told to, do not come back before the test ends, whatever their
// contexts say.
type deaf struct {
	on  atomic.Bool
	end chan struct{}
}

func (d *deaf) hang() {
	if d.on.Load() {
		<-d.end
	}
}

type deafProvider struct {
	core.Provider
	d *deaf
}

func (p deafProvider) Update(ctx context.Context, self core.Member) error {
	p.d.hang()
	return p.Provider.Update(ctx, self)
}

func (p deafProvider) Leave(ctx context.Context) error {
	defer p.d.hang()
	return p.Provider.Leave(ctx)
}

type deafLookup struct {
	core.Lookup
	d *deaf
}

func (l deafLookup) Stop(ctx context.Context) error {
	defer l.d.hang()
	return l.Lookup.Stop(ctx)
}

type deafService struct{ d *deaf }

func (deafService) Kinds() []grain.Kind                          { return nil }
func (s deafService) Start(context.Context, grain.Runtime) error { return nil }
func (s deafService) Stop(context.Context) error                 { s.d.hang(); return nil }

// TestStopHasOneEnd has every part that a stop waits for hang, one by one and all together: each step
// is done, those that hang are named, and the whole takes no longer than it may.
func TestStopHasOneEnd(t *testing.T) {
	for _, hanging := range []string{"provider", "lookup", "service", "all"} {
		for _, early := range []bool{false, true} {
			t.Run(fmt.Sprint(hanging, early), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { stopWith(t, hanging, early) })
			})
		}
	}
}

// stopWith stops a node in which something hangs; early: with a context that ends after a second.
func stopWith(t *testing.T, hanging string, early bool) {
	d := &deaf{end: make(chan struct{})}
	defer close(d.end)
	var s steps
	parts := cluster.Single(scriptedKind("A", func() { d.hang() }, script(func(*scripted, context.Context) error { return nil }).method("Do")))
	want := []string{}
	if hanging == "provider" || hanging == "all" {
		parts.Provider, want = deafProvider{parts.Provider, d}, append(want, "provider")
	}
	if hanging == "lookup" || hanging == "all" {
		parts.Lookup, want = deafLookup{parts.Lookup, d}, append(want, "lookup")
	}
	if hanging == "service" || hanging == "all" {
		parts.Services, want = grain.Services{deafService{d}, deafService{d}}, append(want, "service 0", "service 1")
	}
	const timeout = 4 * time.Second
	node, err := cluster.New(cluster.Config{Logger: slog.New(slog.DiscardHandler), StopTimeout: timeout,
		Seams: cluster.Seams{Transport: memoryHost(), Step: s.note}}, parts)
	if err != nil {
		t.Fatal(err)
	}
	if err := node.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if hanging == "all" {
		want = append(want, "drain", "actors", "goroutines")
		if err := do(t.Context(), node, "A", "Do"); err != nil { // it hangs in its last turn
			t.Fatal(err)
		}
	}
	d.on.Store(true)
	ctx, limit := t.Context(), timeout
	if early {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Second)
		defer cancel()
		limit = time.Second + 500*time.Millisecond
	}
	began := time.Now()
	err = node.Stop(ctx)
	if took := time.Since(began); took > limit {
		t.Errorf("it took %v, want at most %v", took, limit)
	}
	for _, what := range want {
		if err == nil || !strings.Contains(err.Error(), "stop: "+what+":") {
			t.Errorf("%s is not named in: %v", what, err)
		}
	}
	for _, step := range strings.Fields("stop.announce stop.seen stop.drain stop.lookup stop.provider stop.loops stop.actors stop.network stop.goroutines") {
		if !strings.Contains(s.String(), step) {
			t.Errorf("%s was left out: %s", step, s.String())
		}
	}
}

// TestOwnCallsOfANodeThatStops say so: their links end with the node, and the peers are well.
func TestOwnCallsOfANodeThatStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, nil)
		failed := make(chan error, 1)
		go func() {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			_, err := keep(ctx, p.Node(0), "Keeper", "x", "hang")
			failed <- err
		}()
		time.Sleep(time.Second)
		if err := p.Stop(0); err != nil {
			t.Errorf("stop: %v", err)
		}
		if err := <-failed; !errors.Is(err, core.ErrStopped) || core.DeliveryOf(err) != core.DeliveryUnknown {
			t.Errorf("%v (%v); want ErrStopped, unknown", err, core.DeliveryOf(err))
		}
		time.Sleep(20 * time.Second) // the method at the peer ends with its deadline
	})
}
