package cluster_test

import (
	"context"
	"log/slog"
	"testing"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/cluster"
	"github.com/granary-go/granary/engine/grain"
)

type greeter struct{ said int }

func newGreeter(grain.Self) (*greeter, error) { return &greeter{}, nil }

func (g *greeter) Say(_ context.Context, name string) (string, error) {
	g.said++
	return "hello " + name, nil
}

func TestSingleNodeCall(t *testing.T) {
	kind := grain.KindOf("Greeter", newGreeter, grain.Method("Say", (*greeter).Say))
	node, err := cluster.New(cluster.Config{Logger: slog.New(slog.DiscardHandler)}, cluster.Single(kind))
	if err != nil {
		t.Fatal(err)
	}
	if err := node.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	id := core.Identity{Kind: "Greeter", Key: "world"}
	text, err := grain.Call[string](t.Context(), node, id, "Say", "you")
	if err != nil || text != "hello you" {
		t.Fatal(text, err)
	}
	if err := node.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func BenchmarkLocalCall(b *testing.B) {
	kind := grain.KindOf("Greeter", newGreeter, grain.Method("Say", (*greeter).Say))
	node, err := cluster.New(cluster.Config{Logger: slog.New(slog.DiscardHandler)}, cluster.Single(kind))
	if err != nil {
		b.Fatal(err)
	}
	if err := node.Start(b.Context()); err != nil {
		b.Fatal(err)
	}
	defer node.Stop(b.Context())
	id := core.Identity{Kind: "Greeter", Key: "world"}
	ctx := b.Context()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := grain.Call[string](ctx, node, id, "Say", "you"); err != nil {
			b.Fatal(err)
		}
	}
}
