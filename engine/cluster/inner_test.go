package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/cluster"
	"github.com/granary-go/granary/engine/clustertest"
	"github.com/granary-go/granary/engine/grain"
)

// scripted is a grain whose methods are functions of the test.
type scripted struct {
	grain.Self
	deactivate func()
}

func (s *scripted) Deactivate(context.Context, core.StopReason) error {
	if s.deactivate != nil {
		s.deactivate()
	}
	return nil
}

type script func(s *scripted, ctx context.Context) error

func (f script) method(name string) grain.MethodOf[*scripted] {
	return grain.Method(name, func(s *scripted, ctx context.Context, _ int) (int, error) { return 0, f(s, ctx) })
}

func scriptedKind(name string, deactivate func(), methods ...grain.MethodOf[*scripted]) grain.Kind {
	return grain.KindOf(name, func(self grain.Self) (*scripted, error) { return &scripted{self, deactivate}, nil }, methods...)
}

func do(ctx context.Context, c grain.Caller, kind, method string) error {
	_, err := grain.Call[int](ctx, c, core.Identity{Kind: kind, Key: "k"}, method, 0)
	return err
}

// TestRightOfTheNextTurn has a turn leave a goroutine behind that makes a call of its own in the time of
// the next turn, which has waited for nothing: the call that comes back waits for its end.
func TestRightOfTheNextTurn(t *testing.T) {
	for name, keep := range map[string]func(ctx context.Context) context.Context{
		"the turn's context": context.WithoutCancel,
		"its own":            func(context.Context) context.Context { return context.Background() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var left sync.WaitGroup
				var busy atomic.Bool
				touched := false
				a := scriptedKind("A", nil,
					script(func(s *scripted, ctx context.Context) error {
						left.Go(func() {
							time.Sleep(100 * time.Millisecond) // into the next turn
							if err := do(keep(ctx), s, "B", "Back"); err != nil {
								t.Errorf("the call left behind: %v", err)
							}
						})
						return nil
					}).method("Leave"),
					script(func(*scripted, context.Context) error {
						busy.Store(true)
						time.Sleep(time.Second)
						busy.Store(false)
						return nil
					}).method("Busy"),
					script(func(*scripted, context.Context) error {
						touched = true
						if busy.Load() {
							t.Error("two turns at once")
						}
						return nil
					}).method("Touch").Reentrant())
				b := scriptedKind("B", nil, script(func(s *scripted, ctx context.Context) error { return do(ctx, s, "A", "Touch") }).method("Back"))
				c := clustertest.Start(t, clustertest.Config{Members: 1, Kinds: grain.Kinds{a, b}})
				for _, method := range []string{"Leave", "Busy"} {
					if err := do(t.Context(), c.Node(0), "A", method); err != nil {
						t.Error(err)
					}
				}
				left.Wait()
				if !touched {
					t.Error("the call did not come back")
				}
			})
		})
	}
}

// innerTurn has a reentrant turn of A run, after A's own turn has given up, and stops A then. release
// ends what the reentrant turn waits for.
func innerTurn(t *testing.T, inner func(s *scripted, ctx context.Context)) (seen func() []string, took func() time.Duration, release func()) {
	t.Helper()
	var note events
	var stopped time.Time
	var ended atomic.Int64
	gate := make(chan struct{})
	release = sync.OnceFunc(func() { close(gate) })
	a := scriptedKind("A", func() { note.add("deactivate") },
		script(func(s *scripted, ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
			defer cancel()
			return do(ctx, s, "B", "Back")
		}).method("Outer"),
		script(func(s *scripted, ctx context.Context) error {
			inner(s, ctx)
			note.add("inner is done")
			return nil
		}).method("Inner").Reentrant())
	b := scriptedKind("B", nil, script(func(s *scripted, ctx context.Context) error { return do(context.WithoutCancel(ctx), s, "A", "Inner") }).method("Back"))
	slow := scriptedKind("C", nil, script(func(*scripted, context.Context) error { <-gate; return nil }).method("Wait"))
	c := clustertest.Start(t, clustertest.Config{Members: 1, Kinds: grain.Kinds{a, b, slow}, Node: func(_ int, _ *cluster.Config, parts *cluster.Components) {
		parts.Telemetry.Observer.Deactivated = func(a core.Activation, _ core.StopReason) {
			if a.Identity.Kind == "A" {
				note.add("ended")
				ended.Store(int64(time.Since(stopped)))
			}
		}
	}})
	t.Cleanup(release)
	if err := do(t.Context(), c.Node(0), "A", "Outer"); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("the outer turn: %v", err)
	}
	stopped = time.Now()
	for act := range c.Node(0).Activations() {
		if act.Identity.Kind == "A" {
			_ = cluster.System(c.Node(0)).Ref(act.PID).Stop()
		}
	}
	return note.take, func() time.Duration { return time.Duration(ended.Load()) }, release
}

