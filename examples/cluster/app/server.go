package app

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/cluster"
	"github.com/granary-go/granary/examples/cluster/wiring"
	"github.com/granary-go/granary/integration/servers"
	"github.com/granary-go/granary/lookups/disthash"
	"github.com/granary-go/granary/providers/memberlist"
	"github.com/granary-go/granary/providers/redis"
)

// server is where the members of a run meet, with a provider that needs one.
type server struct {
	address string
	own     owned // nil: it is the user's
}

// owned is a server that the run has started. It ends with the driver, however that ends.
type owned interface {
	Pid() int
	Stop() error
}

// obtain starts a server below a folder, or looks whether the one that the flags name answers. The error is a
// sentence for the user, who has to do something about it.
func obtain(ctx context.Context, o Options, dir string) (server, error) {
	dir = filepath.Join(dir, "server")
	switch {
	case o.Redis != "":
		return server{address: o.Redis}, reachRedis(ctx, o.Redis)
	case o.Provider == "redis":
		return started(dir, func() (server, error) {
			r, err := servers.StartRedis(ctx, servers.RedisConfig{Dir: dir})
			if err != nil {
				return server{}, err
			}
			return server{r.Addr, r}, nil
		})
	}
	return server{}, nil
}

// started starts a server that keeps its data in a folder.
func started(dir string, start func() (server, error)) (server, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return server{}, err
	}
	s, err := start()
	if err != nil {
		err = errors.New(strings.ReplaceAll(strings.TrimSpace(err.Error()), "\n", "; "))
	}
	return s, err
}

func reachRedis(ctx context.Context, address string) error {
	c, end, err := redis.Open(redis.Config{Address: address})
	if err != nil {
		return fmt.Errorf("-redis: %w", err)
	}
	defer end()
	if err := c.Check(ctx); err != nil {
		return fmt.Errorf("-redis: %w", err)
	}
	return nil
}

// end ends a server that the run has started, and removes its data.
func (s server) end(dir string) error {
	if s.own == nil {
		return nil
	}
	return errors.Join(s.own.Stop(), os.RemoveAll(filepath.Join(dir, "server")))
}

// newCluster names the cluster of a run. Where a server is shared with others, none has this name but it.
func newCluster() string { return "demo-" + strings.ToLower(rand.Text()[:8]) }

// config is what a process is made of, whichever provider it takes.
func (s start) config(c cluster.Config) wiring.Config {
	c.Name, c.Logger = "demo", logger(s.Name)
	return wiring.Config{
		Cluster:       c,
		Memberlist:    memberlist.Config{Seeds: s.Seeds, Preset: memberlist.Local},
		Redis:         redis.Config{Address: s.Server},
		RedisProvider: redis.ProviderConfig{Name: s.Cluster, SingleNode: s.Options.Redis == ""},
		Disthash:      disthash.Config{},
	}
}

// gossip is the address that a member with this provider can be the seed of others by; empty: it needs none.
func gossip(p core.Provider) string {
	if a, ok := p.(interface{ Addr() string }); ok {
		return a.Addr()
	}
	return ""
}
