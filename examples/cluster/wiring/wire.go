//go:build wireinject

package wiring

import (
	"github.com/google/wire"

	"github.com/granary-go/granary/engine/cluster"
	"github.com/granary-go/granary/lookups/disthash"
	"github.com/granary-go/granary/providers/consul"
	"github.com/granary-go/granary/providers/memberlist"
	"github.com/granary-go/granary/providers/redis"
)

// MemberlistDisthash makes a process with embedded membership and hashed ownership.
func MemberlistDisthash(cfg Config) (Process, error) {
	panic(wire.Build(
		wire.FieldsOf(new(Config), "Cluster", "Memberlist", "Disthash", "Kinds", "Services", "Interceptors", "Telemetry"),
		cluster.Set,    // what nobody swaps
		memberlist.Set, // role: membership
		disthash.Set,   // role: identity lookup
		wire.Struct(new(Process), "*"),
	))
}

// RedisDisthash makes a process whose members meet at a Redis server, and hashed ownership.
func RedisDisthash(cfg Config) (Process, func(), error) {
	panic(wire.Build(
		wire.FieldsOf(new(Config), "Cluster", "Redis", "RedisProvider", "Disthash", "Kinds", "Services", "Interceptors", "Telemetry"),
		cluster.Set,                        // what nobody swaps
		redis.ClientSet, redis.ProviderSet, // role: membership
		disthash.Set, // role: identity lookup
		wire.Struct(new(Process), "*"),
	))
}

// ConsulDisthash makes a process whose members meet in Consul, and hashed ownership.
func ConsulDisthash(cfg Config) (Process, error) {
	panic(wire.Build(
		wire.FieldsOf(new(Config), "Cluster", "Consul", "Disthash", "Kinds", "Services", "Interceptors", "Telemetry"),
		cluster.Set,  // what nobody swaps
		consul.Set,   // role: membership
		disthash.Set, // role: identity lookup
		wire.Struct(new(Process), "*"),
	))
}