// TestNoTurnAfterTheLastOne stops an activation the hard way while a reentrant turn of it waits: its
// context ends, and its last line runs before the grain deactivates.
func TestNoTurnAfterTheLastOne(t *testing.T) {
	waitForC := func(ctx context.Context, s *scripted) { _ = do(ctx, s, "C", "Wait") }
	for _, test := range []struct {
		name  string
		inner func(s *scripted, ctx context.Context)
		want  []string
		took  time.Duration
	}{
		{"it heeds its context", func(s *scripted, ctx context.Context) { waitForC(ctx, s) },
			[]string{"inner is done", "deactivate", "ended"}, 0},
		{"it is done a little later", func(s *scripted, ctx context.Context) {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
			defer cancel()
			waitForC(ctx, s)
		}, []string{"inner is done", "deactivate", "ended"}, 1900 * time.Millisecond},
		{"it is never done", func(s *scripted, ctx context.Context) { waitForC(context.WithoutCancel(ctx), s) },
			[]string{"ended"}, 10 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				seen, took, release := innerTurn(t, test.inner)
				time.Sleep(20 * time.Second)
				if got := seen(); !slices.Equal(got, test.want) {
					t.Errorf("seen %q, want %q", got, test.want)
				}
				if got := took(); got.Round(10*time.Millisecond) != test.took {
					t.Errorf("it took %v, want %v", got, test.took)
				}
				release()
			})
		})
	}
}

// TestCallsUnderWayAreForgotten once they are answered, given up, or refused by a full mailbox.
func TestCallsUnderWayAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, func(k *grain.Kind) { k.Mailbox = 4 })
		if _, err := keep(t.Context(), p.Node(0), "Keeper", "x", "x"); err != nil {
			t.Fatal(err)
		}
		var calls sync.WaitGroup
		var refused, given atomic.Int64
		for i := range 20 {
			calls.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(1+i%3)*time.Second)
				defer cancel()
				_, err := keep(ctx, p.Node(0), "Keeper", "x", "sleep", grain.Header("i", fmt.Sprint(i)))
				switch {
				case errors.Is(err, core.ErrOverloaded):
					refused.Add(1)
				case errors.Is(err, context.DeadlineExceeded):
					given.Add(1)
				case err != nil:
					t.Error(err)
				}
			})
		}
		time.Sleep(100 * time.Millisecond)
		if n := cluster.UnderWay(p.Node(1)); n == 0 || n > 5 {
			t.Errorf("%d calls are under way, of which 4 may be queued", n)
		}
		calls.Wait()
		time.Sleep(10 * time.Second)
		if n := cluster.UnderWay(p.Node(1)); n != 0 || refused.Load() == 0 || given.Load() == 0 {
			t.Errorf("%d calls are still known; %d were refused, %d given up", n, refused.Load(), given.Load())
		}
	})
}

// TestReentrantTurnThatDoesNotReturn panics or ends its goroutine: its caller hears of it at once, as of
// any method, and the grain is a fresh one afterwards.
func TestReentrantTurnThatDoesNotReturn(t *testing.T) {
	for name, end := range map[string]func(){"panicked": func() { panic("in the turn") }, "ended its goroutine": runtime.Goexit} {
		for i, way := range []string{"local", "remote"} {
			t.Run(name+" "+way, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var inner error
					var made atomic.Int32
					a := grain.KindOf("A", func(self grain.Self) (*scripted, error) { made.Add(1); return &scripted{Self: self}, nil },
						script(func(s *scripted, ctx context.Context) error {
							inner = do(ctx, s, "B", "Back")
							return nil
						}).method("Outer"),
						script(func(*scripted, context.Context) error { end(); return nil }).method("Inner").Reentrant())
					b := scriptedKind("B", nil, script(func(s *scripted, ctx context.Context) error { return do(ctx, s, "A", "Inner") }).method("Back"))
					kinds := []grain.Kinds{{a, b}, nil}
					if way == "remote" {
						kinds = []grain.Kinds{{a}, {b}}
					}
					c := clustertest.Start(t, clustertest.Config{Members: 2, Lookup: newRing, Node: func(i int, _ *cluster.Config, parts *cluster.Components) { parts.Kinds = kinds[i] }})
					c.Agree()
					began := time.Now()
					if err := do(t.Context(), c.Node(i), "A", "Outer"); err != nil {
						t.Errorf("the outer turn: %v", err)
					}
					if e, ok := errors.AsType[*grain.Error](inner); !ok || e.Code != grain.Internal || !strings.Contains(e.Message, "the method "+name) || core.DeliveryOf(inner) != core.Delivered {
						t.Errorf("the inner turn's caller: %v (%v)", inner, core.DeliveryOf(inner))
					}
					if took := time.Since(began); took > time.Second {
						t.Errorf("it took %v", took)
					}
					if err := do(t.Context(), c.Node(i), "A", "Outer"); err != nil || made.Load() != 2 {
						t.Errorf("the next call: %v; %d grains were made, want a fresh one", err, made.Load())
					}
				})
			})
		}
	}
}

// TestHooksThatDoNotReturn are named in the log, and the next activation runs.
func TestHooksThatDoNotReturn(t *testing.T) {
	for key, want := range map[string]string{
		"panic-deactivate": "the hook Deactivate panicked: in Deactivate", "goexit-deactivate": "the hook Deactivate ended its goroutine",
		"panic-make": "the factory panicked: in the factory", "goexit-activate": "the hook Activate ended its goroutine",
	} {
		t.Run(key, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log lockedBuffer
				node := clustertest.Start(t, clustertest.Config{Members: 1, Kinds: grain.Kinds{keeperKind("Keeper", nil)}, Log: slog.New(slog.NewTextHandler(&log, nil))}).Node(0)
				_, _ = keep(t.Context(), node, "Keeper", key, "stop")
				time.Sleep(time.Second)
				if !strings.Contains(log.String(), want) {
					t.Errorf("the log does not tell %q:\n%s", want, log.String())
				}
				if live := node.Kinds()[0].Live; live != 0 {
					t.Errorf("%d live", live)
				}
				if got, err := keep(t.Context(), node, "Keeper", "other", "x"); err != nil || got != "1" {
					t.Errorf("another grain: %q, %v", got, err)
				}
			})
		})
	}
}
