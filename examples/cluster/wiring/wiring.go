// Package wiring puts the processes of examples/cluster together, one injector a choice of provider
// and lookup.
package wiring

import (
	"github.com/granary-go/granary/engine/cluster"
	"github.com/granary-go/granary/engine/grain"
	"github.com/granary-go/granary/lookups/disthash"
	"github.com/granary-go/granary/providers/memberlist"
)

// Config is what a process is made of: one field a part.
type Config struct {
	Cluster      cluster.Config
	Memberlist   memberlist.Config
	Disthash     disthash.Config
	Kinds        grain.Kinds
	Services     grain.Services
	Interceptors grain.Interceptors
	Telemetry    cluster.Telemetry
}

// Process is what an injector makes: the node, what it was made of, and the provider, whose address
// is the seed of others.
type Process struct {
	Node     *cluster.Node
	Parts    *cluster.Components
	Provider *memberlist.Provider
}
