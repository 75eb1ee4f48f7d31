package cluster_test

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/memory"
	"github.com/granary-go/granary/engine/cluster"
	"github.com/granary-go/granary/engine/grain"
)

type tally struct{ n int }

func newTally(grain.Self) (*tally, error) { return &tally{}, nil }

func (t *tally) Add(_ context.Context, by int) (int, error) {
	t.n += by
	return t.n, nil
}

func tallyKind() grain.Kind {
	return grain.KindOf("Tally", newTally, grain.Method("Add", (*tally).Add))
}

// quiet leaves the log out of the output.
var quiet = slog.New(slog.DiscardHandler)

func ExampleSingle() {
	ctx := context.Background()
	node, err := cluster.New(cluster.Config{Logger: quiet}, cluster.Single(tallyKind()))
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := node.Start(ctx); err != nil {
		fmt.Println(err)
		return
	}
	defer func() { fmt.Println("stopped:", node.Stop(ctx)) }()
	id := core.Identity{Kind: "Tally", Key: "apples"}
	for _, by := range []int{2, 3} {
		n, err := grain.Call[int](ctx, node, id, "Add", by)
		fmt.Println(n, err)
	}
	// Output:
	// 2 <nil>
	// 5 <nil>
	// stopped: <nil>
}

func ExampleNode() {
	ctx := context.Background()
	hub := memory.NewHub() // in the place of a provider and a lookup of a real cluster
	start := func(kinds ...grain.Kind) *cluster.Node {
		node, err := cluster.New(cluster.Config{Name: "shop", Logger: quiet}, cluster.Components{
			Provider: hub.Provider(), Lookup: hub.Lookup(), Kinds: kinds,
		})
		if err != nil {
			panic(err)
		}
		if err := node.Start(ctx); err != nil {
			panic(err)
		}
		return node
	}
	worker := start(tallyKind())
	caller := start() // it hosts nothing
	n, err := grain.Call[int](ctx, caller, core.Identity{Kind: "Tally", Key: "pears"}, "Add", 7)
	fmt.Println(n, err)
	for _, k := range worker.Kinds() {
		fmt.Println(k.Name, k.Live)
	}
	fmt.Println(worker.Stop(ctx), caller.Stop(ctx))
	// Output:
	// 7 <nil>
	// Tally 1
	// <nil> <nil>
}

func ExampleNew() {
	_, err := cluster.New(cluster.Config{Name: "my shop"}, cluster.Components{})
	fmt.Println(err)
	// Output:
	// cluster: Name "my shop": want 1 to 64 letters, digits, '_', '-', '.': invalid
	// cluster: Provider is missing: say who is in the cluster, or use Single: invalid
	// cluster: Lookup is missing: say where identities live, or use Single: invalid
}
