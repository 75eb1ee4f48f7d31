//go:build wireinject

// Package redis uses redis.ClientSet with each of the sets that stand on it.
package redis

import (
	"github.com/google/wire"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/providers/redis"
)

// Provider fills the role of the membership.
func Provider(cfg redis.Config, members redis.ProviderConfig) (core.Provider, func(), error) {
	panic(wire.Build(redis.ClientSet, redis.ProviderSet))
}

// Store makes a store, which the application binds to a role.
func Store(cfg redis.Config, items redis.StoreConfig) (*redis.Store, func(), error) {
	panic(wire.Build(redis.ClientSet, redis.StoreSet))
}
