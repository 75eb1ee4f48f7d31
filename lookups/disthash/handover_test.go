package disthash

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/granary-go/granary/core"
)

// rows are Up members that host Cart, of some in another status.
func rows(n int, status map[int]core.Status) []core.Member {
	ms := members(n)
	for i, s := range status {
		ms[i].Status = s
	}
	return ms
}

// started is a cluster of n members, all in one view, that run all identities 0 to keys.
func running(t *testing.T, n, keys int, cfg Config) (*fakeCluster, []*fakeHost) {
	t.Helper()
	c := newFakeCluster(t)
	var hosts []*fakeHost
	for _, m := range members(n) {
		hosts = append(hosts, c.add(m, cfg))
	}
	c.install(view(t, members(n)...))
	for i := range keys {
		if _, err := hosts[i%n].resolve(t.Context(), identity(i)); err != nil {
			t.Fatal(err)
		}
	}
	return c, hosts
}

// A member joins, and everybody calls everything meanwhile: the stop comes before the start.
func TestStopBeforeStart(t *testing.T) {
	for seed := range uint64(6) {
		synctest.Test(t, func(t *testing.T) {
			const keys = 40
			r := rand.New(rand.NewPCG(seed, 1))
			c, hosts := running(t, 3, keys, Config{})
			defer c.stop()
			for _, h := range hosts {
				h.stopTime = func(id core.Identity) time.Duration { return time.Duration(len(id.Key)) * 7 * time.Millisecond }
			}
			joiner := c.add(members(4)[3], Config{})
			hosts = append(hosts, joiner)
			c.install(view(t, rows(4, map[int]core.Status{3: core.Joining})...))

			ctx, cancel := context.WithTimeout(t.Context(), 400*time.Millisecond)
			defer cancel()
			var callers sync.WaitGroup
			for i := range keys {
				h := hosts[r.IntN(4)]
				callers.Go(func() {
					for ctx.Err() == nil {
						if p, err := h.resolve(ctx, identity(i)); err == nil && p.PID.ID == "" {
							t.Error("an empty placement")
						}
						time.Sleep(10 * time.Millisecond)
					}
				})
			}
			next := view(t, members(4)...)
			for _, h := range hosts { // views come at different times
				time.Sleep(time.Duration(r.IntN(20)) * time.Millisecond)
				c.install(next, h)
			}
			callers.Wait()
			if c.overlaps() > 0 {
				t.Errorf("seed %d: %d overlaps", seed, c.overlaps())
			}
			if len(joiner.activations) == 0 {
				t.Error("nothing moved to the joiner")
			}
			for _, h := range hosts[:3] {
				if h.counts["disthash.moved"] == 0 {
					t.Errorf("%s counted nothing that moved", h.self.ID)
				}
			}
		})
	}
}

// A member leaves gracefully: what it had starts elsewhere when it has stopped there.
func TestLeaverHandsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, hosts := running(t, 3, 60, Config{})
		defer c.stop()
		hosts[1].stopTime = func(core.Identity) time.Duration { return 300 * time.Millisecond }
		had := len(hosts[1].activations)
		c.install(view(t, rows(3, map[int]core.Status{1: core.Leaving})...))
		for i := range 60 {
			if _, err := hosts[0].resolve(t.Context(), identity(i)); err != nil {
				t.Fatal(err)
			}
		}
		if c.overlaps() > 0 || len(hosts[1].activations) > 0 || had == 0 {
			t.Errorf("%d overlaps, %d of %d left", c.overlaps(), len(hosts[1].activations), had)
		}
		for _, why := range hosts[1].stops {
			if why != core.StopMoved {
				t.Errorf("stopped as %v", why)
			}
		}
	})
}

// Who does not answer is waited for HandoverTimeout, and no longer.
func TestHandoverTimeout(t *testing.T) {
	for _, limit := range []time.Duration{0, 700 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			c, hosts := running(t, 2, 40, Config{HandoverTimeout: limit})
			defer c.stop()
			joiner := c.add(members(3)[2], Config{HandoverTimeout: limit})
			c.install(view(t, rows(3, map[int]core.Status{2: core.Joining})...))
			c.mu.Lock()
			c.cut = func(from, to core.MemberID) bool { return from == joiner.self.ID && to == hosts[0].self.ID }
			c.mu.Unlock()
			c.install(view(t, members(3)...))
			begin := time.Now()
			for i := range 40 {
				if m, _ := joiner.lookup.Owner(identity(i)); m.ID == joiner.self.ID {
					if _, err := joiner.resolve(t.Context(), identity(i)); err != nil {
						t.Fatal(err)
					}
				}
			}
			want := max(limit, 0)
			if want == 0 {
				want = defaultHandoverTimeout
			}
			if took := time.Since(begin); took < want || took > want+100*time.Millisecond {
				t.Errorf("waited %v, the limit is %v", took, want)
			}
			if joiner.counts["disthash.handover.given_up"] != 1 {
				t.Errorf("counted %d given up", joiner.counts["disthash.handover.given_up"])
			}
		})
	}
}

