// Package wiring puts the processes of examples/cluster together, one injector a choice of provider
// and lookup.
package wiring

import (
	"fmt"

	"github.com/granary-go/granary/engine/cluster"
	"github.com/granary-go/granary/engine/grain"
	"github.com/granary-go/granary/lookups/disthash"
	"github.com/granary-go/granary/providers/consul"
	"github.com/granary-go/granary/providers/memberlist"
	"github.com/granary-go/granary/providers/redis"
)

// Config is what a process is made of: one field a part.
type Config struct {
	Cluster       cluster.Config
	Memberlist    memberlist.Config
	Redis         redis.Config
	RedisProvider redis.ProviderConfig
	Consul        consul.Config
	Disthash      disthash.Config
	Kinds         grain.Kinds
	Services      grain.Services
	Interceptors  grain.Interceptors
	Telemetry     cluster.Telemetry
}

// Process is what an injector makes: the node, and what it was made of.
type Process struct {
	Node  *cluster.Node
	Parts *cluster.Components
}

// Make makes a process with a provider that is chosen when it starts. The function it returns ends what the
// process was made of, once the node has stopped.
func Make(provider string, cfg Config) (Process, func(), error) {
	switch provider {
	case "redis":
		return RedisDisthash(cfg)
	case "consul":
		p, err := ConsulDisthash(cfg)
		return p, func() {}, err
	case "memberlist":
		p, err := MemberlistDisthash(cfg)
		return p, func() {}, err
	}
	return Process{}, nil, fmt.Errorf("no injector for provider %q", provider)
}
