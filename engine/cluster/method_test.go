package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/cluster"
	"github.com/granary-go/granary/engine/clustertest"
	"github.com/granary-go/granary/engine/grain"
)

// oneKind is two members, of which the second hosts the kind.
func oneKind(t *testing.T, k grain.Kind, edit func(cfg *cluster.Config)) *clustertest.Cluster {
	t.Helper()
	c := clustertest.Start(t, clustertest.Config{Members: 2, Lookup: newRing, Node: func(i int, cfg *cluster.Config, parts *cluster.Components) {
		if i == 1 {
			parts.Kinds = grain.Kinds{k}
		}
		if edit != nil {
			edit(cfg)
		}
	}})
	c.Agree()
	return c
}

// TestTimeoutOfAMethod ends the ctx of a run. What does not heed it runs on, beside nothing else; a caller
// who knows the kind waits no longer, one who does not waits for the method or for a time of its own.
func TestTimeoutOfAMethod(t *testing.T) {
	for _, test := range []struct {
		name, method string
		caller       int
		opts         []grain.CallOption
		took         time.Duration
		code         grain.Code
	}{
		{"local, heeds it", "Heed", 1, nil, time.Second, grain.DeadlineExceeded},
		{"remote, heeds it", "Heed", 0, nil, time.Second, grain.DeadlineExceeded},
		{"local, goes on", "Ignore", 1, nil, time.Second, grain.DeadlineExceeded},
		{"remote, goes on", "Ignore", 0, nil, 3 * time.Second, grain.OK},
		{"remote, goes on, the caller's time", "Ignore", 0, []grain.CallOption{grain.Timeout(2 * time.Second)}, 2 * time.Second, grain.DeadlineExceeded},
		{"local, the caller's longer time", "Ignore", 1, []grain.CallOption{grain.Timeout(2 * time.Second)}, 2 * time.Second, grain.DeadlineExceeded},
		{"local, without a time", "Free", 1, nil, 3 * time.Second, grain.OK},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var ctxErr error
				sleep := script(func(_ *scripted, ctx context.Context) error {
					time.Sleep(3 * time.Second)
					ctxErr = ctx.Err()
					return nil
				})
				c := oneKind(t, scriptedKind("A", nil,
					script(func(_ *scripted, ctx context.Context) error { <-ctx.Done(); ctxErr = ctx.Err(); return ctxErr }).method("Heed").Timeout(time.Second),
					sleep.method("Ignore").Timeout(time.Second),
					sleep.method("Free").Timeout(-1),
					script(func(*scripted, context.Context) error { return nil }).method("Next")), nil)
				if err := do(t.Context(), c.Node(test.caller), "A", "Next"); err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				_, err := grain.Call[int](t.Context(), c.Node(test.caller), id("A", "k"), test.method, 0, test.opts...)
				if took := time.Since(began).Round(50 * time.Millisecond); grain.CodeOf(err) != test.code || took != test.took {
					t.Errorf("%v after %v, want %v after %v", err, took, test.code, test.took)
				}
				if err := do(t.Context(), c.Node(test.caller), "A", "Next"); err != nil {
					t.Errorf("the next call: %v", err)
				}
				want, end := context.DeadlineExceeded, 3*time.Second
				switch test.method {
				case "Heed":
					end = time.Second
				case "Free":
					want = nil
				}
				if len(test.opts) > 0 && errors.Is(ctxErr, context.Canceled) {
					ctxErr = want // the caller's end came after that, but nobody had looked
				}
				if ctxErr != want {
					t.Errorf("the ctx of the run: %v, want %v", ctxErr, want)
				}
				if took := time.Since(began).Round(50 * time.Millisecond); took != end {
					t.Errorf("the next call ran after %v, want %v", took, end)
				}
			})
		})
	}
}

// TestIdempotentPlainMethod is known as such to the rule of what is tried again.
func TestIdempotentPlainMethod(t *testing.T) {
	nothing := script(func(*scripted, context.Context) error { return nil })
	k := scriptedKind("A", nil, nothing.method("Once"), nothing.method("Again").Idempotent(), nothing.method("All").Reentrant().Idempotent().Timeout(time.Minute))
	node := single(t, cluster.Config{}, k)
	for method, want := range map[string]bool{"Once": false, "Again": true, "All": true} {
		if got := cluster.MayRunTwice(node, grain.Request{To: id("A", "k"), Method: method, Index: -1}); got != want {
			t.Errorf("%s: %v", method, got)
		}
	}
	if spec, _ := k.Method(-1, "All"); !spec.Reentrant || spec.Timeout != time.Minute {
		t.Errorf("All is %+v", spec)
	}
}

