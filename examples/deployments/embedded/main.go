// Command embedded is a member of a cluster whose members find each other by gossip: providers/memberlist is what
// it links, and nothing of the other choices. The deployments differ in their flags and in one line of wire.go.
//
//	go run ./examples/deployments/embedded -bind 127.0.0.1:7946
package main

import (
	"flag"
	"os"

	"github.com/granary-go/granary/engine/cluster"
	"github.com/granary-go/granary/examples/deployments/service"
	"github.com/granary-go/granary/lookups/disthash"
	"github.com/granary-go/granary/providers/memberlist"
)

// Config is the application's own: one field a part.
type Config struct {
	Cluster  cluster.Config
	Members  memberlist.Config // how the members meet
	Disthash disthash.Config
}

func main() {
	var cfg Config
	flag.StringVar(&cfg.Members.Bind, "bind", "127.0.0.1:0", "`host:port` for the gossip of the members")
	flag.Func("seed", "`host:port` of the gossip of another member; may be repeated", func(seed string) error {
		cfg.Members.Seeds = append(cfg.Members.Seeds, seed)
		return nil
	})
	os.Exit(service.Main(&cfg.Cluster, func() (*cluster.Node, func(), error) { return build(cfg) }))
}
