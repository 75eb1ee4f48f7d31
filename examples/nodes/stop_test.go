package nodes_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
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

// The ways in which something has failed when a member stops.
var failures = []string{"nothing", "provider dead", "peer killed", "grain hangs in its last turn", "network cut"}

// dying is a provider that, once it is dead, answers nothing before ctx ends.
type dying struct {
	core.Provider
	dead *atomic.Bool
}

func (p dying) Update(ctx context.Context, self core.Member) error {
	if p.dead.Load() {
		<-ctx.Done()
		return fmt.Errorf("update: %w: %w", core.ErrUnreachable, ctx.Err())
	}
	return p.Provider.Update(ctx, self)
}

func (p dying) Leave(ctx context.Context) error {
	err := p.Provider.Leave(ctx)
	if p.dead.Load() {
		<-ctx.Done()
		return fmt.Errorf("leave: %w: %w", core.ErrUnreachable, ctx.Err())
	}
	return err
}

// stopsAmongPeers starts a member among two others, under load, with disthash, and stops it at a random
// moment of its start or of its life, often twice, after something has failed. Each round is a bubble of
// its own, which does not end before all its goroutines have.
func stopsAmongPeers(t *testing.T, from, to uint64) {
	for seed := from; seed < to; seed++ {
		synctest.Test(t, func(t *testing.T) { stopAmongPeers(t, seed) })
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func stopAmongPeers(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 7))
	failure := failures[r.IntN(len(failures))]
	var dead atomic.Bool
	c := clustertest.Start(t, clustertest.Config{Members: 2, Lookup: newDisthash, Kinds: grain.Kinds{counterKind("Counter")},
		Network: remote.MemoryConfig{Delay: time.Duration(r.IntN(int(500 * time.Microsecond)))},
		Node: func(i int, _ *cluster.Config, parts *cluster.Components) {
			if i == 2 {
				parts.Provider = dying{parts.Provider, &dead}
				parts.Kinds = append(parts.Kinds, counterKind("Own")) // which only this member has
			}
		}})
	node := c.New()
	var all sync.WaitGroup
	all.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := node.Start(ctx); err != nil && !errors.Is(err, core.ErrStopped) && failure == "nothing" {
			t.Errorf("start: %v", err)
		}
	})
	load(&all, []*cluster.Node{c.Node(0), c.Node(1), node})
	wait := time.Duration(r.IntN(int(12 * time.Millisecond)))
	if failure == "grain hangs in its last turn" {
		wait += 10 * time.Millisecond
	}
	time.Sleep(wait)
	switch failure {
	case "provider dead":
		dead.Store(true)
	case "peer killed":
		c.Kill(1)
	case "grain hangs in its last turn":
		_ = add(context.Background(), node, "Own", "hangs") // it may not have started yet
	case "network cut":
		c.Cut(2, 0)
		c.Cut(2, 1)
	}
	for range 1 + r.IntN(2) {
		later := time.Duration(r.IntN(int(2 * time.Millisecond)))
		all.Go(func() {
			time.Sleep(later)
			began := time.Now()
			err := c.Stop(2)
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("after %s: stop took %v: %v", failure, took, err)
			}
			if err != nil && (failure == "nothing" || failure == "peer killed") {
				t.Errorf("after %s: stop: %v", failure, err)
			}
		})
	}
	all.Wait()
	c.Heal(2, 0)
	c.Heal(2, 1)
}

// load calls grains of all members for some time.
func load(all *sync.WaitGroup, nodes []*cluster.Node) {
	for i, n := range nodes {
		all.Go(func() {
			for j := range 10 {
				ctx, cancel := context.WithTimeout(context.Background(), time.Second)
				_ = add(ctx, n, "Counter", fmt.Sprint(i, j%7)) // it stops, or has yet to start
				cancel()
				time.Sleep(time.Millisecond)
			}
		})
	}
}

// TestStopAtAnyMomentForReal does the same on sockets: no goroutine and no socket is left.
func TestStopAtAnyMomentForReal(t *testing.T) {
	leaktest.Check(t)
	before := openFiles()
	for seed := range uint64(20) {
		stopForReal(t, seed)
	}
	deadline := time.Now().Add(20 * time.Second) // the runtime closes in its own time
	for openFiles() > before {
		if time.Now().After(deadline) {
			t.Fatalf("%d files are open, %d were", openFiles(), before)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func stopForReal(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 9))
	hub := memory.NewHub()
	nodes := make([]*cluster.Node, 3)
	for i := range nodes {
		lookup, err := newDisthash()
		if err != nil {
			t.Fatal(err)
		}
		nodes[i], err = cluster.New(cluster.Config{Logger: slog.New(slog.DiscardHandler)},
			cluster.Components{Provider: hub.Provider(), Lookup: lookup, Kinds: grain.Kinds{counterKind("Counter")}})
		if err != nil {
			t.Fatal(err)
		}
	}
	var all sync.WaitGroup
	for _, n := range nodes {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			if err := n.Start(ctx); err != nil && !errors.Is(err, core.ErrStopped) {
				t.Errorf("start: %v", err)
			}
		})
	}
	load(&all, nodes)
	for i, n := range nodes {
		wait := time.Duration(r.IntN(int(40 * time.Millisecond)))
		all.Go(func() {
			time.Sleep(wait)
			began := time.Now()
			if err := n.Stop(context.Background()); err != nil && !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("seed %d: stop of member %d: %v", seed, i, err)
			}
			if took := time.Since(began); took > 15*time.Second { // 10 s, and what a busy machine adds
				t.Errorf("seed %d: stop of member %d took %v", seed, i, took)
			}
		})
	}
	all.Wait()
}

// openFiles is how many file descriptors this process has; 0 where that cannot be told.
func openFiles() int {
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(list)
}
