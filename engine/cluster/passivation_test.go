package cluster_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/cluster"
	"github.com/granary-go/granary/engine/clustertest"
	"github.com/granary-go/granary/engine/grain"
)

func idleAfter(d time.Duration) func(*grain.Kind) { return func(k *grain.Kind) { k.Idle = d } }

func TestPassivation(t *testing.T) {
	bothWays(t, idleAfter(200*time.Millisecond), func(t *testing.T, caller *cluster.Node, p *pair) {
		for range 3 {
			if got, err := keep(t.Context(), caller, "Keeper", "x", "x"); got != "1" || err != nil {
				t.Fatalf("%q, %v: want a fresh grain", got, err)
			}
			for range 10 { // use keeps it
				time.Sleep(100 * time.Millisecond)
				if _, err := keep(t.Context(), caller, "Keeper", "x", "x"); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(400 * time.Millisecond)
			if p.live() != 0 {
				t.Fatal("it did not end")
			}
			want := []string{"deactivate idle", "ended idle"}
			if list := p.events.take(); !slices.Equal(list[len(list)-2:], want) {
				t.Fatalf("events %v", list)
			}
		}
	})
}

func TestNegativeIdleIsNever(t *testing.T) {
	bothWays(t, idleAfter(-1), func(t *testing.T, caller *cluster.Node, p *pair) {
		for i := range 2 {
			if got, err := keep(t.Context(), caller, "Keeper", "x", "x"); got != fmt.Sprint(i+1) || err != nil {
				t.Fatalf("%q, %v", got, err)
			}
			time.Sleep(11 * time.Minute) // one that is idle for ten goes by default
		}
	})
}

// TestPassivationWhileAMethodRuns is the first fault of its kind in another system: a grain whose
// method takes longer than the idle time is not deactivated beside it, and calls that come meanwhile
// meet the same instance.
func TestPassivationWhileAMethodRuns(t *testing.T) {
	bothWays(t, idleAfter(200*time.Millisecond), func(t *testing.T, caller *cluster.Node, p *pair) {
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := keep(t.Context(), caller, "Keeper", "x", "sleep"); err != nil {
				t.Error(err)
			}
		})
		time.Sleep(700 * time.Millisecond)
		for i := range 3 {
			wg.Go(func() {
				if _, err := keep(t.Context(), caller, "Keeper", "x", fmt.Sprint("late", i)); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		list := p.events.take()
		if slices.Index(list, "make") != 0 || strings.Count(strings.Join(list, " "), "make") != 1 || strings.Contains(strings.Join(list, " "), "deactivate") {
			t.Fatalf("events %v: want one instance that is not deactivated", list)
		}
	})
}

// TestNothingRunsAfterDeactivate is the second: calls that are queued or come while the grain
// deactivates are handled by the next instance, without an error and without another try seen.
func TestNothingRunsAfterDeactivate(t *testing.T) {
	bothWays(t, idleAfter(200*time.Millisecond), func(t *testing.T, caller *cluster.Node, p *pair) {
		if _, err := keep(t.Context(), caller, "Keeper", "slow-deactivate", "x"); err != nil {
			t.Fatal(err)
		}
		for p.events.count("deactivate") == 0 {
			time.Sleep(time.Millisecond)
		}
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				if _, err := keep(t.Context(), caller, "Keeper", "slow-deactivate", fmt.Sprint("late", i)); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		list := p.events.take()
		ended := slices.Index(list, "ended idle")
		if ended < 0 || slices.ContainsFunc(list[slices.Index(list, "deactivate idle"):ended], func(e string) bool { return strings.HasPrefix(e, "keep") }) {
			t.Fatalf("events %v: something ran between deactivation and end", list)
		}
		if list[ended+1] != "make" || strings.Count(strings.Join(list, " "), "keep late") != 20 {
			t.Fatalf("events %v", list)
		}
	})
}

// TestPassivationUnderLoad calls grains at random moments around their idle time from both members:
// no call fails, none is handled twice, and no two instances of one grain overlap.
func TestPassivationUnderLoad(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) { passivateUnderLoad(t, seed) })
	}
}

