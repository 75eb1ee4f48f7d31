package memory_test

import (
	"testing"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/leaktest"
	"github.com/granary-go/granary/core/memory"
	"github.com/granary-go/granary/core/providertest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// providers is the harness of the hub's providers. In a bubble time costs nothing.
func providers(cfg memory.Config, bubble bool) providertest.Harness {
	return providertest.Harness{
		New: func(t testing.TB) providertest.World {
			hub, err := memory.New(cfg)
			if err != nil {
				t.Fatal(err)
			}
			return providertest.World{
				Provider: func() core.Provider { return hub.Provider() },
				Crash:    func(p core.Provider) { p.(*memory.Provider).Crash() },
			}
		},
		Settle: 5 * time.Second,
		Silent: 2 * max(cfg.TTL, time.Second),
		Bubble: bubble,
	}
}

func TestProvider(t *testing.T) {
	providertest.Run(t, providers(memory.Config{TTL: 2 * time.Second}, true))
}

func TestProviderInRealTime(t *testing.T) {
	providertest.Run(t, providers(memory.Config{TTL: 100 * time.Millisecond}, false))
}
