package app

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/cluster"
	"github.com/granary-go/granary/examples/cluster/wiring"
	"github.com/granary-go/granary/integration/servers"
	"github.com/granary-go/granary/providers/consul"
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
	case o.Consul != "":
		return server{address: o.Consul}, reachConsul(ctx, o.Consul)
	case o.Provider == "consul":
		return started(dir, func() (server, error) {
			c, err := servers.StartConsul(ctx, servers.ConsulConfig{Dir: dir})
			if err != nil {
				return server{}, err
			}
			return server{c.URL, c}, nil
		})
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
	// First without go-redis, which writes of each attempt that fails to standard error.
	conn, err := (&net.Dialer{Timeout: 3 * time.Second}).DialContext(ctx, "tcp", address)
	if err == nil {
		err = errors.Join(conn.Close(), c.Check(ctx))
	}
	if err != nil {
		return fmt.Errorf("-redis: is a server running there? %w", err)
	}
	return nil
}

// reachConsul asks an agent who leads: it answers that to everybody, and not without a leader.
func reachConsul(ctx context.Context, address string) error {
	if !strings.Contains(address, "://") {
		address = "http://" + address
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	ask, err := http.NewRequestWithContext(ctx, http.MethodGet, address+"/v1/status/leader", nil)
	if err != nil {
		return fmt.Errorf("-consul: %w", err)
	}
	answer, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(ask)
	if err != nil {
		return fmt.Errorf("-consul: is an agent running there? %w", err)
	}
	defer answer.Body.Close()
	leader, err := io.ReadAll(io.LimitReader(answer.Body, 1000))
	if err != nil || answer.StatusCode != http.StatusOK || len(leader) <= len(`""`) {
		return fmt.Errorf("-consul %s: no agent of a cluster with a leader: %s %s", address, answer.Status, strings.TrimSpace(string(leader)))
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
		Consul:        consul.Config{Address: s.Server, Name: s.Cluster},
	}
}

// gossip is the address that a member with this provider can be the seed of others by; empty: it needs none.
func gossip(p core.Provider) string {
	if a, ok := p.(interface{ Addr() string }); ok {
		return a.Addr()
	}
	return ""
}
