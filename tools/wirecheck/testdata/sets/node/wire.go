//go:build wireinject

// Package node uses cluster.Set alone: every role is an argument.
package node

import (
	"github.com/google/wire"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/cluster"
	"github.com/granary-go/granary/engine/grain"
)

// Node builds a node of whatever fills its roles.
func Node(
	cfg cluster.Config, provider core.Provider, lookup core.Lookup, kinds grain.Kinds, services grain.Services,
	interceptors grain.Interceptors, telemetry cluster.Telemetry,
) (*cluster.Node, error) {
	panic(wire.Build(cluster.Set))
}

// Caller builds a node of which only the calls are used.
func Caller(
	cfg cluster.Config, provider core.Provider, lookup core.Lookup, kinds grain.Kinds, services grain.Services,
	interceptors grain.Interceptors, telemetry cluster.Telemetry,
) (grain.Caller, error) {
	panic(wire.Build(cluster.Set))
}
