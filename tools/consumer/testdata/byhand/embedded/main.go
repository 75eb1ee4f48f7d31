// Command embedded is examples/deployments/embedded without wire.
package main

import (
	"errors"
	"os"

	"github.com/granary-go/granary/engine/cluster"
	"github.com/granary-go/granary/examples/deployments/service"
	"github.com/granary-go/granary/lookups/disthash"
	"github.com/granary-go/granary/providers/memberlist"
)

func main() {
	var cfg cluster.Config
	os.Exit(service.Main(&cfg, func() (*cluster.Node, func(), error) {
		members, err := memberlist.New(memberlist.Config{})
		lookup, err2 := disthash.New(disthash.Config{})
		if err := errors.Join(err, err2); err != nil {
			return nil, nil, err
		}
		node, err := cluster.New(cfg, cluster.Components{Provider: members, Lookup: lookup, Kinds: service.Kinds()})
		return node, func() {}, err
	}))
}
