//go:build wireinject

package main

import (
	"github.com/google/wire"

	"github.com/granary-go/granary/engine/cluster"

	"example.com/custom/parts"
)

// build puts a node together: one set for what nobody swaps, one for what is swapped here.
func build(f parts.Folder, n parts.Name, cfg config) (process, func(), error) {
	panic(wire.Build(
		wire.FieldsOf(new(config), "Cluster", "Kinds", "Services", "Interceptors", "Telemetry"),
		cluster.Set,
		parts.Set, // roles: membership, identity lookup
		wire.Struct(new(process), "*"),
	))
}
