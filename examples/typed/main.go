// Command typed runs grains that are generated from cartpb/cart.proto, on a node that wire puts
// together: wire.go says of what, wire_gen.go is what wire makes of it. Package cartpb is what
// granary-gen made of the .proto file; the grain itself is in package shop.
package main

import (
	"context"
	"errors"
	"io"
	"log"
	"os"
	"os/signal"

	"github.com/granary-go/granary/engine/cluster"
	"github.com/granary-go/granary/engine/grain"
	"github.com/granary-go/granary/examples/typed/cartpb"
	"github.com/granary-go/granary/examples/typed/shop"
	"github.com/granary-go/granary/lookups/disthash"
	"github.com/granary-go/granary/providers/memberlist"
)

// Config is the application's own: one field a part.
type Config struct {
	Cluster    cluster.Config
	Memberlist memberlist.Config
	Disthash   disthash.Config
}

// kinds are what this application hosts.
func kinds() grain.Kinds { return grain.Kinds{cartpb.CartKind(shop.NewCart)} }

// services are parts that bring kinds of their own, such as pub/sub: none here.
func services() grain.Services { return nil }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout); err != nil {
		stop()
		log.Fatal(err) //nolint:gocritic // stop has run
	}
}

// run starts a cluster of one member and goes shopping.
func run(ctx context.Context, out io.Writer) (err error) {
	node, err := build(Config{Cluster: cluster.Config{Name: "shop"}})
	if err != nil {
		return err
	}
	if err := node.Start(ctx); err != nil { // nil means ready
		return err
	}
	defer func() { err = errors.Join(err, node.Stop(context.WithoutCancel(ctx))) }()
	return shop.Visit(ctx, cartpb.Cart(node, "alice"), out, "tea", "tea", "milk", "honey", "piano")
}
