package memory_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/internal/suitetest"
	"github.com/granary-go/granary/core/memory"
	"github.com/granary-go/granary/core/viewedit"
)

// joined is a provider that has joined, and a way to its newest report.
type joined struct {
	*memory.Provider
	reports chan *core.View
}

func join(t *testing.T, hub *memory.Hub, id core.MemberID) joined {
	t.Helper()
	j := joined{hub.Provider(), make(chan *core.View, 10_000)}
	t.Cleanup(func() { _ = j.Leave(context.Background()) })
	self := core.Member{ID: id, Address: string(id) + ":1", Status: core.Up}
	if err := j.Join(t.Context(), suitetest.NewEnv(string(id), &suitetest.Group{}), self, func(v *core.View) { j.reports <- v }); err != nil {
		t.Fatal(err)
	}
	return j
}

// until reads reports until one is right.
func (j joined) until(t *testing.T, right func(*core.View) bool) *core.View {
	t.Helper()
	for {
		select {
		case v := <-j.reports:
			if right(v) {
				return v
			}
		case <-time.After(time.Minute):
			t.Fatal("it was not reported")
		}
	}
}

func TestNewRefuses(t *testing.T) {
	if _, err := memory.New(memory.Config{TTL: -1, Lie: 99}); !errors.Is(err, core.ErrInvalid) {
		t.Errorf("%v, want ErrInvalid", err)
	}
	if ttl := memory.NewHub().Provider().LeaseTTL(); ttl != memory.DefaultTTL {
		t.Errorf("TTL %v, want %v", ttl, memory.DefaultTTL)
	}
	hub, err := memory.New(memory.Config{TTL: time.Second})
	if err != nil || hub.Provider().LeaseTTL() != time.Second {
		t.Errorf("%v", err)
	}
}

func TestWhoHasCrashedDoesNotJoin(t *testing.T) {
	p := memory.NewHub().Provider()
	t.Cleanup(func() { _ = p.Leave(context.Background()) })
	p.Crash()
	err := p.Join(t.Context(), suitetest.NewEnv("a", &suitetest.Group{}), core.Member{ID: "a", Address: "a:1", Status: core.Up}, func(*core.View) {
		t.Error("it was told of a view")
	})
	if !errors.Is(err, core.ErrUnreachable) {
		t.Errorf("join after the crash: %v, want ErrUnreachable", err)
	}
}

