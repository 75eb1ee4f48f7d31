//go:build wireinject

// Package memberlist uses memberlist.Set.
package memberlist

import (
	"github.com/google/wire"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/providers/memberlist"
)

// Provider fills the role of the membership.
func Provider(cfg memberlist.Config) (core.Provider, error) {
	panic(wire.Build(memberlist.Set))
}
