//go:build wireinject

// Package consul uses consul.Set.
package consul

import (
	"github.com/google/wire"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/providers/consul"
)

// Provider fills the role of the membership.
func Provider(cfg consul.Config) (core.Provider, error) {
	panic(wire.Build(consul.Set))
}
