package memberlist

import (
	"sync"
	"testing"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/providertest"
)

func TestConformance(t *testing.T) {
	providertest.Run(t, providertest.Harness{
		New: func(t testing.TB) providertest.World {
			w := &suiteWorld{t: t}
			return providertest.World{Provider: w.provider, Crash: w.crash}
		},
		Silent: 15 * time.Second,
	})
}

// suiteWorld is one pool of the suite: each provider takes those before it as seeds.
type suiteWorld struct {
	t    testing.TB
	mu   sync.Mutex
	made []*Provider
}

func (w *suiteWorld) provider() core.Provider {
	w.mu.Lock()
	defer w.mu.Unlock()
	cfg := Config{Preset: Local}
	for _, p := range w.made {
		if at := p.Addr(); at != "" {
			cfg.Seeds = append(cfg.Seeds, at)
		}
	}
	p, err := New(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	w.made = append(w.made, p)
	return p
}

func (w *suiteWorld) crash(p core.Provider) {
	for _, m := range w.made {
		if m == p {
			crash(m)
		}
	}
}
