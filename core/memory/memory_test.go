package memory_test

import (
	"slices"
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
	providertest.Run(t, providers(memory.Config{TTL: 500 * time.Millisecond}, false))
}

// TestLies has the suite find each lie, and shows which promise was seen broken.
func TestLies(t *testing.T) {
	wants := map[memory.Lie]string{
		memory.LieOrder:      "epochs are one ascending sequence for all",
		memory.LieSwap:       "a swap against an older record gives ErrConflict and the present view",
		memory.LieRenewal:    "renewal gives ErrEvicted once the row was swapped out",
		memory.LieExpiry:     "a member that vanished is taken out, and nobody else",
		memory.LieUpdate:     "Update replaces one's own row for everybody",
		memory.LieLeave:      "Leave takes the member out of every view",
		memory.LieAfterLeave: "no report comes after Leave",
		memory.LieID:         "an ID that is another's or has departed gives ErrConflict",
	}
	for lie := memory.Honest + 1; lie.String() != "unknown"; lie++ {
		t.Run(lie.String(), func(t *testing.T) {
			broken := providertest.Broken(t, providers(memory.Config{TTL: 2 * time.Second, Lie: lie}, true))
			if want := wants[lie]; !slices.Contains(broken, want) {
				t.Errorf("%q was not found broken; found were %q", want, broken)
			}
		})
	}
	if broken := providertest.Broken(t, providers(memory.Config{TTL: 2 * time.Second}, true)); len(broken) > 0 {
		t.Errorf("the honest hub was found to break %q", broken)
	}
}
