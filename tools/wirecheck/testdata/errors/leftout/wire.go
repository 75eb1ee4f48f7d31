//go:build wireinject

// Package leftout has nobody for the role of the lookup.
package leftout

import (
	"github.com/google/wire"

	"github.com/granary-go/granary/engine/cluster"
	"github.com/granary-go/granary/engine/grain"
	"github.com/granary-go/granary/providers/memberlist"
)

// Node cannot be generated.
func Node(cfg cluster.Config, members memberlist.Config, kinds grain.Kinds, services grain.Services) (*cluster.Node, error) {
	panic(wire.Build(cluster.Set, cluster.NoTelemetrySet, memberlist.Set))
}
