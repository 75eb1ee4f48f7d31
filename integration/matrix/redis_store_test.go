package matrix

import (
	"testing"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/storetest"
	"github.com/granary-go/granary/integration/servers"
	"github.com/granary-go/granary/integration/serverstest"
	"github.com/granary-go/granary/providers/redis"
)

func startRedis(t testing.TB, args ...string) *servers.Redis {
	t.Helper()
	return serverstest.Redis(t, servers.RedisConfig{Args: args})
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
	t.Parallel()
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
