package lookuptest

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/internal/suitetest"
	"github.com/granary-go/granary/core/memory"
	"github.com/granary-go/granary/core/strategy"
)

// defects are faults that a lookup may have, each with promises that must be found broken.
var defects = map[string][]string{
	"stop needs start":        {"Stop before Start is nil"},
	"second stop fails":       {"Stop twice is nil"},
	"resolves after stop":     {"Resolve and Reshape after Stop give ErrStopped"},
	"reshapes after stop":     {"Resolve and Reshape after Stop give ErrStopped"},
	"a goroutine stays":       {"Stop joins the goroutines"},
	"stop stops nothing":      {"Stop hands over what still runs"},
	"handles anything":        {"Handle refuses what it does not know"},
	"a directory each":        {"Resolve activates once and then gives the same placement, on every node", "the same under views without a lineage", "a crash moves what the dead had, and nothing else"},
	"a call each":             {"simultaneous calls share one attempt"},
	"the caller's context":    {"an attempt outlives a caller that gives up"},
	"ignores its context":     {"Resolve ends with its context"},
	"busy for no member":      {"a kind that nobody hosts gives ErrNoMember"},
	"any member will do":      {"only members that are Up and list the kind host it", "nothing new is placed on a leaver"},
	"drops the retry time":    {"a refusal of the host reaches the caller with its RetryAfter"},
	"unknown delivery":        {"a refusal of the host reaches the caller with its RetryAfter"},
	"holds on to the dead":    {"an ended activation is followed by a new one"},
	"forgets too much":        {"Forget of another placement disturbs nothing"},
	"believes a hint":         {"Forget of a placement that lives leads back to it", "random changes under load end in one activation each", "the same churn under views without a lineage"},
	"tries elsewhere at once": {"a lost answer leads to no second activation"},
	"own strategy":            {"the kind's strategy decides", "places nothing that the strategy places nowhere", "honours rendezvous", "honours round robin", "honours local first", "honours least activations"},
	"falling tokens":          {"tokens grow from one activation to the next"},
	"starts all anew":         {"a join disturbs no identity that stays", "a graceful leave moves what the leaver had, and nothing else"},
	"ignores departures":      {"a crash moves what the dead had, and nothing else", "views that come late on some nodes do no harm", "random changes under load end in one activation each"},
	"slow reshape":            {"Reshape returns at once, whatever has to stop"},
}

// flawed is a lookup of the memory hub with one defect.
type flawed struct {
	core.Lookup
	defect string
	host   *crooked
	env    core.Env

	mu      sync.Mutex // guards what follows
	started bool
	stops   int
	view    *core.View
}

// crooked is the host that the honest part of a flawed lookup sees.
type crooked struct {
	core.Host
	f      *flawed
	cancel context.CancelFunc
	ctx    context.Context
}

func (f *flawed) Start(ctx context.Context, host core.Host, env core.Env) error {
	f.host, f.env, f.started = &crooked{Host: host, f: f}, env, true
	f.host.ctx, f.host.cancel = context.WithCancel(context.WithoutCancel(ctx))
	return f.Lookup.Start(ctx, f.host, env)
}

func (f *flawed) is(defect string) bool { return f.defect == defect }

func (f *flawed) Resolve(ctx context.Context, id core.Identity) (core.Placement, error) {
	switch {
	case f.is("ignores its context"):
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
		defer cancel()
		ctx = late
	case f.is("a call each"):
		_, _ = f.host.Host.Activate(ctx, id, core.Token{})
	case f.is("the caller's context"):
		defer context.AfterFunc(ctx, f.host.cancel)()
	}
	p, err := f.Lookup.Resolve(ctx, id)
	switch {
	case f.is("resolves after stop") && errors.Is(err, core.ErrStopped) && f.started:
		return p, nil
	case f.is("busy for no member") && errors.Is(err, core.ErrNoMember):
		return p, core.WithDelivery(core.ErrBusy, core.Undelivered)
	case f.is("drops the retry time") && errors.Is(err, core.ErrOverloaded):
		return p, core.WithDelivery(core.ErrOverloaded, core.Undelivered)
	case f.is("unknown delivery") && err != nil:
		return p, core.WithDelivery(err, core.DeliveryUnknown)
	}
	return p, err
}

func (f *flawed) Forget(id core.Identity, stale core.PID) {
	switch f.defect {
	case "forgets too much":
		for a := range f.host.Activations() {
			if a.Identity == id {
				f.env.Go("forget", func() { _ = f.host.Deactivate(context.Background(), id, a.Token, core.StopFailed) })
			}
		}
	case "believes a hint":
		if p, err := f.Lookup.Resolve(f.host.ctx, id); err == nil && p.PID == stale {
			f.Lookup.(core.ReleaseListener).Released(core.Activation{Identity: id, Placement: p}, core.StopIdle)
		}
	case "holds on to the dead":
	default:
		f.Lookup.Forget(id, stale)
	}
}

func (f *flawed) Handle(ctx context.Context, from core.Member, m core.Message) (core.Message, error) {
	answer, err := f.Lookup.Handle(ctx, from, m)
	if f.is("handles anything") && errors.Is(err, core.ErrInvalid) {
		return answer, nil
	}
	return answer, err
}

