package redis

import (
	"cmp"
	"fmt"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/viewkeeper"
)

// DefaultTTL is that of leases.
const DefaultTTL = 10 * time.Second

// ProviderConfig sets up a Provider. The zero value works.
type ProviderConfig struct {
	// Name is that of the cluster: "granary". Clusters with different names on one server know nothing of
	// each other. It may hold anything but braces.
	Name string

	// TTL is after how long a member that renews nothing is taken out, by whoever has counted that long
	// itself and a fifth longer: DefaultTTL. The least is 1 s.
	TTL time.Duration

	// SingleNode says that the client speaks to one server without replicas that is run with
	// "appendonly yes" and "appendfsync always". Only then is what it has answered never lost, and only then
	// does the provider promise Linearizable.
	SingleNode bool
}

// Provider is the membership of one node, kept in Redis. It is a viewkeeper.Provider, and says what it promises
// in Promises: Ordered; Linearizable with ProviderConfig.SingleNode.
type Provider struct{ *viewkeeper.Provider }

// NewProvider makes the membership of one node on a client. It does no I/O.
func NewProvider(cfg ProviderConfig, client *Client) (*Provider, error) {
	cfg.Name, cfg.TTL = cmp.Or(cfg.Name, "granary"), cmp.Or(cfg.TTL, DefaultTTL)
	if cfg.TTL < time.Second {
		return nil, fmt.Errorf("redis: ProviderConfig.TTL is %v, the least is 1s: %w", cfg.TTL, core.ErrInvalid)
	}
	for _, r := range cfg.Name {
		if r == '{' || r == '}' {
			return nil, fmt.Errorf("redis: ProviderConfig.Name is %q, and may hold no braces: %w", cfg.Name, core.ErrInvalid)
		}
	}
	return &Provider{viewkeeper.New(viewkeeper.Config{
		Name:     "redis",
		Promises: core.Promises{Ordered: true, Linearizable: cfg.SingleNode},
		TTL:      cfg.TTL,
	}, newBackend(cfg.Name, client))}, nil
}
