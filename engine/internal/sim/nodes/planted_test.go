//go:build !race

// What is left of a run with a mistake in it, the race detector would only make slow.

package nodes

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/sim"
	"github.com/granary-go/granary/engine/cluster"
	"github.com/granary-go/granary/engine/grain"
)

// The lookups with a mistake put around them.
type (
	greedyLookup struct { // claims one identity for whoever asks
		watched
		host *core.Host
	}
	heldLookup  struct{ watched } // holds one back when all is well
	sulkyLookup struct{ watched } // does not stop in order
)

func (l greedyLookup) mine(id core.Identity) bool { return id.Key == "7" && l.p.node.View() != nil }

func (l greedyLookup) Owner(id core.Identity) (core.Member, bool) {
	if l.mine(id) {
		return l.p.node.Self(), true
	}
	return l.watched.Owner(id)
}

func (l greedyLookup) Start(ctx context.Context, host core.Host, env core.Env) error {
	*l.host = host
	return l.watched.Start(ctx, host, env)
}

func (l greedyLookup) Resolve(ctx context.Context, id core.Identity) (core.Placement, error) {
	if l.mine(id) {
		return (*l.host).Activate(ctx, id, core.Token{})
	}
	return l.watched.Resolve(ctx, id)
}

func (l greedyLookup) Held(id core.Identity) bool { return !l.mine(id) && l.watched.Held(id) }

func (l heldLookup) Held(id core.Identity) bool {
	return id.Key == "7" && l.p.w.calm() || l.watched.Held(id)
}

func (l sulkyLookup) Stop(ctx context.Context) error {
	return errors.Join(l.watched.Stop(ctx), errors.New("it sulks"))
}

func greedy(w *world) {
	w.plant.lookup = func(_ *process, l watched) core.Lookup { return greedyLookup{l, new(core.Host)} }
}

// handles has f called within each turn of a call or a message.
func handles(f func(ctx context.Context, g *cart, a ask)) func(w *world) {
	return func(w *world) { w.plant.handle = f }
}

// ended has f change what is known of each process, when all have stopped.
func ended(f func(w *world, p *process)) func(w *world) {
	return func(w *world) {
		w.plant.ended = func(w *world) {
			for _, p := range w.procs {
				f(w, p)
			}
		}
	}
}

