// Package service is what the deployments have in common: a program that keeps carts, as a member of a cluster. It
// knows nothing of how its node is put together.
package service

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/granary-go/granary/engine/cluster"
	"github.com/granary-go/granary/engine/grain"
	"github.com/granary-go/granary/examples/typed/cartpb"
	"github.com/granary-go/granary/examples/typed/shop"
)

// Kinds are the grains that a member hosts.
func Kinds() grain.Kinds { return grain.Kinds{cartpb.CartKind(shop.NewCart)} }

// Services are parts that bring kinds of their own: none here.
func Services() grain.Services { return nil }

// Build makes the node of a deployment. The function it returns ends what the node was made of, once it has stopped.
type Build func() (*cluster.Node, func(), error)

// Main adds the flags that all deployments have to those of the command line, and runs a member until Ctrl-C or
// SIGTERM, or with -customer until that one has been shopping. It returns the exit code.
func Main(config *cluster.Config, build Build) int {
	config.Name = "shop"
	flag.StringVar(&config.Address, "address", "127.0.0.1:0", "`host:port` at which other members reach this one; more than loopback needs TLS")
	customer := flag.String("customer", "", "go shopping as this `customer`, and leave")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Stdout, build, *customer); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// run is the life of a member.
func run(ctx context.Context, stdout io.Writer, build Build, customer string) (err error) {
	node, end, err := build()
	if err != nil {
		return err
	}
	defer end()
	if err := node.Start(ctx); err != nil { // nil means ready
		return err
	}
	defer func() { err = errors.Join(err, node.Stop(context.WithoutCancel(ctx))) }()
	fmt.Fprintf(stdout, "ready, of %d members\n", node.View().Len())
	if customer == "" {
		<-ctx.Done()
		return nil
	}
	return shop.Visit(ctx, cartpb.Cart(node, customer), stdout, "tea", "milk")
}
