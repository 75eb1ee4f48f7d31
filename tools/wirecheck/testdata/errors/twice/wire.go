//go:build wireinject

// Package twice has two for the role of the membership.
package twice

import (
	"github.com/google/wire"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/memory"
	"github.com/granary-go/granary/engine/cluster"
	"github.com/granary-go/granary/engine/grain"
	"github.com/granary-go/granary/lookups/disthash"
	"github.com/granary-go/granary/providers/memberlist"
)

// Node cannot be generated.
func Node(
	cfg cluster.Config, members memberlist.Config, d disthash.Config, hub *memory.Hub,
	kinds grain.Kinds, services grain.Services,
) (*cluster.Node, error) {
	panic(wire.Build(
		cluster.Set, cluster.NoTelemetrySet, disthash.Set,
		memberlist.Set,
		inProcess, wire.Bind(new(core.Provider), new(*memory.Provider)),
	))
}

func inProcess(hub *memory.Hub) *memory.Provider { return hub.Provider() }
