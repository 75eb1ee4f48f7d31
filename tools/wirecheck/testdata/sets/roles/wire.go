//go:build wireinject

// Package roles uses the sets of roles that stay empty.
package roles

import (
	"github.com/google/wire"

	"github.com/granary-go/granary/engine/cluster"
	"github.com/granary-go/granary/engine/grain"
)

// Telemetry is the empty role.
func Telemetry() cluster.Telemetry {
	panic(wire.Build(cluster.NoTelemetrySet))
}

// Interceptors is the empty role.
func Interceptors() grain.Interceptors {
	panic(wire.Build(cluster.NoTelemetrySet))
}
