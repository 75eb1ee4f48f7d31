package memory

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/internal/suitetest"
	"github.com/granary-go/granary/core/strategy"
)

// host is a core.Host whose every step a test decides.
type host struct {
	self     core.Member
	activate func(ctx context.Context, id core.Identity, t core.Token) (core.Placement, error)
	call     func(ctx context.Context, to core.Member, m core.Message) (core.Message, error)

	mu      sync.Mutex // guards what follows
	running []core.Activation
	stopped []core.Activation
	stopErr error
}

func (h *host) Self() core.Member { return h.self }

func (h *host) Call(ctx context.Context, to core.Member, m core.Message) (core.Message, error) {
	return h.call(ctx, to, m)
}

func (h *host) Activate(ctx context.Context, id core.Identity, t core.Token) (core.Placement, error) {
	if h.activate != nil {
		return h.activate(ctx, id, t)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	p := core.Placement{PID: core.PID{Address: h.self.Address, ID: t.String(), Member: h.self.ID}, Token: t}
	h.running = append(h.running, core.Activation{Identity: id, Placement: p})
	return p, nil
}

func (h *host) Deactivate(_ context.Context, id core.Identity, t core.Token, _ core.StopReason) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stopped = append(h.stopped, core.Activation{Identity: id, Placement: core.Placement{Token: t}})
	h.running = slices.DeleteFunc(h.running, func(a core.Activation) bool { return a.Identity == id && a.Token == t })
	return h.stopErr
}

func (h *host) Activations() iter.Seq[core.Activation] {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Values(slices.Clone(h.running))
}

func (h *host) Strategy(string) core.Strategy { return strategy.LocalFirst{Self: h.self.ID} }

func aMember(id core.MemberID, kinds ...string) core.Member {
	return core.Member{ID: id, Address: string(id) + ":1", Kinds: kinds, Status: core.Up}
}

// started is a lookup on its own hub with a view of itself and others.
func started(t *testing.T, hub *Hub, h *host, others ...core.Member) *Lookup {
	t.Helper()
	l := hub.Lookup()
	if err := l.Start(t.Context(), h, suitetest.NewEnv(string(h.self.ID), &suitetest.Group{})); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Stop(context.Background()) })
	v, err := core.NewView(core.ViewRecord{Epoch: 1, Members: append(others, h.self)})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Reshape(core.Diff(nil, v)); err != nil {
		t.Fatal(err)
	}
	return l
}

var cart = core.Identity{Kind: "Cart", Key: "alice"}

func TestOneNode(t *testing.T) {
	hub := NewHub()
	h := &host{self: aMember("a", "Cart")}
	l := started(t, hub, h)
	p, err := l.Resolve(t.Context(), cart)
	if err != nil || p.PID.Member != "a" || p.Token.IsZero() {
		t.Fatalf("%+v, %v", p, err)
	}
	if again, err := l.Resolve(t.Context(), cart); again != p || err != nil {
		t.Errorf("%+v, %v", again, err)
	}
	if n := testing.AllocsPerRun(100, func() { _, _ = l.Resolve(t.Context(), cart) }); n > 1 { // t.Context itself
		t.Errorf("%v allocations for a known placement", n)
	}
	if err := l.Stop(t.Context()); err != nil || len(h.stopped) != 1 {
		t.Errorf("stop: %v, stopped %v", err, h.stopped)
	}
	if n, hosts := len(hub.dir.entries), len(hub.dir.hosts); n != 0 || hosts != 0 {
		t.Errorf("%d entries and %d hosts are left after Stop", n, hosts)
	}
}

func TestTokensGrowAcrossHubs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var before core.Token
		for range 3 { // restarts of the process, as far as tokens can tell
			l := started(t, NewHub(), &host{self: aMember("a", "Cart")})
			p, err := l.Resolve(t.Context(), cart)
			if err != nil || p.Token.Compare(before) <= 0 {
				t.Errorf("token %s after %s (%v)", p.Token, before, err)
			}
			before = p.Token
			time.Sleep(time.Millisecond)
		}
	})
}

