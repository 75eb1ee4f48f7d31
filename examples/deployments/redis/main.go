// Command redis is a member of a cluster whose members meet at a Redis server: providers/redis is what
// it links, and nothing of the other choices. The deployments differ in their flags and in one line of wire.go.
//
//	go run ./examples/deployments/redis -redis localhost:6379
package main

import (
	"flag"
	"os"

	"github.com/granary-go/granary/engine/cluster"
	"github.com/granary-go/granary/examples/deployments/service"
	"github.com/granary-go/granary/lookups/disthash"
	"github.com/granary-go/granary/providers/redis"
)

// Config is the application's own: one field a part.
type Config struct {
	Cluster  cluster.Config
	Members  redis.Config // how the members meet
	Disthash disthash.Config
}

func main() {
	var cfg Config
	flag.StringVar(&cfg.Members.Address, "redis", "localhost:6379", "`host:port` of the Redis server")
	os.Exit(service.Main(&cfg.Cluster, func() (*cluster.Node, func(), error) { return build(cfg) }))
}
