package cluster_test

import (
	"context"
	"log/slog"
	"runtime"
	"testing"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/memory"
	"github.com/granary-go/granary/engine/cluster"
	"github.com/granary-go/granary/engine/grain"
	"github.com/granary-go/granary/protos/clusterpb"
)

// echo is a grain with messages of protobuf, which pass by pointer.
type echo struct{}

func (echo) Back(_ context.Context, in *clusterpb.ClusterIdentity) (*clusterpb.ClusterIdentity, error) {
	return in, nil
}

func echoKind() grain.Kind {
	return grain.NewKind("Echo", func(grain.Self) (echo, error) { return echo{}, nil },
		[]grain.MethodSpec{grain.ProtoMethod(grain.MethodSpec{Name: "Back"}, echo.Back)})
}

func single(t testing.TB, cfg cluster.Config, kinds ...grain.Kind) *cluster.Node {
	t.Helper()
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	node, err := cluster.New(cfg, cluster.Single(kinds...))
	if err != nil {
		t.Fatal(err)
	}
	if err := node.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := node.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return node
}

func back(ctx context.Context, c grain.Caller, key string, in *clusterpb.ClusterIdentity) (*clusterpb.ClusterIdentity, error) {
	return grain.Do[*clusterpb.ClusterIdentity](ctx, c, grain.Request{To: core.Identity{Kind: "Echo", Key: key}, Method: "Back", Index: 0, Arg: in})
}

// TestLocalCallDoesNotAllocate, but for an eighth of its context.
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
	if objects > 0.25 || bytes > 200 {
		t.Errorf("%.2f objects and %.0f bytes a call, want an eighth of one, and 100 bytes", objects, bytes)
	}
}

// TestBytesPerActivation measures an empty grain with all that stands for it in tables and caches, under
// the lookup of one process, which keeps a directory, and under one that places by ownership alone.
func TestBytesPerActivation(t *testing.T) {
	for name, row := range map[string]struct {
		lookup func() (core.Lookup, error)
		limit  float64
	}{"directory": {nil, 1600}, "ownership": {newRing, 1250}} {
		t.Run(name, func(t *testing.T) {
			parts := cluster.Single(echoKind())
			if row.lookup != nil {
				parts.Lookup, _ = row.lookup()
			}
			each := bytesPerActivation(t, parts)
			t.Logf("%.0f bytes an activation", each)
			if each > row.limit {
				t.Errorf("%.0f bytes an activation, want at most %.0f with tables and caches", each, row.limit)
			}
		})
	}
}

func bytesPerActivation(t *testing.T, parts cluster.Components) float64 {
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
	var before, after runtime.MemStats
	const n = 20_000
	keys := make([]string, n)
	for i := range keys {
		keys[i] = core.Token{Seq: uint64(i)}.String()
	}
	runtime.GC()
	runtime.ReadMemStats(&before)
	for _, key := range keys {
		if _, err := back(t.Context(), node, key, in); err != nil {
			t.Fatal(err)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	return float64(after.HeapAlloc-before.HeapAlloc) / n
}

func BenchmarkLocalCallProto(b *testing.B) {
	node := single(b, cluster.Config{}, echoKind())
	in := &clusterpb.ClusterIdentity{}
	ctx := b.Context()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := back(ctx, node, "a", in); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkActivate makes activations under a lookup that places by ownership alone.
func BenchmarkActivate(b *testing.B) {
	lookup, _ := newRing()
	parts := cluster.Single(echoKind())
	parts.Lookup = lookup
	node, err := cluster.New(cluster.Config{Logger: slog.New(slog.DiscardHandler)}, parts)
	if err != nil {
		b.Fatal(err)
	}
	if err := node.Start(b.Context()); err != nil {
		b.Fatal(err)
	}
	defer func() { _ = node.Stop(context.Background()) }()
	in := &clusterpb.ClusterIdentity{}
	keys := make([]string, 1<<20)
	for i := range keys {
		keys[i] = core.Token{Seq: uint64(i)}.String()
	}
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		if _, err := back(b.Context(), node, keys[i%len(keys)], in); err != nil {
			b.Fatal(err)
		}
		i++
	}
}

// BenchmarkRemoteCall calls a grain on another member over TCP.
func BenchmarkRemoteCall(b *testing.B) {
	hub := memory.NewHub()
	var nodes []*cluster.Node
	for i := range 2 {
		lookup, _ := newRing()
		parts := cluster.Components{Provider: hub.Provider(), Lookup: lookup}
		if i == 1 {
			parts.Kinds = grain.Kinds{echoKind()}
		}
		node, err := cluster.New(cluster.Config{Logger: slog.New(slog.DiscardHandler)}, parts)
		if err != nil {
			b.Fatal(err)
		}
		if err := node.Start(b.Context()); err != nil {
			b.Fatal(err)
		}
		defer func() { _ = node.Stop(context.Background()) }()
		nodes = append(nodes, node)
	}
	in := &clusterpb.ClusterIdentity{Identity: "x"}
	ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
	defer cancel()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := back(ctx, nodes[0], "a", in); err != nil {
			b.Fatal(err)
		}
	}
}
