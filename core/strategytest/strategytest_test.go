package strategytest

import (
	"sync/atomic"
	"testing"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/internal/suitetest"
	"github.com/granary-go/granary/core/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// whim picks somebody else every time, somebody out of nobody, and spoils the candidates.
type whim struct{ n atomic.Int64 }

func (w *whim) Pick(_ core.Identity, candidates []core.Member) (core.Member, bool) {
	n := w.n.Add(1)
	if len(candidates) == 0 || n%7 == 0 {
		return core.Member{ID: "stranger"}, true
	}
	i := int(n) % min(2, len(candidates))
	picked := candidates[i]
	if len(candidates) == 10 {
		candidates[i].Status = core.Leaving
	}
	return picked, true
}

// Under has it pick no better.
func (w *whim) Under(core.Loads) core.Strategy { return w }

// plain is a strategy that heeds nothing.
func plain(_ core.Identity, candidates []core.Member) (core.Member, bool) {
	if len(candidates) == 0 {
		return core.Member{}, false
	}
	return candidates[0], true
}

func TestATwinThatKeepsNothingFailsEveryRow(t *testing.T) {
	suitetest.MustFail(t, false, rows(Harness{New: func() core.Strategy { return &whim{} }, Pure: true, Spread: 0.5, Stable: true, Balanced: 0.1}))
}

func TestWhatIsNotPromisedIsSkipped(t *testing.T) {
	skipped := 0
	for _, row := range rows(Harness{New: func() core.Strategy { return core.StrategyFunc(plain) }}) {
		if row.Skip != "" {
			skipped++
		}
	}
	if skipped != 5 {
		t.Errorf("%d rows are skipped, want 5", skipped)
	}
}
