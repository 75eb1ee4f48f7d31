package matrix

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/providertest"
	"github.com/granary-go/granary/providers/redis"
)

// crashing is a provider that may be cut off from its server.
type crashing struct {
	core.Provider
	core.ViewStore
	core.MemberLeases
	core.Refresher
	cut func()
}

// redisHarness has every check have a cluster of its own on one deployment. Each member has a client of its own,
// which a crash closes.
func redisHarness(cfg redis.ProviderConfig, connect func(testing.TB) (*redis.Client, func())) providertest.Harness {
	var clusters atomic.Int64
	return providertest.Harness{
		New: func(t testing.TB) providertest.World {
			cfg := cfg
			cfg.Name = fmt.Sprint("c", clusters.Add(1))
			return providertest.World{
				Provider: func() core.Provider {
					c, end := connect(t)
					p, err := redis.NewProvider(cfg, c)
					if err != nil {
						t.Fatal(err)
					}
					return crashing{p, p, p, p, end}
				},
				Crash: func(p core.Provider) { p.(crashing).cut() },
			}
		},
		Settle: 10 * time.Second,
		Silent: 20 * time.Second,
	}
}

func TestRedisProvider(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	h := redisHarness(redis.ProviderConfig{TTL: shortTTL, SingleNode: true}, func(t testing.TB) (*redis.Client, func()) {
		c, end, err := redis.Open(redis.Config{Address: server.Addr, Timeout: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(end)
		return c, end
	})
	plain, admin := h.New, raw(t, server.Addr)
	h.New = func(t testing.TB) providertest.World {
		w := plain(t)
		w.Wipe = func() { do(t, admin, "FLUSHALL") }
		w.Outage = func() func() {
			if err := server.Pause(); err != nil {
				t.Fatal(err)
			}
			return func() {
				if err := server.Resume(); err != nil {
					t.Error(err)
				}
			}
		}
		return w
	}
	providertest.Run(t, h)
}
