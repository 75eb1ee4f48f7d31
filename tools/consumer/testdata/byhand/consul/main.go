// Command consul is examples/deployments/consul without wire.
package main

import (
	"errors"
	"flag"
	"os"

	"github.com/granary-go/granary/engine/cluster"
	"github.com/granary-go/granary/examples/deployments/service"
	"github.com/granary-go/granary/lookups/disthash"
	"github.com/granary-go/granary/providers/consul"
)

func main() {
	var cfg cluster.Config
	at := flag.String("consul", "localhost:8500", "`URL` of the Consul agent")
	os.Exit(service.Main(&cfg, func() (*cluster.Node, func(), error) {
		members, err := consul.New(consul.Config{Address: *at, Name: "shop"})
		lookup, err2 := disthash.New(disthash.Config{})
		if err := errors.Join(err, err2); err != nil {
			return nil, nil, err
		}
		node, err := cluster.New(cfg, cluster.Components{Provider: members, Lookup: lookup, Kinds: service.Kinds()})
		return node, func() {}, err
	}))
}
