//go:build !race

package cluster_test

import (
	"context"
	"log/slog"
	"runtime"
	"testing"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/cluster"
	"github.com/granary-go/granary/protos/clusterpb"
)

// Under the race detector pools drop what they hold, so that nothing is to be learned there about what is
// allocated.

// TestLocalCallDoesNotAllocate, but for a small part of its context.
func TestLocalCallDoesNotAllocate(t *testing.T) {
	node := single(t, cluster.Config{}, echoKind())
	in := &clusterpb.ClusterIdentity{}
	ctx := t.Context()
	call := func() {
		if out, err := back(ctx, node, "a", in); err != nil || out != in {
			t.Fatal(out, err)
		}
	}
	call()
	if n := testing.AllocsPerRun(2000, call); n != 0 {
		t.Fatalf("%v allocations a call, want 0", n)
	}
}

// TestBytesPerLocalCall: the context of a turn is all that a call needs, made several at a time.
func TestBytesPerLocalCall(t *testing.T) {
	node := single(t, cluster.Config{}, echoKind())
	in := &clusterpb.ClusterIdentity{}
	ctx := t.Context()
	const n = 20_000
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range n {
		if _, err := back(ctx, node, "a", in); err != nil {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	objects, bytes := float64(after.Mallocs-before.Mallocs)/n, float64(after.TotalAlloc-before.TotalAlloc)/n
	t.Logf("%.2f objects and %.0f bytes a call", objects, bytes)
	if objects > 0.06 || bytes > 80 {
		t.Errorf("%.2f objects and %.0f bytes a call, want a fiftieth of one, and 41 bytes", objects, bytes)
	}
}

// TestAllocationsPerRemoteCall counts those of both sides, half of which are of gRPC. At the grain's side it is one
// for the call with its message, its context and its answer, and what the method's own messages take.
func TestAllocationsPerRemoteCall(t *testing.T) {
	node := farEcho(t)
	in := &clusterpb.ClusterIdentity{Identity: "x"}
	ctx := t.Context()
	each := testing.AllocsPerRun(2000, func() {
		if _, err := back(ctx, node, "a", in); err != nil {
			t.Fatal(err)
		}
	})
	t.Logf("%v allocations a remote call", each)
	if each > 24 {
		t.Errorf("%v allocations a remote call, want at most 24", each)
	}
}

// TestBytesPerActivation measures an empty grain with all that stands for it in tables and caches, its key
// of 32 bytes included, under the lookup of one process, which keeps a directory, and under one that places by
// ownership alone.
func TestBytesPerActivation(t *testing.T) {
	for name, lookup := range map[string]func() (core.Lookup, error){"directory": nil, "ownership": newRing} {
		t.Run(name, func(t *testing.T) {
			parts := cluster.Single(echoKind())
			if lookup != nil {
				parts.Lookup, _ = lookup()
			}
			each := bytesPerActivation(t, parts, 50_000)
			t.Logf("%.0f bytes an activation", each)
			if each > 800 {
				t.Errorf("%.0f bytes an activation, want at most 800", each)
			}
		})
	}
}

func bytesPerActivation(t *testing.T, parts cluster.Components, n int) float64 {
	t.Helper()
	node, err := cluster.New(cluster.Config{StopTimeout: 2 * time.Minute, Logger: slog.New(slog.DiscardHandler)}, parts)
	if err != nil {
		t.Fatal(err)
	}
	if err := node.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = node.Stop(context.Background()) })
	in := &clusterpb.ClusterIdentity{}
	before := inUse()
	for i := range n {
		if _, err := back(t.Context(), node, core.Token{Seq: uint64(i)}.String(), in); err != nil {
			t.Fatal(err)
		}
	}
	return float64(inUse()-before) / float64(n)
}

// inUse is the heap and the stacks in use after a collection, in bytes. The second one empties pools.
func inUse() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}