func (f *flawed) Reshape(t core.Topology) error {
	f.mu.Lock()
	f.view = t.View
	f.mu.Unlock()
	switch f.defect {
	case "slow reshape":
		timer := time.NewTimer(2 * time.Second)
		<-timer.C
	case "ignores departures":
		t.Left = nil
	case "starts all anew":
		for a := range f.host.Activations() {
			f.env.Go("anew", func() { _ = f.host.Deactivate(context.Background(), a.Identity, a.Token, core.StopMoved) })
		}
	}
	err := f.Lookup.Reshape(t)
	if f.is("reshapes after stop") && errors.Is(err, core.ErrStopped) {
		return nil
	}
	return err
}

func (f *flawed) Released(a core.Activation, why core.StopReason) {
	if !f.is("holds on to the dead") {
		f.Lookup.(core.ReleaseListener).Released(a, why)
	}
}

func (f *flawed) Stop(ctx context.Context) error {
	if f.host != nil {
		defer f.host.cancel()
	}
	f.mu.Lock()
	f.stops++
	stops := f.stops
	f.mu.Unlock()
	switch {
	case f.is("stop needs start") && !f.started, f.is("second stop fails") && stops > 1:
		return core.ErrStopped
	case f.is("a goroutine stays"):
		f.env.Go("stays", func() { <-time.After(200 * time.Millisecond) })
	}
	return f.Lookup.Stop(ctx)
}

func (c *crooked) Activate(ctx context.Context, id core.Identity, t core.Token) (core.Placement, error) {
	switch c.f.defect {
	case "falling tokens":
		t.Epoch, t.Seq = 1, math.MaxUint64-t.Seq
	case "the caller's context":
		var cancel context.CancelFunc
		ctx, cancel = c.both(ctx)
		defer cancel()
	}
	return c.Host.Activate(ctx, id, t)
}

// both ends with ctx and with the context of whoever gave up.
func (c *crooked) both(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(c.ctx, cancel)
	return ctx, func() { stop(); cancel() }
}

func (c *crooked) Deactivate(ctx context.Context, id core.Identity, t core.Token, why core.StopReason) error {
	if c.f.is("stop stops nothing") && why == core.StopLeaving {
		return nil
	}
	return c.Host.Deactivate(ctx, id, t, why)
}

func (c *crooked) Call(ctx context.Context, to core.Member, m core.Message) (core.Message, error) {
	if c.f.is("the caller's context") {
		var cancel context.CancelFunc
		ctx, cancel = c.both(ctx)
		defer cancel()
	}
	answer, err := c.Host.Call(ctx, to, m)
	if err != nil && c.f.is("tries elsewhere at once") {
		if id, bad := core.ParseIdentity(string(m.Data[32:])); bad == nil {
			_, err = c.Host.Activate(ctx, id, core.Token{Epoch: math.MaxUint64})
		}
	}
	return answer, err
}

func (c *crooked) Strategy(kind string) core.Strategy {
	switch c.f.defect {
	case "own strategy":
		return strategy.Rendezvous{}
	case "any member will do":
		return core.StrategyFunc(func(id core.Identity, candidates []core.Member) (core.Member, bool) {
			c.f.mu.Lock()
			defer c.f.mu.Unlock()
			return strategy.Rendezvous{}.Pick(id, slices.Collect(c.f.view.All()))
		})
	}
	return c.Host.Strategy(kind)
}

func TestDefectsAreFound(t *testing.T) {
	for defect, promises := range defects {
		t.Run(defect, func(t *testing.T) {
			h := Harness{
				New: func(testing.TB) func() core.Lookup {
					hub := memory.NewHub()
					return func() core.Lookup {
						if defect == "a directory each" {
							hub = memory.NewHub()
						}
						return &flawed{Lookup: hub.Lookup(), defect: defect}
					}
				},
				Level: 1, Settle: time.Second, Bubble: true,
			}
			all := rows(h, traitsOf(t, h))
			for _, promise := range promises {
				i := slices.IndexFunc(all, func(r suitetest.Row) bool { return r.Promise == promise })
				if i < 0 {
					t.Fatalf("no row %q", promise)
				}
				found := false
				for try := 0; try < 20 && !found; try++ { // chance decides whether one run meets the defect
					found = len(suitetest.Broken(t, true, all[i:i+1])) > 0
				}
				if !found {
					t.Errorf("%q was not found broken", promise)
				}
			}
		})
	}
}

// TestTheFlawlessWrapperPasses shows that it is the defects that are found.
func TestTheFlawlessWrapperPasses(t *testing.T) {
	h := Harness{
		New: func(testing.TB) func() core.Lookup {
			hub := memory.NewHub()
			return func() core.Lookup { return &flawed{Lookup: hub.Lookup()} }
		},
		Level: 1, Settle: time.Second, Bubble: true,
	}
	if broken := Broken(t, h); len(broken) > 0 {
		t.Errorf("found broken: %q", broken)
	}
}
