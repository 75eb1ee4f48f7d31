package cluster

import (
	"github.com/google/wire"

	"github.com/granary-go/granary/engine/grain"
)

// Set makes a Node of a Config, a core.Provider, a core.Lookup, and the roles grain.Kinds,
// grain.Services, grain.Interceptors and Telemetry.
var Set = wire.NewSet(
	New,
	wire.Struct(new(Components), "*"),
	wire.Bind(new(grain.Caller), new(*Node)),
)

// NoTelemetrySet fills the roles of telemetry with nothing.
var NoTelemetrySet = wire.NewSet(NoTelemetry, NoInterceptors)

// NoTelemetry sees nothing.
func NoTelemetry() Telemetry { return Telemetry{} }

// NoInterceptors wrap nothing.
func NoInterceptors() grain.Interceptors { return nil }