func TestLookupMisuse(t *testing.T) {
	l := started(t, NewHub(), &host{self: aMember("a", "Cart")})
	if err := l.Start(t.Context(), l.host, l.env); !errors.Is(err, core.ErrInvalid) {
		t.Errorf("second start: %v, want ErrInvalid", err)
	}
	stopped := NewHub().Lookup()
	if err := stopped.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if err := stopped.Start(t.Context(), l.host, l.env); !errors.Is(err, core.ErrStopped) {
		t.Errorf("start after stop: %v, want ErrStopped", err)
	}
	fresh := NewHub().Lookup()
	if err := fresh.Start(t.Context(), l.host, l.env); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = fresh.Stop(t.Context()) }()
	if _, err := fresh.Resolve(t.Context(), cart); !errors.Is(err, core.ErrBusy) || core.DeliveryOf(err) != core.Undelivered {
		t.Errorf("resolve before the first view: %v, want ErrBusy, undelivered", err)
	}
}

func TestHandleRefusesWhatIsNoStandingOrder(t *testing.T) {
	h := &host{self: aMember("a", "Cart")}
	l := started(t, NewHub(), h)
	zero := core.Token{}.String()
	for _, m := range []core.Message{
		{Type: OrderType}, {Type: OrderType, Data: []byte("short")}, {Type: DoneType, Data: []byte(zero + "Cart/alice")},
		{Type: OrderType, Data: []byte(zero)}, {Type: OrderType, Data: []byte(zero + "Cart")}, {Type: OrderType, Data: []byte(zero + "Cart/a\x00")},
		{Type: OrderType, Data: []byte("+0000000000000000000000000000001Cart/alice")},
		{Type: OrderType, Data: []byte("zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzCart/alice")},
		{Type: OrderType, Data: []byte(zero + "Cart/alice")}, // well formed, and nobody ordered it
	} {
		if _, err := l.Handle(t.Context(), aMember("b"), m); err == nil || core.DeliveryOf(err) != core.Undelivered {
			t.Errorf("%q %q: %v, want a refusal, undelivered", m.Type, m.Data, err)
		}
	}
	if len(h.running) > 0 {
		t.Errorf("something was activated: %v", h.running)
	}
}

// TestALateOrderDoesNothing lets the message with an order arrive after it was called off.
func TestALateOrderDoesNothing(t *testing.T) {
	hub := NewHub()
	var late core.Message
	caller := &host{self: aMember("a"), call: func(_ context.Context, _ core.Member, m core.Message) (core.Message, error) {
		late = m
		return core.Message{}, core.WithDelivery(core.ErrUnreachable, core.DeliveryUnknown)
	}}
	worker := &host{self: aMember("b", "Cart")}
	l, w := started(t, hub, caller, worker.self), started(t, hub, worker, caller.self)
	if _, err := l.Resolve(t.Context(), cart); !errors.Is(err, core.ErrUnreachable) || core.DeliveryOf(err) != core.Undelivered {
		t.Fatalf("%v, want ErrUnreachable, undelivered", err)
	}
	p, err := w.Resolve(t.Context(), cart)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Handle(t.Context(), caller.self, late); !errors.Is(err, core.ErrNotOwner) {
		t.Errorf("the late order: %v, want ErrNotOwner", err)
	}
	if len(worker.running) != 1 || worker.running[0].Placement != p {
		t.Errorf("%v runs, want %v alone", worker.running, p)
	}
}

// TestAnActivationInDoubtIsStopped: Activate ended with its context, so the host may run it.
func TestAnActivationInDoubtIsStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := NewHub()
		h := &host{self: aMember("b", "Cart")}
		h.activate = func(ctx context.Context, _ core.Identity, _ core.Token) (core.Placement, error) {
			<-ctx.Done()
			return core.Placement{}, ctx.Err()
		}
		w := started(t, hub, h, aMember("a"))
		caller := &host{self: aMember("a"), call: func(ctx context.Context, _ core.Member, m core.Message) (core.Message, error) {
			ctx, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			return w.Handle(ctx, aMember("a"), m)
		}}
		l := started(t, hub, caller, h.self)
		if _, err := l.Resolve(t.Context(), cart); !errors.Is(err, core.ErrUnreachable) {
			t.Errorf("%v, want ErrUnreachable", err)
		}
		if len(h.stopped) != 1 || len(hub.dir.entries) != 0 {
			t.Errorf("stopped %v, %d entries, want the one in doubt stopped and forgotten", h.stopped, len(hub.dir.entries))
		}
		// Where the stop fails too, the order stays with its host and its token.
		h.stopErr = errors.New("no")
		_, _ = l.Resolve(t.Context(), cart)
		first, known := hub.dir.find(cart)
		_, _ = l.Resolve(t.Context(), cart)
		second, _ := hub.dir.find(cart)
		if !known || !first.doubt || first.token != second.token || second.at.id != "b" {
			t.Errorf("the order in doubt is %+v, then %+v, want one host and one token", first, second)
		}
	})
}