// Of what a peer may answer instead of "settled", only that it does not know the question ends the
// wait.
func TestWhatEndsTheWait(t *testing.T) {
	for _, tc := range []struct {
		answer error
		waits  time.Duration
	}{
		{core.ErrUnsupported, 0},
		{core.ErrInvalid, time.Second},
		{core.ErrBusy, time.Second},
		{core.ErrOverloaded, time.Second},
		{core.ErrUnreachable, time.Second},
		{errors.New("whatever"), time.Second},
		{nil, time.Second}, // an answer of another type
	} {
		synctest.Test(t, func(t *testing.T) {
			c := newFakeCluster(t)
			joiner := c.add(member(1, "Cart"), Config{HandoverTimeout: time.Second})
			s := &scripted{fakeHost: joiner, answer: func(core.MemberID, int) (core.Message, error) {
				return core.Message{Type: "x.Y"}, tc.answer
			}}
			joiner.lookup.host = s
			defer c.stop()
			c.install(view(t, rows(2, map[int]core.Status{1: core.Joining})...))
			begin := time.Now()
			c.install(view(t, members(2)...))
			id := identity(0)
			for i := 1; !joiner.lookup.state.Load().now.owns(joiner.self.ID, id); i++ {
				id = identity(i)
			}
			if _, err := joiner.resolve(t.Context(), id); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(begin); took < tc.waits || took > tc.waits+100*time.Millisecond {
				t.Errorf("after %v it waited %v, want %v", tc.answer, took, tc.waits)
			}
		})
	}
}

// A member that dies is not waited for.
func TestTheDeadAreNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, hosts := running(t, 3, 40, Config{})
		defer c.stop()
		time.Sleep(time.Minute) // since the last change
		c.mu.Lock()
		c.cut = func(core.MemberID, core.MemberID) bool { return true }
		dead := hosts[2]
		for id := range dead.activations {
			c.running[id] = nil
		}
		c.mu.Unlock()
		c.install(view(t, members(2)...), hosts[:2]...)
		for i := range 40 {
			m, _ := hosts[0].lookup.Owner(identity(i))
			for _, h := range hosts[:2] {
				if h.self.ID == m.ID && h.lookup.Held(identity(i)) {
					t.Errorf("%v is held", identity(i))
				}
			}
		}
	})
}

// The next view overtakes: what comes back before its stop began is not disturbed.
func TestOvertaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, hosts := running(t, 1, 200, Config{StopParallel: 1})
		defer c.stop()
		hosts[0].stopTime = func(core.Identity) time.Duration { return 10 * time.Millisecond }
		c.add(members(2)[1], Config{})
		c.install(view(t, members(2)...))
		time.Sleep(35 * time.Millisecond)
		c.install(view(t, rows(2, map[int]core.Status{1: core.Leaving})...))
		time.Sleep(5 * time.Second)
		hosts[0].mu.Lock()
		defer hosts[0].mu.Unlock()
		if n := len(hosts[0].stops); n == 0 || n > 6 {
			t.Errorf("%d activations were stopped, want the few that were begun", n)
		}
	})
}

// TestAnOvertakenHandoverReleasesNobody: what a member said of an earlier view says nothing of this one.
func TestAnOvertakenHandoverReleasesNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, hosts := running(t, 2, 20, Config{})
		defer c.stop()
		joiner := c.add(members(3)[2], Config{})
		c.mu.Lock()
		c.cut = func(from, _ core.MemberID) bool { return from == joiner.self.ID }
		c.mu.Unlock()
		l := joiner.lookup
		present := func() *handover {
			l.mu.Lock()
			defer l.mu.Unlock()
			return l.present
		}
		c.install(view(t, rows(3, map[int]core.Status{2: core.Joining})...))
		c.install(view(t, members(3)...))
		overtaken := present()
		c.install(view(t, append(members(3), member(3))...))
		if l.release(overtaken, hosts[0].self.ID) {
			t.Error("a handover that was overtaken has released a member")
		}
		if !l.isWaited(present(), hosts[0].self.ID) {
			t.Error("the member is not waited for any more")
		}
		if !l.release(present(), hosts[0].self.ID) || l.isWaited(present(), hosts[0].self.ID) {
			t.Error("the present handover does not release it")
		}
	})
}

