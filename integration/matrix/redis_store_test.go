package matrix

import (
	"context"
	"testing"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/storetest"
	"github.com/granary-go/granary/integration/servers"
	"github.com/granary-go/granary/providers/redis"
)

func startRedis(t testing.TB, args ...string) *servers.Redis {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	r, err := servers.StartRedis(ctx, servers.RedisConfig{Dir: t.TempDir(), Args: args})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Stop(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func open(t testing.TB, cfg redis.Config) *redis.Client {
	t.Helper()
	c, cleanup, err := redis.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cleanup)
	return c
}

func TestRedisStore(t *testing.T) {
	server := startRedis(t)
	storetest.Run(t, storetest.Harness{
		New: func(t testing.TB) func() core.Store {
			return func() core.Store {
				s, err := redis.NewStore(redis.StoreConfig{}, open(t, redis.Config{Address: server.Addr}))
				if err != nil {
					t.Fatal(err)
				}
				return s
			}
		},
	})
}
