package cluster_test

import (
	"context"
	"log/slog"
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

// farEcho is a node beside one that alone hosts Echo, over TCP.
func farEcho(t testing.TB) *cluster.Node {
	t.Helper()
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
			t.Fatal(err)
		}
		if err := node.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = node.Stop(context.Background()) })
		nodes = append(nodes, node)
	}
	return nodes[0]
}

// BenchmarkRemoteCall calls a grain on another member over TCP.
func BenchmarkRemoteCall(b *testing.B) {
	node := farEcho(b)
	in := &clusterpb.ClusterIdentity{Identity: "x"}
	ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
	defer cancel()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := back(ctx, node, "a", in); err != nil {
			b.Fatal(err)
		}
	}
}
