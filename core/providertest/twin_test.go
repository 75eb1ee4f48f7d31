package providertest

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/internal/suitetest"
	"github.com/granary-go/granary/core/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// boaster promises everything, offers everything, and keeps nothing: whoever joins is told of somebody
// else, at falling epochs and for ever, and nothing is ever refused.
type boaster struct {
	world *boasters

	mu    sync.Mutex // guards asked
	asked int
}

// boasters ends the goroutines of a check, so that only the check is at fault.
type boasters struct {
	stop chan struct{}
	all  sync.WaitGroup
}

func (b *boaster) Promises() core.Promises {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked++
	return core.Promises{Ordered: true, Linearizable: true, Leases: true, Compat: b.asked%2 == 0}
}

func (b *boaster) view(epoch uint64) *core.View {
	v, err := core.NewView(core.ViewRecord{Epoch: epoch, Members: []core.Member{{ID: "somebody", Address: "nowhere", Status: core.Up}}})
	if err != nil {
		panic(err)
	}
	return v
}

func (b *boaster) Join(_ context.Context, _ core.Env, self core.Member, report func(*core.View)) error {
	b.world.all.Go(func() {
		for epoch := uint64(1000); ; epoch-- {
			report(b.view(epoch))
			timer := time.NewTimer(10 * time.Millisecond)
			select {
			case <-timer.C:
			case <-b.world.stop:
				return
			}
		}
	})
	return nil
}

func (b *boaster) Watch(ctx context.Context, env core.Env, report func(*core.View)) error {
	return b.Join(ctx, env, core.Member{}, report)
}

func (b *boaster) Update(context.Context, core.Member) error { return nil }
func (b *boaster) Leave(context.Context) error               { return nil }
func (b *boaster) LeaseTTL() time.Duration                   { return 100 * time.Millisecond }
func (b *boaster) RenewLease(context.Context) error          { return nil }
func (b *boaster) Refresh()                                  {}

func (b *boaster) SwapView(context.Context, *core.View, core.ViewRecord) (*core.View, error) {
	return b.view(1), nil
}

func TestATwinThatKeepsNothingFailsEveryRow(t *testing.T) {
	h := Harness{
		New: func(t testing.TB) World {
			w := &boasters{stop: make(chan struct{})}
			t.Cleanup(func() {
				close(w.stop)
				w.all.Wait()
			})
			return World{
				Provider: func() core.Provider { return &boaster{world: w} }, Crash: func(core.Provider) {},
				Outage: func() func() { return func() {} }, Wipe: func() {},
			}
		},
		Settle: time.Second, Silent: time.Second, Bubble: true,
	}
	suitetest.MustFail(t, true, rows(h, traitsOf(t, h)))
}

// modest offers the contract alone.
type modest struct{ core.Provider }

func (modest) Promises() core.Promises { return core.Promises{} }

func TestWhatIsNotPromisedIsSkipped(t *testing.T) {
	h := Harness{New: func(testing.TB) World { return World{Provider: func() core.Provider { return modest{} }} }}
	reasons := map[string]int{}
	checked := 0
	for _, row := range rows(h, traitsOf(t, h)) {
		if row.Skip == "" {
			checked++
		}
		reasons[row.Skip]++
	}
	for _, why := range []string{notOrdered, noStore, noLeases, noCrash, noRefresher, noOutage, noWipe} {
		if reasons[why] == 0 {
			t.Errorf("nothing is skipped because of %q", why)
		}
	}
	if checked < 10 {
		t.Errorf("%d rows are checked of a plain provider", checked)
	}
	skips := func(tr traits) []string {
		var out []string
		for _, row := range rows(h, tr) {
			if row.Skip != "" && !slices.Contains(out, row.Skip) {
				out = append(out, row.Skip)
			}
		}
		return out
	}
	tr := traits{Promises: core.Promises{Ordered: true}, store: true, leases: true, crash: true, refresher: true, outage: true, wipe: true}
	if got := skips(tr); !slices.Equal(got, []string{notLinearizable, notLeases}) {
		t.Errorf("a provider like replicated Redis skips for %q", got)
	}
}