// planted are mistakes by the invariant that finds them. R1 to R3 have tests of their own.
var planted = map[string]func(w *world){
	"S0": ended(func(w *world, p *process) {
		if p.view == nil {
			return
		}
		rec := p.view.Record()
		rec.Epoch--
		older, err := core.NewView(rec)
		if err != nil {
			panic(err) // it is a view but for its epoch
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.checkOrder(p, p.view, older)
	}),
	"S1": greedy,
	"S2": greedy,
	"S3": greedy,
	"S4": greedy,
	"S6": ended(func(w *world, p *process) { w.newRequest(p, w.ids[0], time.Second, 9_000).began -= time.Minute }),
	"S7": handles(func(ctx context.Context, g *cart, a ask) { g.p.w.handled(ctx, g, a) }),
	"S8": handles(func(_ context.Context, g *cart, a ask) { g.heard[a.Sender] = a.Place }),
	"S9": handles(func(_ context.Context, g *cart, _ ask) { g.turn(false, false)() }),
	"S10": handles(func(ctx context.Context, g *cart, a ask) {
		a.From = "another"
		g.p.w.handled(ctx, g, a)
	}),
	"L1": func(w *world) {
		w.plant.lookup = func(_ *process, l watched) core.Lookup { return heldLookup{l} }
	},
	"L2": handles(func(_ context.Context, g *cart, _ ask) {
		if g.p.w.calm() {
			g.p.again(g.id, 1, nil)
		}
	}),
	"L3": func(w *world) {
		w.plant.booted = func(p *process) {
			if p.m.index == 0 && p.m.boots == 1 {
				w.after(20*time.Second, func() { w.cluster.CutProvider(p.number) })
			}
		}
	},
	"L4": func(w *world) {
		w.plant.booted = func(p *process) {
			if w.calm() {
				w.cluster.CutProvider(p.number)
			}
		}
	},
	"L6": func(w *world) {
		w.plant.lookup = func(_ *process, l watched) core.Lookup { return sulkyLookup{l} }
	},
	"L7": func(w *world) {
		w.plant.config = func(cfg *cluster.Config) { cfg.ProbeInterval, cfg.ProbeMisses = 200*time.Millisecond, 1 }
	},
	"L8": handles(func(_ context.Context, g *cart, a ask) {
		w := g.p.w
		w.mu.Lock()
		r := w.ledger.byNumber[a.Number]
		w.mu.Unlock()
		if r != nil && r.limit == 5*time.Second {
			time.Sleep(time.Second)
		}
	}),
	"L9": ended(func(_ *world, p *process) { p.installs = 10_000 }),
	"R4": func(w *world) {
		w.plant.config = func(cfg *cluster.Config) {
			cfg.Limits.QueueMessages, cfg.Limits.QueueBytes = 100_000, 64<<20
		}
	},
	"R5": func(w *world) {
		w.plant.verify = func(w *world) {
			for _, p := range w.live() {
				for i := range 200 {
					ctx, cancel := context.WithTimeout(context.Background(), callLimit)
					id := core.Identity{Kind: kind, Key: fmt.Sprint("more ", i)}
					_, _ = grain.Call[bool](ctx, p.node, id, "Sink", []byte("x")) // it is to be remembered
					cancel()
				}
			}
		}
	},
}

// Every invariant that is listed can fail on whole nodes.
func TestPlantedMistakesAreFound(t *testing.T) {
	for _, invariant := range invariants {
		if slices.Contains([]string{"R1", "R2", "R3"}, invariant) {
			continue
		}
		t.Run(invariant, func(t *testing.T) {
			wrap := planted[invariant]
			if wrap == nil {
				t.Fatal("nobody has shown that this invariant can fail")
			}
			e := engine(t, wrap)
			for tries, seed := 0, uint64(1); tries < 8; seed++ {
				s := sim.NewSchedule(seed, e.Plan)
				if invariant == "L9" && (len(s.Faults) == 0 || slices.ContainsFunc(s.Faults, func(f sim.Fault) bool { return !slices.Contains(linkKinds(), f.Kind) })) {
					continue // only where links alone go wrong
				}
				tries++
				if has(e.Run(s, false), invariant) {
					return
				}
			}
			t.Error("not found")
		})
	}
}

// R1: what the end of a bubble says is a finding.
func TestGoroutinesThatRemainAreAViolation(t *testing.T) {
	for text, want := range map[string]string{
		"": "",
		"main bubble goroutine has exited but blocked goroutines remain": "R1",
		"panic: boom": "panic",
	} {
		w := newWorld(sim.Schedule{Nodes: 1}, false)
		var err error
		if text != "" {
			err = errors.New(text)
		}
		w.checkBubble(err)
		if (want != "") != (len(w.out.Violations) > 0) || want != "" && w.out.Violations[0].Invariant != want {
			t.Errorf("%q: %+v, want %q", text, w.out.Violations, want)
		}
		if want != "panic" && w.out.Checks["R1"] != 1 {
			t.Errorf("%q: R1 was looked at %d times", text, w.out.Checks["R1"])
		}
	}
}

// R2 and R3: what runs leave behind is measured.
func TestLeftoversAreAViolation(t *testing.T) {
	l := &leftovers{}
	run := func() (out sim.Outcome) {
		out.Checks = sim.Tally{}
		l.check(&out)
		return out
	}
	if o := run(); len(o.Violations) > 0 {
		t.Fatalf("the first run: %+v", o.Violations)
	}
	var kept []byte
	var files []*os.File
	var once sync.Once
	found := map[string]bool{}
	for range 2 * measured {
		for _, v := range run().Violations {
			found[v.Invariant] = true
		}
		once.Do(func() {
			kept = make([]byte, 4*heapSlack+int(l.first.heap))
			for range fileSlack + 1 {
				f, err := os.Open(os.DevNull)
				if err != nil {
					t.Fatal(err)
				}
				files = append(files, f)
			}
		})
	}
	for _, f := range files {
		_ = f.Close() // it was only opened
	}
	if l.first.files < 0 { // nobody can tell how many are open
		found["R3"] = true
	}
	if len(kept) == 0 || !found["R2"] || !found["R3"] {
		t.Errorf("found %v", found)
	}
}
