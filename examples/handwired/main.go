// Command handwired is the example typed without wire: plain constructors put the node together. It
// also shows a cluster of several processes:
//
//	go run ./examples/handwired                                a cluster of one member
//	go run ./examples/handwired -serve                         a member that stays, and prints where to join it
//	go run ./examples/handwired -serve -seeds 127.0.0.1:34567  another member
//	go run ./examples/handwired -seeds 127.0.0.1:34567         a client: it hosts nothing and calls the members
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/granary-go/granary/engine/cluster"
	"github.com/granary-go/granary/engine/grain"
	"github.com/granary-go/granary/examples/typed/cartpb"
	"github.com/granary-go/granary/examples/typed/shop"
	"github.com/granary-go/granary/lookups/disthash"
	"github.com/granary-go/granary/providers/memberlist"
)

func main() {
	serve := flag.Bool("serve", false, "be a member until interrupted")
	seeds := flag.String("seeds", "", "gossip addresses of members to join, separated by commas")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout, *serve, *seeds); err != nil {
		stop()
		log.Fatal(err) //nolint:gocritic // stop has run
	}
}

// patience is how long a seed may keep silent.
const patience = 30 * time.Second

// run joins the cluster, or begins one, and goes shopping.
func run(ctx context.Context, out io.Writer, serve bool, seeds string) (err error) {
	var join memberlist.Config
	if seeds != "" {
		join.Seeds = strings.Split(seeds, ",")
	}
	members, err1 := memberlist.New(join)
	lookup, err2 := disthash.New(disthash.Config{})
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	cfg, parts := cluster.Config{Name: "shop"}, cluster.Components{Provider: members, Lookup: lookup} // the other roles stay empty
	if cfg.Client = seeds != "" && !serve; !cfg.Client {
		parts.Kinds = grain.Kinds{cartpb.CartKind(shop.NewCart)}
	}
	node, err := cluster.New(cfg, parts)
	if err != nil {
		return err
	}
	starting, started := context.WithTimeout(ctx, patience)
	defer started()
	if err := node.Start(starting); err != nil { // nil means ready
		return err
	}
	defer func() { err = errors.Join(err, node.Stop(context.WithoutCancel(ctx))) }()

	if err := shop.Visit(ctx, cartpb.Cart(node, "alice"), out, "tea", "milk"); err != nil {
		return err
	}
	if serve {
		if _, err := fmt.Fprintf(out, "join with -seeds %s\n", members.Addr()); err != nil {
			return err
		}
		<-ctx.Done()
	}
	return nil
}
