// Package serverstest gives real servers to tests, each ended with the test that started it. Where a server's
// program is not on the machine a test is skipped, and says which command gets it; under `make test`, which
// gets them first, it fails.
package serverstest

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/granary-go/granary/integration/servers"
)

// Required is the variable of the environment that makes a missing server a failure, if it is set to "required".
const Required = "GRANARY_SERVERS"

// limit is for servers to answer on a machine that does much else.
const limit = 2 * time.Minute

// Redis starts a redis-server, in a folder of the test's if none is named.
func Redis(t testing.TB, cfg servers.RedisConfig) *servers.Redis {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	return start(t, func(ctx context.Context) (*servers.Redis, error) { return servers.StartRedis(ctx, cfg) })
}

// RedisCluster starts a Redis Cluster of n masters.
func RedisCluster(t testing.TB, n int) *servers.RedisCluster {
	t.Helper()
	dir := t.TempDir()
	return start(t, func(ctx context.Context) (*servers.RedisCluster, error) {
		return servers.StartRedisCluster(ctx, dir, n)
	})
}

// RedisSentinel starts a master and a replica that three sentinels watch.
func RedisSentinel(t testing.TB) *servers.RedisSentinel {
	t.Helper()
	dir := t.TempDir()
	return start(t, func(ctx context.Context) (*servers.RedisSentinel, error) { return servers.StartRedisSentinel(ctx, dir) })
}

// Consul starts a Consul server, in a folder of the test's if none is named.
func Consul(t testing.TB, cfg servers.ConsulConfig) *servers.Consul {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	return start(t, func(ctx context.Context) (*servers.Consul, error) { return servers.StartConsul(ctx, cfg) })
}

// start starts one kind of server and has the test end it.
func start[S interface{ Stop() error }](t testing.TB, how func(context.Context) (S, error)) S {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	s, err := how(ctx)
	Have(t, err)
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// Have ends the test where err says that there is no server: skipped if its program is not on the machine, unless
// servers are required, and failed if it is there and does not start.
func Have(t testing.TB, err error) {
	t.Helper()
	switch {
	case err == nil:
	case errors.Is(err, servers.ErrMissing) && os.Getenv(Required) != "required":
		t.Skipf("NOT TESTED: %v", err)
	default:
		t.Fatal(err)
	}
}