// TestHeaderBounds holds calls and tells to the same bounds on one member as between two.
func TestHeaderBounds(t *testing.T) {
	const bytes, count = 100, 5
	many := func(n int) (opts []grain.CallOption) {
		for i := range n {
			opts = append(opts, grain.Header(fmt.Sprint(i), "v"))
		}
		return opts
	}
	one := func(key string, size int) []grain.CallOption {
		return []grain.CallOption{grain.Header(key, strings.Repeat("v", size-len(key)))}
	}
	for _, test := range []struct {
		name string
		opts []grain.CallOption
		text string // empty: allowed
	}{
		{"bytes, bound − 1", one("k", bytes-1), ""},
		{"bytes, bound", one("k", bytes), ""},
		{"bytes, bound + 1", one("k", bytes+1), "headers of 101 bytes, at most 100 are allowed"},
		{"number, bound − 1", many(count - 1), ""},
		{"number, bound", many(count), ""},
		{"number, bound + 1", many(count + 1), "6 headers, at most 5 are allowed"},
		{"reserved", one("granary.x", 20), `keys that begin with "granary." are reserved`},
		{"not reserved", one("granary", 20), ""},
		{"key that is no text", one("\xff", 20), "not UTF-8"},
		{"value that is no text", []grain.CallOption{grain.Header("k", "\xff")}, "not UTF-8"},
	} {
		for i, way := range []string{"remote", "local"} {
			t.Run(test.name+" "+way, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var ran atomic.Int32
					c := oneKind(t, scriptedKind("A", nil, script(func(*scripted, context.Context) error { ran.Add(1); return nil }).method("Do")),
						func(cfg *cluster.Config) { cfg.Limits.HeaderBytes, cfg.Limits.Headers = bytes, count })
					_, err := grain.Call[int](t.Context(), c.Node(i), id("A", "k"), "Do", 0, test.opts...)
					told := grain.Tell(t.Context(), c.Node(i), id("A", "k"), "Do", 0, test.opts...)
					time.Sleep(time.Second)
					if test.text == "" {
						if err != nil || told != nil || ran.Load() != 2 {
							t.Errorf("%v, %v, ran %d times", err, told, ran.Load())
						}
						return
					}
					for _, err := range []error{err, told} {
						if grain.CodeOf(err) != grain.InvalidArgument || !errors.Is(err, core.ErrInvalid) || core.DeliveryOf(err) != core.Undelivered || !strings.Contains(err.Error(), test.text) {
							t.Errorf("%v (%v, %v)", err, grain.CodeOf(err), core.DeliveryOf(err))
						}
					}
					if ran.Load() != 0 {
						t.Errorf("it ran %d times", ran.Load())
					}
				})
			})
		}
	}
}

// TestDeactivateWithinItsTurn is refused at once, also by a grain that it calls, and names the way out.
func TestDeactivateWithinItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c *clustertest.Cluster
		deactivate := func(ctx context.Context) error {
			return cluster.HostOf(c.Node(0)).Deactivate(ctx, id("A", "k"), core.Token{}, core.StopRequested)
		}
		a := scriptedKind("A", nil,
			script(func(_ *scripted, ctx context.Context) error { return deactivate(ctx) }).method("Own"),
			script(func(s *scripted, ctx context.Context) error { return do(ctx, s, "B", "Other") }).method("Through"),
			script(func(s *scripted, _ context.Context) error { s.Stop(); return nil }).method("Stop"))
		b := scriptedKind("B", nil, script(func(_ *scripted, ctx context.Context) error { return deactivate(ctx) }).method("Other"))
		c = clustertest.Start(t, clustertest.Config{Members: 1, Lookup: newRing, Kinds: grain.Kinds{a, b}})
		began := time.Now()
		for _, method := range []string{"Own", "Through"} {
			err := do(t.Context(), c.Node(0), "A", method)
			if e, ok := errors.AsType[*grain.Error](err); !ok || e.Reason != grain.ReasonCycle || !strings.Contains(e.Message, "Self.Stop") {
				t.Errorf("%s: %v", method, err)
			}
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("it took %v", took)
		}
		if err := do(t.Context(), c.Node(0), "B", "Other"); err != nil { // of nobody's turn that waits
			t.Errorf("by another grain: %v", err)
		}
		if err := do(t.Context(), c.Node(0), "A", "Stop"); err != nil {
			t.Error(err)
		}
		if err := deactivate(t.Context()); err != nil {
			t.Errorf("from outside: %v", err)
		}
	})
}
