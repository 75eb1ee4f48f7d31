package disthash

import (
	"context"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/granary-go/granary/core"
)

// fakeCluster is some lookups, each on a fake host, with a network that is a function call. It
// complains when two activations of one identity run at once.
type fakeCluster struct {
	t       testing.TB
	mu      sync.Mutex
	nodes   map[core.MemberID]*fakeHost
	running map[core.Identity][]core.MemberID
	overlap int
	cut     func(from, to core.MemberID) bool
}

// fakeHost is a core.Host as the engine is: it asks the lookup, under the lock under which it makes
// activations, whether the identity is held.
type fakeHost struct {
	c        *fakeCluster
	lookup   *Lookup
	self     core.Member
	stopTime func(core.Identity) time.Duration

	mu          sync.Mutex
	view        *core.View
	activations map[core.Identity]*fakeActivation
	refuse      error
	activated   func() // called after an activation was made, before its maker is told
	made        int
	stops       []core.StopReason
	deactivated int // calls of Deactivate
	walks       int // calls of Activations
	counts      map[string]int64
	goroutines  sync.WaitGroup
}

type fakeActivation struct {
	core.Activation
	stopping bool
	gone     chan struct{}
}

func newFakeCluster(t testing.TB) *fakeCluster {
	return &fakeCluster{t: t, nodes: map[core.MemberID]*fakeHost{}, running: map[core.Identity][]core.MemberID{}}
}

func (c *fakeCluster) add(self core.Member, cfg Config) *fakeHost {
	c.t.Helper()
	l, err := New(cfg)
	if err != nil {
		c.t.Fatal(err)
	}
	h := &fakeHost{c: c, lookup: l, self: self, activations: map[core.Identity]*fakeActivation{}, counts: map[string]int64{},
		stopTime: func(core.Identity) time.Duration { return time.Millisecond }}
	if err := l.Start(c.t.Context(), h, h.env()); err != nil {
		c.t.Fatal(err)
	}
	c.mu.Lock()
	c.nodes[self.ID] = h
	c.mu.Unlock()
	return h
}

func (h *fakeHost) env() core.Env {
	return core.Env{
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)), Clock: core.SystemClock{}, Rand: rand.New(rand.NewPCG(1, 2)),
		Hooks: &core.Hooks{Counted: func(name string, n int64) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.counts[name] += n
		}, Timed: func(string, time.Duration, error) {}},
		Go: func(_ string, f func()) { h.goroutines.Go(f) },
	}
}

// install gives all nodes one view, in the order of their IDs.
func (c *fakeCluster) install(v *core.View, only ...*fakeHost) {
	c.t.Helper()
	for id, h := range c.nodes {
		if len(only) > 0 && !slices.Contains(only, h) {
			continue
		}
		h.mu.Lock()
		old := h.view
		h.view = v
		h.mu.Unlock()
		if err := h.lookup.Reshape(core.Diff(old, v)); err != nil {
			c.t.Errorf("reshape of %s: %v", id, err)
		}
	}
}

// stop ends all lookups.
func (c *fakeCluster) stop() {
	for id, h := range c.nodes {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		if err := h.lookup.Stop(ctx); err != nil {
			c.t.Errorf("stop of %s: %v", id, err)
		}
		cancel()
		h.goroutines.Wait()
	}
}

func (h *fakeHost) Self() core.Member { return h.self }

func (h *fakeHost) Call(ctx context.Context, to core.Member, m core.Message) (core.Message, error) {
	h.c.mu.Lock()
	target, cut := h.c.nodes[to.ID], h.c.cut != nil && h.c.cut(h.self.ID, to.ID)
	h.c.mu.Unlock()
	h.mu.Lock()
	stamp := h.view
	h.mu.Unlock()
	if cut || target == nil {
		<-ctx.Done() // a peer that says nothing
		return core.Message{}, core.WithDelivery(context.Cause(ctx), core.DeliveryUnknown)
	}
	for range 1000 { // the engine holds a message back until its view is here
		target.mu.Lock()
		same := target.view != nil && target.view.Hash() == stamp.Hash()
		target.mu.Unlock()
		if same {
			return target.lookup.Handle(ctx, h.self, m)
		}
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
			return core.Message{}, ctx.Err()
		}
	}
	return core.Message{}, core.WithDelivery(core.Retry(core.ErrBusy, time.Millisecond), core.Undelivered)
}

func (h *fakeHost) Activate(_ context.Context, id core.Identity, t core.Token) (core.Placement, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.refuse != nil {
		return core.Placement{}, h.refuse
	}
	if a := h.activations[id]; a != nil {
		if a.stopping {
			return core.Placement{}, core.Retry(core.ErrBusy, time.Millisecond)
		}
		return a.Placement, nil
	}
	if h.lookup.Held(id) {
		return core.Placement{}, core.Retry(core.ErrBusy, time.Millisecond)
	}
	h.made++
	pid := core.PID{Address: h.self.Address, ID: fmt.Sprintf("g/%d", h.made), Member: h.self.ID}
	h.activations[id] = &fakeActivation{Activation: core.Activation{Identity: id, Placement: core.Placement{PID: pid, Token: t}}, gone: make(chan struct{})}
	h.c.started(id, h.self.ID)
	p := h.activations[id].Placement
	if f := h.activated; f != nil {
		h.activated = nil
		h.mu.Unlock()
		f()
		h.mu.Lock()
	}
	return p, nil
}

func (c *fakeCluster) started(id core.Identity, m core.MemberID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running[id] = append(c.running[id], m)
	if len(c.running[id]) > 1 {
		c.overlap++
	}
}

func (h *fakeHost) Deactivate(ctx context.Context, id core.Identity, t core.Token, why core.StopReason) error {
	h.mu.Lock()
	h.deactivated++
	a := h.activations[id]
	if a == nil || a.Token != t {
		h.mu.Unlock()
		return nil
	}
	if !a.stopping {
		a.stopping = true
		h.stops = append(h.stops, why)
		if h.stopTime(id) > 0 {
			h.goroutines.Go(func() { h.end(a) })
		} else {
			defer h.end(a)
		}
	}
	h.mu.Unlock()
	if h.stopTime(id) == 0 {
		return nil
	}
	select {
	case <-a.gone:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (h *fakeHost) end(a *fakeActivation) {
	time.Sleep(h.stopTime(a.Identity))
	h.mu.Lock()
	delete(h.activations, a.Identity)
	h.mu.Unlock()
	h.c.mu.Lock()
	h.c.running[a.Identity] = slices.DeleteFunc(h.c.running[a.Identity], func(m core.MemberID) bool { return m == h.self.ID })
	h.c.mu.Unlock()
	close(a.gone)
}

func (h *fakeHost) Activations() iter.Seq[core.Activation] {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.walks++
	out := make([]core.Activation, 0, len(h.activations))
	for _, a := range h.activations {
		out = append(out, a.Activation)
	}
	return slices.Values(out)
}

func (h *fakeHost) Strategy(string) core.Strategy {
	return core.StrategyFunc(func(_ core.Identity, ms []core.Member) (core.Member, bool) { return ms[0], true })
}

// resolve asks as the engine does, until ctx ends.
func (h *fakeHost) resolve(ctx context.Context, id core.Identity) (core.Placement, error) {
	for {
		p, err := h.lookup.Resolve(ctx, id)
		if err == nil || ctx.Err() != nil {
			return p, err
		}
		wait, _ := core.RetryAfter(err)
		time.Sleep(max(wait, time.Millisecond))
	}
}

func (c *fakeCluster) overlaps() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.overlap
}
