//go:build wireinject

package main

import (
	"github.com/google/wire"

	"github.com/granary-go/granary/engine/cluster"
	"github.com/granary-go/granary/examples/deployments/service"
	"github.com/granary-go/granary/lookups/disthash"
	"github.com/granary-go/granary/providers/consul"
)

// build puts the node together. Another provider is another line here.
func build(cfg Config) (*cluster.Node, func(), error) {
	panic(wire.Build(
		wire.FieldsOf(new(Config), "Cluster", "Members", "Disthash"),
		cluster.Set, cluster.NoTelemetrySet, disthash.Set,
		consul.Set, // how the members meet
		service.Kinds, service.Services,
	))
}
