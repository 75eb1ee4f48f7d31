//go:build wireinject

package main

import (
	"github.com/google/wire"

	"github.com/granary-go/granary/engine/cluster"
	"github.com/granary-go/granary/lookups/disthash"
	"github.com/granary-go/granary/providers/memberlist"
)

// build puts the node together: one set a role.
func build(cfg Config) (*cluster.Node, error) {
	panic(wire.Build(
		wire.FieldsOf(new(Config), "Cluster", "Memberlist", "Disthash"),
		cluster.Set,            // what nobody swaps
		memberlist.Set,         // role: membership
		disthash.Set,           // role: identity lookup
		cluster.NoTelemetrySet, // roles: telemetry, interceptors
		kinds, services,        // what the application brings
	))
}
