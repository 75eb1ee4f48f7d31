package parts_test

import (
	"testing"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/leaktest"
	"github.com/granary-go/granary/core/lookuptest"
	"github.com/granary-go/granary/core/memory"
	"github.com/granary-go/granary/core/providertest"
	"github.com/granary-go/granary/core/storetest"
	"github.com/granary-go/granary/core/strategytest"

	"example.com/custom/parts"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

func open(t testing.TB) func() core.Store {
	folder := parts.Folder(t.TempDir())
	return func() core.Store {
		s, end, err := parts.NewStore(folder)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(end)
		return s
	}
}

func TestStore(t *testing.T) { storetest.Run(t, storetest.Harness{New: open}) }

func TestStrategy(t *testing.T) {
	strategytest.Run(t, strategytest.Harness{New: func() core.Strategy { return parts.ByTenant{} }})
}

func TestProvider(t *testing.T) {
	providertest.Run(t, providertest.Harness{Bubble: true, New: func(testing.TB) providertest.World {
		s := memory.NewStore()
		return providertest.World{Provider: func() core.Provider { return parts.NewMembership("shop", s) }}
	}})
}

func TestProviderOnFiles(t *testing.T) {
	providertest.Run(t, providertest.Harness{Settle: time.Minute, New: func(t testing.TB) providertest.World {
		files := open(t)
		return providertest.World{Provider: func() core.Provider { return parts.NewMembership("shop", files()) }}
	}})
}

func TestLookup(t *testing.T) {
	lookuptest.Run(t, lookuptest.Harness{Bubble: true, New: func(testing.TB) func() core.Lookup {
		s := memory.NewStore()
		return func() core.Lookup { return parts.NewDirectory("shop", s) }
	}})
}