// TestTheViewMovesWhileOneIsMade: what has just been made is stopped at once, since whoever went over what
// runs here was earlier.
func TestTheViewMovesWhileOneIsMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, hosts := running(t, 1, 0, Config{})
		defer c.stop()
		c.add(members(2)[1], Config{})
		next := view(t, members(2)...)
		id := identity(0)
		for i := 0; newTable(next, false).owns(hosts[0].self.ID, id); i++ {
			id = identity(i)
		}
		hosts[0].mu.Lock()
		hosts[0].activated = func() {
			c.install(next)
			hosts[0].mu.Lock()
			hosts[0].lookup.present.cancel(errMoved) // and nobody goes over it any more
			hosts[0].mu.Unlock()
		}
		hosts[0].mu.Unlock()
		_, err := hosts[0].lookup.Resolve(t.Context(), id)
		if !errors.Is(err, core.ErrNotOwner) || core.DeliveryOf(err) != core.Undelivered {
			t.Errorf("resolve: %v", err)
		}
		synctest.Wait()
		hosts[0].mu.Lock()
		defer hosts[0].mu.Unlock()
		if hosts[0].deactivated == 0 {
			t.Error("what was made under the view before runs on")
		}
	})
}

// StopParallel bounds how many stops are waited for at a time; a slow one does not hold up the rest.
func TestStopParallel(t *testing.T) {
	for _, tc := range []struct {
		parallel int
		least    time.Duration
	}{{1, 1900 * time.Millisecond}, {10, 190 * time.Millisecond}, {0, 20 * time.Millisecond}} {
		synctest.Test(t, func(t *testing.T) {
			c, hosts := running(t, 1, 200, Config{StopParallel: tc.parallel})
			hosts[0].stopTime = func(core.Identity) time.Duration { return 10 * time.Millisecond }
			begin := time.Now()
			c.stop()
			if took := time.Since(begin); took < tc.least || took > 2*tc.least+60*time.Millisecond {
				t.Errorf("%d at a time: stop took %v, want from %v", tc.parallel, took, tc.least)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		c, hosts := running(t, 1, 50, Config{StopParallel: 2})
		defer c.stop()
		hosts[0].stopTime = func(id core.Identity) time.Duration {
			if id == identity(0) || id == identity(1) {
				return 30 * time.Second
			}
			return time.Millisecond
		}
		c.install(view(t, rows(1, map[int]core.Status{0: core.Leaving})...))
		time.Sleep(2 * time.Second)
		hosts[0].mu.Lock()
		left := len(hosts[0].activations)
		hosts[0].mu.Unlock()
		if left != 2 {
			t.Errorf("%d activations are left beside the two slow ones", left-2)
		}
		time.Sleep(30 * time.Second)
	})
}

func TestStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, hosts := running(t, 2, 20, Config{})
		hosts[0].stopTime = func(core.Identity) time.Duration { return time.Hour }
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		begin := time.Now()
		if err := hosts[0].lookup.Stop(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("stop with activations that hang: %v", err)
		}
		if took := time.Since(begin); took > 2100*time.Millisecond {
			t.Errorf("stop took %v", took)
		}
		for _, why := range hosts[0].stops {
			if why != core.StopLeaving {
				t.Errorf("stopped as %v", why)
			}
		}
		if err := hosts[0].lookup.Stop(ctx); err != nil {
			t.Errorf("second stop: %v", err)
		}
		if !hosts[0].lookup.Held(identity(1)) {
			t.Error("something may start after Stop")
		}
		if err := hosts[0].lookup.Start(ctx, hosts[0], hosts[0].env()); !errors.Is(err, core.ErrStopped) {
			t.Errorf("start after stop: %v", err)
		}
		// It goes on answering: not the owner, and who is.
		c.install2(t, hosts[1], view(t, rows(2, map[int]core.Status{0: core.Leaving})...))
		for i := range 20 {
			request, err := encodeRequest(identity(i), hosts[1].view, false)
			if err != nil {
				t.Fatal(err)
			}
			answer, err := hosts[0].lookup.Handle(t.Context(), hosts[1].self, request)
			if err == nil {
				if _, redirect, err := decodeResponse(answer, hosts[0].self); err != nil || redirect != hosts[1].self.ID {
					t.Errorf("%v: redirect %q, %v", identity(i), redirect, err)
				}
			} else if !errors.Is(err, core.ErrNotOwner) || core.DeliveryOf(err) != core.Undelivered {
				t.Errorf("%v: %v", identity(i), err)
			}
		}
		if _, err := hosts[0].lookup.Handle(t.Context(), hosts[1].self, core.Message{Type: typeSettledRequest}); !errors.Is(err, core.ErrBusy) {
			t.Errorf("it says that it is settled, and is not: %v", err)
		}
		time.Sleep(2 * time.Hour)
		c.stop()
	})
}

