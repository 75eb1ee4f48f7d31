// Command hello is the smallest grain: one process, plain Go types, nothing generated.
package main

import (
	"context"
	"fmt"
	"log"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/cluster"
	"github.com/granary-go/granary/engine/grain"
)

type greeter struct{ said int }

func newGreeter(grain.Self) (*greeter, error) { return &greeter{}, nil }

func (g *greeter) Say(_ context.Context, name string) (string, error) {
	g.said++
	return fmt.Sprintf("hello %s, %d", name, g.said), nil
}

func main() {
	ctx := context.Background()
	kind := grain.KindOf("Greeter", newGreeter, grain.Method("Say", (*greeter).Say))
	node, err := cluster.New(cluster.Config{}, cluster.Single(kind))
	if err != nil {
		log.Fatal(err)
	}
	if err := node.Start(ctx); err != nil {
		log.Fatal(err)
	}
	defer func() { _ = node.Stop(ctx) }()
	text, err := grain.Call[string](ctx, node, core.Identity{Kind: "Greeter", Key: "world"}, "Say", "you")
	fmt.Println(text, err) // hello you, 1 <nil>
}