func TestARunningActivationIsAdopted(t *testing.T) {
	for _, refusal := range []error{core.ErrConflict, core.ErrFenced} {
		running := core.Placement{PID: core.PID{Address: "a:1", ID: "runs", Member: "a"}, Token: core.Token{Epoch: 1, Seq: 1}}
		h := &host{self: aMember("a", "Cart")}
		h.activate = func(context.Context, core.Identity, core.Token) (core.Placement, error) { return running, refusal }
		l := started(t, NewHub(), h)
		if p, err := l.Resolve(t.Context(), cart); p != running || err != nil {
			t.Errorf("%v: %+v, %v, want the running one", refusal, p, err)
		}
	}
}

func TestFlightsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &host{self: aMember("a", "Cart")}
		h.activate = func(ctx context.Context, _ core.Identity, _ core.Token) (core.Placement, error) {
			<-ctx.Done()
			return core.Placement{}, ctx.Err()
		}
		l := started(t, NewHub(), h)
		gone := suitetest.Ended(t)
		for i := range MaxFlights {
			if _, err := l.Resolve(gone, core.Identity{Kind: "Cart", Key: fmt.Sprint(i)}); !errors.Is(err, context.Canceled) {
				t.Fatalf("flight %d: %v", i, err)
			}
		}
		_, err := l.Resolve(t.Context(), cart)
		if _, timed := core.RetryAfter(err); !errors.Is(err, core.ErrOverloaded) || core.DeliveryOf(err) != core.Undelivered || !timed {
			t.Errorf("one flight more: %v, want ErrOverloaded, undelivered, with a time", err)
		}
	})
}

func TestAKindThatIsGivenUpIsStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &host{self: aMember("a", "Cart", "User")}
		l := started(t, NewHub(), h)
		user := core.Identity{Kind: "User", Key: "bob"}
		for _, id := range []core.Identity{cart, user} {
			if _, err := l.Resolve(t.Context(), id); err != nil {
				t.Fatal(err)
			}
		}
		next, err := core.NewView(core.ViewRecord{Epoch: 2, Members: []core.Member{aMember("a", "User")}})
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Reshape(core.Diff(l.view.Load(), next)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if len(h.running) != 1 || h.running[0].Identity != user {
			t.Errorf("%v runs, want what is still hosted", h.running)
		}
		if _, err := l.Resolve(t.Context(), cart); !errors.Is(err, core.ErrNoMember) {
			t.Errorf("resolve of what was given up: %v, want ErrNoMember", err)
		}
	})
}

func TestStopThatFailsSaysSo(t *testing.T) {
	h := &host{self: aMember("a", "Cart"), stopErr: context.DeadlineExceeded}
	l := started(t, NewHub(), h)
	if _, err := l.Resolve(t.Context(), cart); err != nil {
		t.Fatal(err)
	}
	if err := l.Stop(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("stop: %v, want the host's error", err)
	}
	if err := l.Stop(t.Context()); err != nil {
		t.Errorf("second stop: %v", err)
	}
}

func TestStoreIsBounded(t *testing.T) {
	s := NewStore()
	s.limit = 1000
	ctx := t.Context()
	k := core.Key{Group: "g", Name: "n"}
	if _, err := s.Put(ctx, k, make([]byte, 1000-itemCost-2), core.Any); err != nil {
		t.Errorf("put at the bound: %v", err)
	}
	if _, err := s.Put(ctx, k, make([]byte, 1000-itemCost-1), core.Any); !errors.Is(err, core.ErrOverloaded) {
		t.Errorf("put over the bound: %v, want ErrOverloaded", err)
	}
	if _, err := s.Fence(ctx, "h", core.Token{}); !errors.Is(err, core.ErrOverloaded) {
		t.Errorf("fence over the bound: %v, want ErrOverloaded", err)
	}
	if it, err := s.Get(ctx, k); err != nil || len(it.Value) != 1000-itemCost-2 {
		t.Errorf("a refused put changed the item: %d bytes, %v", len(it.Value), err)
	}
	if _, err := s.Put(ctx, k, nil, core.Any); err != nil {
		t.Errorf("a smaller value: %v", err)
	}
	if err := s.Delete(ctx, k, core.Any); err != nil || s.used != 0 || len(s.groups) != 0 {
		t.Errorf("after the last delete %d bytes and %d groups are held (%v)", s.used, len(s.groups), err)
	}
}