func passivateUnderLoad(t *testing.T, seed uint64) {
	var mu sync.Mutex
	alive := map[string]int{}
	handled := map[int]int{}
	retried := 0
	kind := grain.KindOf("Counter", func(self grain.Self) (*overlap, error) {
		return &overlap{key: self.Identity().Key, note: func(key string, d int) {
			mu.Lock()
			defer mu.Unlock()
			if alive[key] += d; alive[key] > 1 {
				t.Errorf("two instances of %s", key)
			}
		}}, nil
	}, grain.Method("Do", func(o *overlap, _ context.Context, n int) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		handled[n]++
		if o.ended {
			t.Errorf("a call after the end of %s", o.key)
		}
		return n, nil
	}))
	kind.Idle = 20 * time.Millisecond
	c := clustertest.Start(t, clustertest.Config{Members: 2, Lookup: newRing, Kinds: grain.Kinds{kind}, Node: func(_ int, _ *cluster.Config, parts *cluster.Components) {
		parts.Telemetry.Observer.Retried = func(_ core.Identity, attempt int, err error) {
			mu.Lock()
			defer mu.Unlock()
			if retried++; attempt > 1 {
				t.Errorf("attempt %d: %v", attempt, err)
			}
		}
	}})
	c.Agree()
	var wg sync.WaitGroup
	for w := range 6 {
		r := rand.New(rand.NewPCG(seed, uint64(w)))
		wg.Go(func() {
			for i := range 100 {
				n := w*1000 + i
				key := fmt.Sprint(r.IntN(4))
				if _, err := grain.Call[int](t.Context(), c.Node(r.IntN(2)), core.Identity{Kind: "Counter", Key: key}, "Do", n); err != nil {
					t.Errorf("call %d: %v", n, err)
				}
				time.Sleep(time.Duration(r.IntN(int(60 * time.Millisecond))))
			}
		})
	}
	wg.Wait()
	mu.Lock()
	defer mu.Unlock()
	if len(handled) != 600 {
		t.Errorf("%d calls were handled, want 600", len(handled))
	}
	for n, times := range handled {
		if times != 1 {
			t.Errorf("call %d was handled %d times", n, times)
		}
	}
}

// overlap tells when it begins and ends.
type overlap struct {
	key   string
	note  func(key string, d int)
	ended bool
}

func (o *overlap) Activate(context.Context) error { o.note(o.key, 1); return nil }
func (o *overlap) Deactivate(context.Context, core.StopReason) error {
	time.Sleep(time.Millisecond)
	o.ended = true
	o.note(o.key, -1)
	return nil
}

func TestTimers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var e events
		kind := grain.KindOf("Clock", func(self grain.Self) (grain.Self, error) {
			n := 0
			self.After(50*time.Millisecond, func(ctx context.Context) error {
				turn, ok := grain.FromContext(ctx)
				e.add(fmt.Sprint("after ", ok, " ", turn.Identity().Key))
				return nil
			})
			var stop func()
			stop = self.Every(10*time.Millisecond, func(context.Context) error {
				if n++; n == 3 {
					stop()
				}
				e.add(fmt.Sprint("every ", n))
				return errKeeper
			})
			self.Every(time.Hour, func(context.Context) error { e.add("never"); return nil })
			self.After(70*time.Millisecond, func(context.Context) error { panic("in a timer") })
			return self, nil
		}, grain.Method("Touch", func(grain.Self, context.Context, int) (int, error) { e.add("touch"); return 0, nil }))
		c := clustertest.Start(t, clustertest.Config{Members: 1, Kinds: grain.Kinds{kind}})
		if _, err := grain.Call[int](t.Context(), c.Node(0), core.Identity{Kind: "Clock", Key: "c"}, "Touch", 0); err != nil {
			t.Fatal(err)
		}
		time.Sleep(200 * time.Millisecond)
		want := "touch, every 1, every 2, every 3, after true c"
		if got := strings.Join(e.take(), ", "); got != want {
			t.Fatalf("got %s, want %s", got, want)
		}
		if live := c.Node(0).Kinds()[0].Live; live != 0 {
			t.Fatalf("%d live after the panic of a timer", live)
		}
		time.Sleep(2 * time.Hour)
		if got := e.take(); len(got) != 0 {
			t.Fatalf("after the end: %v", got)
		}
	})
}

// TestEndsAreTold has the other member's cache drop an activation that has ended: the next call from
// there needs no second try.
func TestEndsAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, idleAfter(100*time.Millisecond))
		watch := p.Node(0).Health
		for _, id := range clustertest.Identities("Keeper", 300) {
			if _, err := keep(t.Context(), p.Node(0), id.Kind, id.Key, "x"); err != nil {
				t.Fatal(err)
			}
		}
		if cached := watch().Cached; cached != 300 {
			t.Fatalf("%d cached", cached)
		}
		time.Sleep(300 * time.Millisecond)
		if cached := watch().Cached; cached != 0 || p.live() != 0 {
			t.Fatalf("%d cached, %d live after the end of all", cached, p.live())
		}
	})
}