// install2 is install for one host whose peers may have stopped.
func (c *fakeCluster) install2(t *testing.T, h *fakeHost, v *core.View) {
	t.Helper()
	c.install(v, h)
}

// A view that comes while calls are at a member that hangs ends them, and they are tried elsewhere.
func TestReshapeEndsCallsAtTheWrongMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, hosts := running(t, 2, 0, Config{})
		defer c.stop()
		c.mu.Lock()
		c.cut = func(core.MemberID, core.MemberID) bool { return true }
		c.mu.Unlock()
		var id core.Identity
		for i := 0; ; i++ {
			if m, _ := hosts[0].lookup.Owner(identity(i)); m.ID == hosts[1].self.ID {
				id = identity(i)
				break
			}
		}
		result := make(chan error, 1)
		go func() {
			_, err := hosts[0].lookup.Resolve(t.Context(), id)
			result <- err
		}()
		time.Sleep(10 * time.Millisecond)
		begin := time.Now()
		c.install(view(t, members(1)...), hosts[0])
		if err := <-result; !errors.Is(err, core.ErrNotOwner) || core.DeliveryOf(err) != core.Undelivered {
			t.Errorf("resolve: %v", err)
		}
		if took := time.Since(begin); took > time.Millisecond {
			t.Errorf("it took %v", took)
		}
		go func() {
			_, err := hosts[0].lookup.Resolve(t.Context(), id)
			result <- err
		}()
		if err := <-result; err != nil {
			t.Errorf("resolve under the new view: %v", err)
		}
	})
}