// TestCrashIsSeenWithinTheTTL measures in virtual time, for members that renew and members that never
// did.
func TestCrashIsSeenWithinTheTTL(t *testing.T) {
	for _, renews := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			const ttl = 2 * time.Second
			hub, err := memory.New(memory.Config{TTL: ttl})
			if err != nil {
				t.Fatal(err)
			}
			witness, victim := join(t, hub, "a"), join(t, hub, "b")
			if renews {
				if err := victim.RenewLease(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(ttl / 3)
			if !renews {
				time.Sleep(10 * ttl) // who never renewed is held by being here
			}
			crashed := time.Now()
			victim.Crash()
			victim.Crash()
			if err := victim.RenewLease(t.Context()); !errors.Is(err, core.ErrUnreachable) {
				t.Errorf("renewal after the crash: %v, want ErrUnreachable", err)
			}
			if err := victim.Update(t.Context(), core.Member{ID: "b"}); !errors.Is(err, core.ErrUnreachable) {
				t.Errorf("update after the crash: %v, want ErrUnreachable", err)
			}
			v := witness.until(t, func(v *core.View) bool { return v.Len() == 1 && v.Epoch() > 0 && departed(v, "b") })
			if took := time.Since(crashed); took < ttl || took > ttl*5/4 {
				t.Errorf("renews %v: seen after %v, want between TTL and 1.25 TTL", renews, took)
			}
			for d := range v.Departed() {
				if d.Guard != 0 {
					t.Errorf("the guard of a lapsed lease is %v, want 0", d.Guard)
				}
			}
			if err := victim.Leave(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

func departed(v *core.View, id core.MemberID) bool { return viewedit.Departed(v.Record(), id) }

func TestJoinWaitsWhileEveryGuardRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := memory.NewHub()
		anchor := join(t, hub, "anchor")
		v := anchor.until(t, func(v *core.View) bool { return v.Len() == 1 })
		r := v.Record()
		for i := range viewedit.MaxDepartures {
			r.Departed = append(r.Departed, core.Departure{ID: core.MemberID(fmt.Sprint("gone", i)), Guard: time.Second})
		}
		v, err := anchor.SwapView(t.Context(), v, r)
		if err != nil {
			t.Fatal(err)
		}
		env := suitetest.NewEnv("late", &suitetest.Group{})
		self := core.Member{ID: "late", Address: "late:1", Status: core.Up}

		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := hub.Provider().Join(short, env, self, func(*core.View) {}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("join while all guards run: %v, want the context's error", err)
		}
		waiting, leaving := hub.Provider(), hub.Provider()
		done := make(chan error, 2)
		go func() { done <- leaving.Join(t.Context(), env, self, func(*core.View) {}) }()
		synctest.Wait()
		if err := leaving.Leave(t.Context()); err != nil {
			t.Error(err)
		}
		if err := <-done; !errors.Is(err, core.ErrStopped) {
			t.Errorf("join ended by leave: %v, want ErrStopped", err)
		}
		go func() { done <- waiting.Join(t.Context(), env, self, func(*core.View) {}) }()
		synctest.Wait()
		r = v.Record()
		r.Departed[0].Guard = 0 // somebody has counted it to its end
		if _, err := anchor.SwapView(t.Context(), v, r); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Errorf("join after a guard has ended: %v", err)
		}
		if err := waiting.Leave(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestMisuse(t *testing.T) {
	hub := memory.NewHub()
	p := join(t, hub, "a")
	env := suitetest.NewEnv("x", &suitetest.Group{})
	invalid := map[string]error{
		"a second Join":         p.Join(t.Context(), env, core.Member{ID: "b", Address: "b:1", Status: core.Up}, func(*core.View) {}),
		"Watch after Join":      p.Watch(t.Context(), env, func(*core.View) {}),
		"Update of another":     p.Update(t.Context(), core.Member{ID: "b", Address: "b:1", Status: core.Up}),
		"Update to no status":   p.Update(t.Context(), core.Member{ID: "a", Address: "a:1"}),
		"Update of the address": p.Update(t.Context(), core.Member{ID: "a", Address: "b:1", Status: core.Up}),
		"Join without address":  hub.Provider().Join(t.Context(), env, core.Member{ID: "c", Status: core.Up}, func(*core.View) {}),
		"renewal before Join":   hub.Provider().RenewLease(t.Context()),
	}
	for name, err := range invalid {
		if !errors.Is(err, core.ErrInvalid) {
			t.Errorf("%s: %v, want ErrInvalid", name, err)
		}
	}
	ended := suitetest.Ended(t)
	if err := p.RenewLease(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("renewal under an ended context: %v", err)
	}
}

func TestClustersOfTwoHubsAreApart(t *testing.T) {
	one, other := join(t, memory.NewHub(), "a"), join(t, memory.NewHub(), "b")
	a, b := <-one.reports, <-other.reports
	if a.Len() != 1 || b.Len() != 1 || a.Lineage() == b.Lineage() || a.Compare(b) != core.Foreign {
		t.Errorf("%d and %d members, lineages %q and %q", a.Len(), b.Len(), a.Lineage(), b.Lineage())
	}
}

func TestRefreshReportsNothingTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := join(t, memory.NewHub(), "a")
		for range 5 {
			p.Refresh()
			time.Sleep(20 * time.Second)
		}
		if n := len(p.reports); n != 1 {
			t.Errorf("%d reports of one view", n)
		}
	})
}
