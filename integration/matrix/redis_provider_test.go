package matrix

import (
	"fmt"
	"sync"
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

func TestRedisProvider(t *testing.T) {
	server := startRedis(t)
	var mu sync.Mutex
	clusters := 0
	providertest.Run(t, providertest.Harness{
		New: func(t testing.TB) providertest.World {
			mu.Lock()
			clusters++
			name := fmt.Sprint("c", clusters)
			mu.Unlock()
			return providertest.World{
				Provider: func() core.Provider {
					c, cleanup, err := redis.Open(redis.Config{Address: server.Addr, Timeout: time.Second})
					if err != nil {
						t.Fatal(err)
					}
					t.Cleanup(cleanup)
					p, err := redis.NewProvider(redis.ProviderConfig{Name: name, TTL: 2 * time.Second, SingleNode: true}, c)
					if err != nil {
						t.Fatal(err)
					}
					return crashing{p, p, p, p, cleanup}
				},
				Crash: func(p core.Provider) { p.(crashing).cut() },
			}
		},
		Settle: 10 * time.Second,
		Silent: 20 * time.Second,
	})
}
