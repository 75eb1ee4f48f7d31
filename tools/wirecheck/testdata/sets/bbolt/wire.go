//go:build wireinject

// Package bbolt uses the set of stores/bbolt: a store with its cleanup, bound to a role.
package bbolt

import (
	"github.com/google/wire"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/stores/bbolt"
)

// Build makes the store of a file.
func Build(cfg bbolt.Config) (core.Store, func(), error) {
	panic(wire.Build(bbolt.Set, wire.Bind(new(core.Store), new(*bbolt.Store))))
}
