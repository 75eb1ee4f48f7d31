package consul

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/viewkeeper"
)

// Mode says how a cluster is kept in Consul. All members of a cluster have the same.
type Mode uint8

// The modes.
const (
	// Record keeps one ordered view in one key, changed by check-and-set, and a session as the lease of each
	// member. It promises Ordered, Linearizable and Leases.
	Record Mode = iota

	// Catalog keeps each member as a service with a TTL check, as Proto.Actor's members do, so that they and
	// members of Granary see each other. It promises Compat alone.
	Catalog
)

// String is "record" or "catalog".
func (m Mode) String() string {
	switch m {
	case Record:
		return "record"
	case Catalog:
		return "catalog"
	}
	return "invalid"
}

// Config says where Consul is and how the cluster is kept there. The zero value works with an agent on this
// machine.
type Config struct {
	// Address is that of an agent: host:port, or http://, https:// or unix:// and where. Empty: the
	// environment variable CONSUL_HTTP_ADDR, and without it localhost:8500.
	Address string

	// Token is that of an ACL, whose policy needs what the package comment lists. Empty: the environment
	// variable CONSUL_HTTP_TOKEN, or the file that CONSUL_HTTP_TOKEN_FILE names, and without them none.
	Token string

	// TLS makes connections to the agent's HTTPS port. Nil: plain HTTP, unless Address says https.
	TLS *tls.Config

	// Datacenter is the one that holds the record. Empty: the agent's own. Mode Catalog knows no other.
	Datacenter string

	// Name is that of the cluster, and of its service in the catalogue: "granary". Clusters of different names
	// know nothing of each other. It may hold no slash and no control characters.
	Name string

	// Mode is Record unless set.
	Mode Mode

	// TTL is after how long without a sign of life Consul gives a member up: 10 s in mode Record, where Consul
	// takes up to twice that and allows no less unless its session_ttl_min is lowered; 3 s in mode Catalog. The
	// least is 1 s.
	TTL time.Duration

	// Timeout bounds each request beside its context: 3 s. Waiting for news is not bounded by it.
	Timeout time.Duration

	// MaxRequest is the size in bytes that the servers accept for one transaction: 512 KiB, as Consul does
	// unless its limits txn_max_req_len or kv_max_value_size are raised. It bounds the view record.
	MaxRequest int
}

// New makes the membership of one node. It does no I/O. In mode Record the provider offers core.ViewStore,
// core.MemberLeases and core.Refresher as well. It returns core.ErrInvalid for a Config that cannot work.
func New(cfg Config) (core.Provider, error) {
	cfg = cfg.withDefaults()
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("consul: %w", err)
	}
	c, err := newClient(cfg)
	if err != nil {
		return nil, fmt.Errorf("consul: %w", err)
	}
	if cfg.Mode == Catalog {
		return newCatalog(cfg, c), nil
	}
	b := newBackend(cfg, c)
	return &record{
		Provider: viewkeeper.New(viewkeeper.Config{
			Name:     "consul",
			Promises: core.Promises{Ordered: true, Linearizable: true, Leases: true},
			TTL:      cfg.TTL,
		}, b),
		client:  c,
		backend: b,
		keeper:  &keeper{entry: entry{client: c, service: cfg.Name, ttl: cfg.TTL, prefix: cfg.Name + ":", meta: map[string]string{ownerKey: Record.String()}}},
	}, nil
}

func (cfg Config) withDefaults() Config {
	ttl := 10 * time.Second
	if cfg.Mode == Catalog {
		ttl = 3 * time.Second
	}
	cfg.Name = cmp.Or(cfg.Name, "granary")
	cfg.TTL = cmp.Or(cfg.TTL, ttl)
	cfg.Timeout = cmp.Or(cfg.Timeout, 3*time.Second)
	cfg.MaxRequest = cmp.Or(cfg.MaxRequest, 512<<10)
	return cfg
}

func (cfg Config) check() error {
	var errs []error
	refuse := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("Config."+format+": %w", append(args, core.ErrInvalid)...))
	}
	if cfg.Mode > Catalog {
		refuse("Mode is %d, want Record or Catalog", cfg.Mode)
	}
	if strings.ContainsFunc(cfg.Name, func(r rune) bool { return r == '/' || r < ' ' || r == 0x7f }) || cfg.Name == "." || cfg.Name == ".." {
		refuse("Name is %q, and may hold no slash and no control characters", cfg.Name)
	}
	if cfg.TTL < time.Second || cfg.TTL > 24*time.Hour {
		refuse("TTL is %v, want 1s to 24h", cfg.TTL)
	}
	if cfg.Timeout < 0 {
		refuse("Timeout is %v, and may not be negative", cfg.Timeout)
	}
	if cfg.MaxRequest < 4<<10 {
		refuse("MaxRequest is %d, the least is %d", cfg.MaxRequest, 4<<10)
	}
	if cfg.TLS != nil && strings.HasPrefix(cfg.Address, "http://") {
		refuse("Address is %q, and there is a Config.TLS; write https, or leave TLS out", cfg.Address)
	}
	if cfg.Mode == Catalog && cfg.Datacenter != "" {
		refuse("Datacenter is %q, but a service is always in the catalogue of its agent's datacenter; leave it out in mode Catalog", cfg.Datacenter)
	}
	return errors.Join(errs...)
}
