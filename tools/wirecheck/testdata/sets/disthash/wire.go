//go:build wireinject

// Package disthash uses disthash.Set.
package disthash

import (
	"github.com/google/wire"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/lookups/disthash"
)

// Lookup fills the role of the lookup.
func Lookup(cfg disthash.Config) (core.Lookup, error) {
	panic(wire.Build(disthash.Set))
}
