// Command consul is a member of a cluster whose members meet in Consul: providers/consul is what
// it links, and nothing of the other choices. The deployments differ in their flags and in one line of wire.go.
//
//	go run ./examples/deployments/consul -consul localhost:8500
package main

import (
	"flag"
	"os"

	"github.com/granary-go/granary/engine/cluster"
	"github.com/granary-go/granary/examples/deployments/service"
	"github.com/granary-go/granary/lookups/disthash"
	"github.com/granary-go/granary/providers/consul"
)

// Config is the application's own: one field a part.
type Config struct {
	Cluster  cluster.Config
	Members  consul.Config // how the members meet
	Disthash disthash.Config
}

func main() {
	var cfg Config
	cfg.Members.Name = "shop"
	flag.StringVar(&cfg.Members.Address, "consul", "localhost:8500", "`URL` of the Consul agent")
	os.Exit(service.Main(&cfg.Cluster, func() (*cluster.Node, func(), error) { return build(cfg) }))
}