func TestLifeErrors(t *testing.T) {
	l, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	h := &fakeHost{c: newFakeCluster(t), lookup: l, self: member(0, "Cart"), counts: map[string]int64{}}
	if err := l.Start(t.Context(), h, h.env()); err != nil {
		t.Fatal(err)
	}
	if err := l.Start(t.Context(), h, h.env()); !errors.Is(err, core.ErrInvalid) {
		t.Errorf("second start: %v", err)
	}
	if _, err := l.Resolve(t.Context(), identity(1)); !errors.Is(err, core.ErrBusy) || core.DeliveryOf(err) != core.Undelivered {
		t.Errorf("resolve without a view: %v", err)
	}
	if !l.Held(identity(1)) {
		t.Error("something may start without a view")
	}
	if _, err := l.Resolve(t.Context(), core.Identity{Kind: "Cart"}); !errors.Is(err, core.ErrInvalid) {
		t.Errorf("resolve of a bad identity: %v", err)
	}
	if err := l.Reshape(core.Topology{}); !errors.Is(err, core.ErrInvalid) {
		t.Errorf("reshape without a view: %v", err)
	}
	for _, m := range []core.Message{{Type: typeSettledRequest}, mustRequest(t, identity(1))} {
		if _, err := l.Handle(t.Context(), member(1), m); !errors.Is(err, core.ErrBusy) {
			t.Errorf("handle %s without a view: %v", m.Type, err)
		}
	}
	if err := l.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestConfig(t *testing.T) {
	for _, cfg := range []Config{{StopParallel: -1}, {HandoverTimeout: -1}} {
		if l, err := New(cfg); l != nil || !errors.Is(err, core.ErrInvalid) {
			t.Errorf("New(%+v): %v", cfg, err)
		}
	}
	l, err := New(Config{Compat: true})
	if err != nil || !l.Requires().Compat {
		t.Errorf("compat requires %+v, %v", l.Requires(), err)
	}
	if l, err = New(Config{}); err != nil || l.Requires() != (core.Promises{}) {
		t.Errorf("the default requires %+v, %v", l.Requires(), err)
	}
}

// Hand-over is linear in what runs: each loser is stopped once, and what runs is gone over twice. The
// benchmark shows the times.
func TestHandoverIsLinear(t *testing.T) {
	for _, n := range []int{2_000, 20_000} {
		h := handOver(t, n)
		moved := int(h.counts["disthash.moved"])
		if h.deactivated != moved || len(h.stops) != moved || h.walks > 5 || moved+h.stayed != n {
			t.Errorf("%d run: %d moved by %d stops, %d walks; %d stayed", n, moved, h.deactivated, h.walks, h.stayed)
		}
		if share := float64(h.stayed) / float64(n); share < 0.45 || share > 0.55 {
			t.Errorf("%.2f stayed of what two members share", share)
		}
		t.Logf("%d: %v", n, h.took)
	}
}

// handedOver is a host, and what happened from a view in which another member joined until it was
// settled.
type handedOver struct {
	*fakeHost
	took   time.Duration
	stayed int
}

func handOver(tb testing.TB, n int) handedOver {
	tb.Helper()
	c := newFakeCluster(tb)
	h := c.add(member(0, "Cart"), Config{})
	h.stopTime = func(core.Identity) time.Duration { return 0 }
	c.install(view(tb, members(1)...))
	for i := range n {
		if _, err := h.Activate(tb.Context(), core.Identity{Kind: "Cart", Key: fmt.Sprintf("key-%06d", i)}, core.Token{}); err != nil {
			tb.Fatal(err)
		}
	}
	h.mu.Lock()
	h.walks, h.deactivated = 0, 0
	h.mu.Unlock()
	begin := time.Now()
	c.install(view(tb, members(2)...))
	if returned := time.Since(begin); returned > time.Minute { // 20,000 take some 20 ms; it must not wait for the others
		tb.Errorf("Reshape took %v", returned)
	}
	if _, err := h.lookup.Handle(tb.Context(), member(1), core.Message{Type: typeSettledRequest}); err != nil {
		tb.Fatal(err)
	}
	out := handedOver{fakeHost: h, took: time.Since(begin)}
	h.mu.Lock()
	out.stayed = len(h.activations)
	clear(h.activations)
	h.mu.Unlock()
	c.stop()
	return out
}

func BenchmarkHandover(b *testing.B) {
	for _, n := range []int{10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var total time.Duration
			for b.Loop() {
				total += handOver(b, n).took
			}
			b.ReportMetric(float64(total.Nanoseconds())/float64(b.N), "ns/handover")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// The answer to "are you settled" comes when what was lost has stopped, and not before.
func TestSettledIsAnsweredWhenLosersStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, hosts := running(t, 2, 30, Config{})
		defer c.stop()
		hosts[0].stopTime = func(core.Identity) time.Duration { return 700 * time.Millisecond }
		ask := func(d time.Duration) error {
			ctx, cancel := context.WithTimeout(t.Context(), d)
			defer cancel()
			_, err := hosts[0].lookup.Handle(ctx, hosts[1].self, core.Message{Type: typeSettledRequest})
			return err
		}
		if err := ask(time.Second); err != nil {
			t.Errorf("nothing was lost: %v", err)
		}
		c.install(view(t, rows(2, map[int]core.Status{0: core.Leaving})...))
		if err := ask(300 * time.Millisecond); !errors.Is(err, core.ErrBusy) || core.DeliveryOf(err) != core.Undelivered {
			t.Errorf("losers are stopping: %v", err)
		}
		if err := ask(time.Second); err != nil || len(hosts[0].activations) != 0 {
			t.Errorf("losers have stopped: %v", err)
		}
	})
}

// An identity whose owner stays is never held, whoever else is waited for.
func TestWhatStaysIsNeverHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, hosts := running(t, 3, 60, Config{})
		defer c.stop()
		c.mu.Lock()
		c.cut = func(core.MemberID, core.MemberID) bool { return true } // nobody says that it is settled
		c.mu.Unlock()
		before := hosts[0].lookup.state.Load().now
		c.install(view(t, rows(3, map[int]core.Status{2: core.Leaving})...))
		held := 0
		for i := range 60 {
			m, _ := before.owner(identity(i))
			switch now := hosts[0].lookup.Held(identity(i)); {
			case m.ID == hosts[0].self.ID && now:
				t.Errorf("%v stays, and is held", identity(i))
			case m.ID == hosts[2].self.ID && now:
				held++
			}
		}
		if held == 0 {
			t.Error("nothing of the leaver is held")
		}
	})
}
