// Command redis is examples/deployments/redis without wire.
package main

import (
	"errors"
	"flag"
	"os"

	"github.com/granary-go/granary/engine/cluster"
	"github.com/granary-go/granary/examples/deployments/service"
	"github.com/granary-go/granary/lookups/disthash"
	"github.com/granary-go/granary/providers/redis"
)

func main() {
	var cfg cluster.Config
	at := flag.String("redis", "localhost:6379", "`host:port` of the Redis server")
	os.Exit(service.Main(&cfg, func() (*cluster.Node, func(), error) {
		client, end, err := redis.Open(redis.Config{Address: *at})
		if err != nil {
			return nil, nil, err
		}
		members, err := redis.NewProvider(redis.ProviderConfig{Name: "shop"}, client)
		lookup, err2 := disthash.New(disthash.Config{})
		if err := errors.Join(err, err2); err != nil {
			end()
			return nil, nil, err
		}
		node, err := cluster.New(cfg, cluster.Components{Provider: members, Lookup: lookup, Kinds: service.Kinds()})
		return node, end, err
	}))
}
