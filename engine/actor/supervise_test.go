package actor_test

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/granary-go/granary/engine/actor"
)

// The tables of the strategies, which are pure.
func TestDecide(t *testing.T) {
	now := time.Unix(1000, 0)
	crashes := func(ago ...time.Duration) (out []actor.Crash) {
		for _, d := range ago {
			out = append(out, actor.Crash{At: now.Add(-d)})
		}
		return out
	}
	bad := errors.New("bad")
	choose := func(d actor.Directive) func(error) actor.Directive {
		return func(err error) actor.Directive {
			if err != bad {
				t.Errorf("Choose got %v", err)
			}
			return d
		}
	}
	ten := slices.Repeat([]time.Duration{time.Second}, 10)
	for name, tc := range map[string]struct {
		s       actor.Strategy
		history []actor.Crash
		want    actor.Verdict
	}{
		"default restarts":          {actor.OneForOne{}, crashes(0), actor.Verdict{}},
		"default, 10th in 10 s":     {actor.OneForOne{}, crashes(ten...), actor.Verdict{}},
		"default, 11th in 10 s":     {actor.OneForOne{}, crashes(append(ten, 0)...), actor.Verdict{Directive: actor.Halt}},
		"old failures do not count": {actor.OneForOne{MaxRestarts: 1}, crashes(11*time.Second, 10*time.Second, 0), actor.Verdict{}},
		"window":                    {actor.OneForOne{MaxRestarts: 1, Window: time.Minute}, crashes(11*time.Second, 0), actor.Verdict{Directive: actor.Halt}},
		"never":                     {actor.OneForOne{MaxRestarts: -1}, crashes(0), actor.Verdict{Directive: actor.Halt}},
		"no bound":                  {actor.OneForOne{MaxRestarts: 1000}, slices.Repeat(crashes(0), 128), actor.Verdict{}},
		"choose resume":             {actor.OneForOne{MaxRestarts: -1, Choose: choose(actor.Resume)}, crashes(0), actor.Verdict{Directive: actor.Resume}},
		"choose halt":               {actor.OneForOne{Choose: choose(actor.Halt)}, crashes(0), actor.Verdict{Directive: actor.Halt}},
		"all":                       {actor.AllForOne{}, crashes(0), actor.Verdict{All: true}},
		"all, too often":            {actor.AllForOne{MaxRestarts: 1}, crashes(1, 0), actor.Verdict{Directive: actor.Halt, All: true}},
		"all escalates for one":     {actor.AllForOne{Choose: choose(actor.Escalate)}, crashes(0), actor.Verdict{Directive: actor.Escalate}},
		"halt":                      {actor.AlwaysHalt{}, crashes(0), actor.Verdict{Directive: actor.Halt}},
		"func":                      {actor.StrategyFunc(func(*actor.Failure) actor.Verdict { return actor.Verdict{After: 7} }), nil, actor.Verdict{After: 7}},
	} {
		f := &actor.Failure{Err: bad, Now: now, History: tc.history}
		if got := tc.s.Decide(f); got != tc.want {
			t.Errorf("%s: %+v; want %+v", name, got, tc.want)
		}
	}
}

func TestBackoffIsExponential(t *testing.T) {
	var f actor.Failure
	s := actor.Backoff{Initial: 10 * time.Millisecond, Max: time.Second, Healthy: 5 * time.Second}
	var got []time.Duration
	for range 9 {
		f.History = append(f.History, actor.Crash{Up: time.Second})
		got = append(got, s.Decide(&f).After/time.Millisecond)
	}
	if want := []time.Duration{10, 20, 40, 80, 160, 320, 640, 1000, 1000}; !slices.Equal(got, want) {
		t.Errorf("%v ms; want %v", got, want)
	}
	f.History = append(f.History, actor.Crash{Up: 5 * time.Second})
	if v := s.Decide(&f); v.After != 10*time.Millisecond {
		t.Errorf("after a healthy time %v; want 10 ms", v.After)
	}
	f.History = slices.Repeat([]actor.Crash{{}}, 128)
	if v := (actor.Backoff{}).Decide(&f); v.Directive != actor.Restart || v.After != 30*time.Second {
		t.Errorf("default after 128 failures %+v; want a restart in 30 s", v)
	}
	for n := 1; n <= 4; n++ {
		f.History = slices.Repeat([]actor.Crash{{}}, n)
		want := actor.Restart
		if n > 3 {
			want = actor.Halt
		}
		if v := (actor.Backoff{MaxRestarts: 3}).Decide(&f); v.Directive != want {
			t.Errorf("failure %d of at most 3 restarts: %v; want %v", n, v.Directive, want)
		}
	}
	jitter := actor.Backoff{Initial: time.Second, Jitter: 0.5}
	f.History = f.History[:1]
	seen := make(map[time.Duration]bool)
	for range 100 {
		v := jitter.Decide(&f)
		if v.After < time.Second/2 || v.After > time.Second {
			t.Fatalf("%v is not in 0.5 s to 1 s", v.After)
		}
		seen[v.After] = true
	}
	if len(seen) < 50 {
		t.Errorf("%d different times of 100", len(seen))
	}
}

func TestBackoffWaitsAndMessagesWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSystem(t)
		var starts []time.Duration
		began := time.Now()
		handled := make(chan time.Duration, 1)
		ref := spawnProps(t, s, &actor.Props{
			Guardian: actor.Backoff{Initial: time.Second},
			New: func() actor.Actor {
				return actor.Func(func(c *actor.Context) {
					switch c.Message().(type) {
					case actor.Started:
						if starts = append(starts, time.Since(began)); len(starts) < 5 {
							panic("not yet")
						}
					case string:
						handled <- time.Since(began)
					}
				})
			},
		})
		if err := ref.Tell("wait"); err != nil {
			t.Fatal(err)
		}
		if at := <-handled; at != 15*time.Second {
			t.Errorf("handled after %v; want 15 s", at)
		}
		want := []time.Duration{0, 1 * time.Second, 3 * time.Second, 7 * time.Second, 15 * time.Second}
		if !slices.Equal(starts, want) {
			t.Errorf("starts at %v; want %v", starts, want)
		}
	})
}

func TestStopDuringBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSystem(t)
		ref := spawnProps(t, s, &actor.Props{
			Guardian: actor.Backoff{Initial: time.Hour},
			New:      func() actor.Actor { panic("never") },
		})
		synctest.Wait()
		began := time.Now()
		if err := ref.StopWait(t.Context()); err != nil || time.Since(began) != 0 {
			t.Errorf("StopWait = %v after %v; want at once", err, time.Since(began))
		}
	})
}

// family is a parent with children a, b, c that log what they get; a message "panic" fails one.
type family struct {
	ref  *actor.Ref
	logs chan string
	kids map[string]*actor.Ref
}

func newFamily(t *testing.T, s *actor.System, strategy actor.Strategy, own actor.Strategy) *family {
	t.Helper()
	f := &family{logs: make(chan string, 1000), kids: make(map[string]*actor.Ref)}
	kid := func(name string) *actor.Props {
		n := 0
		return &actor.Props{New: func() actor.Actor {
			n++
			gen := n
			return actor.Func(func(c *actor.Context) {
				f.logs <- fmt.Sprintf("%s%d %T", name, gen, c.Message())
				switch c.Message() {
				case "panic":
					panic("as told")
				case "ping":
					_ = c.Respond(gen)
				}
			})
		}}
	}
	ready := make(chan struct{})
	var starts atomic.Int32
	parent := func(c *actor.Context) {
		switch c.Message().(type) {
		case actor.Started:
			for _, name := range []string{"a", "b", "c"} {
				ref, err := c.SpawnNamed(name, kid(name))
				if err != nil {
					t.Error(err)
				}
				if starts.Load() == 0 {
					f.kids[name] = ref
				}
			}
			if starts.Add(1) == 1 {
				close(ready)
			}
		case string:
			_ = c.Respond(int(starts.Load()))
		}
	}
	var a actor.Actor = actor.Func(parent)
	if own != nil {
		a = struct {
			actor.Actor
			actor.Strategy
		}{a, own}
	}
	f.ref = spawnProps(t, s, &actor.Props{New: func() actor.Actor { return a }, Supervisor: strategy, Guardian: actor.OneForOne{}})
	recv(t, ready)
	return f
}

// has waits until every line of want was logged.
func (f *family) has(t *testing.T, want ...string) {
	t.Helper()
	for len(want) > 0 {
		line := recv(t, f.logs)
		if i := slices.Index(want, line); i >= 0 {
			want = slices.Delete(want, i, i+1)
		}
	}
}

func TestOneForOne(t *testing.T) {
	s := newSystem(t)
	f := newFamily(t, s, actor.OneForOne{}, nil)
	_ = f.kids["b"].Tell("panic")
	f.has(t, "b1 string", "b1 actor.Restarting", "b2 actor.Started")
	for name, want := range map[string]int{"a": 1, "b": 2, "c": 1} {
		if got := ask(t, f.kids[name], "ping"); got != want {
			t.Errorf("incarnation of %s: %v; want %d", name, got, want)
		}
	}
}

func TestAllForOne(t *testing.T) {
	s := newSystem(t)
	f := newFamily(t, s, actor.AllForOne{}, nil)
	_ = f.kids["b"].Tell("panic")
	f.has(t, "a2 actor.Started", "b2 actor.Started", "c2 actor.Started")
	for _, kid := range f.kids {
		if got := ask(t, kid, "ping"); got != 2 {
			t.Errorf("incarnation of %s: %v; want 2", kid, got)
		}
	}
}

func TestAllForOneHalts(t *testing.T) {
	s := newSystem(t)
	f := newFamily(t, s, actor.AllForOne{MaxRestarts: -1}, nil)
	_ = f.kids["b"].Tell("panic")
	for _, kid := range f.kids {
		if err := kid.Wait(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if got := ask(t, f.ref, "starts"); got != 1 {
		t.Errorf("starts of the parent: %v; want 1", got)
	}
}

func TestResume(t *testing.T) {
	s := newSystem(t)
	resume := actor.OneForOne{Choose: func(error) actor.Directive { return actor.Resume }}
	f := newFamily(t, s, resume, nil)
	_ = f.kids["a"].Tell("panic")
	if got := ask(t, f.kids["a"], "ping"); got != 1 {
		t.Errorf("incarnation %v; want the same", got)
	}
}

func TestEscalateRestartsTheParent(t *testing.T) {
	s := newSystem(t)
	f := newFamily(t, s, actor.OneForOne{Choose: func(error) actor.Directive { return actor.Escalate }}, nil)
	_ = f.kids["a"].Tell("panic")
	f.has(t, "a1 actor.Stopped", "b1 actor.Stopped", "c1 actor.Stopped")
	if got := ask(t, f.ref, "starts"); got != 2 {
		t.Errorf("starts of the parent: %v; want 2", got)
	}
}

func TestEscalateAboveTheTopStopsTheActorOnly(t *testing.T) {
	s := newSystem(t)
	ref := spawnProps(t, s, &actor.Props{
		Guardian: actor.OneForOne{Choose: func(error) actor.Directive { return actor.Escalate }},
		New: func() actor.Actor {
			return actor.Func(func(c *actor.Context) {
				if c.Message() == "panic" {
					panic("up")
				}
			})
		},
	})
	other := spawn(t, s, echo)
	_ = ref.Tell("panic")
	if err := ref.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	ask(t, other, "still there")
}

func TestEscalatedAndResumed(t *testing.T) {
	s := newSystem(t)
	escalate := actor.OneForOne{Choose: func(error) actor.Directive { return actor.Escalate }}
	kid := make(chan *actor.Ref, 1)
	spawnProps(t, s, &actor.Props{
		Supervisor: escalate,
		Guardian: actor.OneForOne{Choose: func(err error) actor.Directive {
			var e *actor.EscalatedError
			if !errors.As(err, &e) || e.Child == nil {
				t.Errorf("cause %v; want an EscalatedError", err)
			}
			return actor.Resume
		}},
		New: func() actor.Actor {
			return actor.Func(func(c *actor.Context) {
				if _, ok := c.Message().(actor.Started); !ok {
					return
				}
				ref, _ := c.Spawn(actor.FromFunc(func(c *actor.Context) {
					if c.Message() == "panic" {
						panic("once")
					}
					echo(c)
				}))
				kid <- ref
			})
		},
	})
	ref := recv(t, kid)
	_ = ref.Tell("panic")
	if got := ask(t, ref, "alive"); got != "alive" {
		t.Errorf("Ask = %v", got)
	}
}

func TestActorsOwnStrategy(t *testing.T) {
	s := newSystem(t)
	var seen atomic.Pointer[actor.Failure]
	own := actor.StrategyFunc(func(f *actor.Failure) actor.Verdict {
		seen.Store(f)
		return actor.Verdict{Directive: actor.Halt}
	})
	f := newFamily(t, s, actor.AllForOne{}, own)
	_ = f.kids["c"].Tell("panic")
	if err := f.kids["c"].Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := seen.Load(); got.Child.PID() != f.kids["c"].PID() || got.Message != "panic" || len(got.History) != 1 {
		t.Errorf("failure %+v", got)
	}
	if got := ask(t, f.kids["a"], "ping"); got != 1 {
		t.Errorf("incarnation of a: %v; want 1", got)
	}
}

func TestStrategyThatPanicsHalts(t *testing.T) {
	s := newSystem(t)
	f := newFamily(t, s, actor.StrategyFunc(func(*actor.Failure) actor.Verdict { panic("strategy") }), nil)
	_ = f.kids["a"].Tell("panic")
	if err := f.kids["a"].Wait(t.Context()); err != nil {
		t.Error(err)
	}
	ask(t, f.ref, "alive")
}

func TestChildrenStopWithTheirParent(t *testing.T) {
	s := newSystem(t)
	f := newFamily(t, s, nil, nil)
	if err := f.ref.StopWait(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.has(t, "a1 actor.Stopped", "b1 actor.Stopped", "c1 actor.Stopped")
	if s.Len() != 0 {
		t.Errorf("%d actors left", s.Len())
	}
}

// A panic anywhere in an actor's own code is its failure alone, and its end is always reached.
func TestPanicsEverywhere(t *testing.T) {
	type where func(c *actor.Context) bool
	on := func(match func(any) bool) where {
		return func(c *actor.Context) bool { return match(c.Message()) }
	}
	is := func(want any) where { return on(func(m any) bool { return m == want }) }
	for name, tc := range map[string]struct {
		bad       where
		newBad    bool
		closedBad bool
	}{
		"New":        {newBad: true},
		"Started":    {bad: is(actor.Started{})},
		"Receive":    {bad: is("do")},
		"Stopping":   {bad: is(actor.Stopping{})},
		"Stopped":    {bad: is(actor.Stopped{})},
		"Restarting": {bad: on(func(m any) bool { return m == (actor.Restarting{}) || m == "do" })},
		"everything": {bad: func(*actor.Context) bool { return true }},
		"Closed":     {closedBad: true},
	} {
		for _, how := range []string{"panic", "Goexit", "runtime error"} {
			t.Run(name+" by "+how, func(t *testing.T) {
				s := newSystem(t)
				boom := func() {
					switch how {
					case "panic":
						panic(errors.New("boom"))
					case "Goexit":
						runtime.Goexit()
					default:
						var m map[string]int
						m["x"] = 1
					}
				}
				closed := make(chan struct{}, 1)
				ref := spawnProps(t, s, &actor.Props{
					Guardian: actor.OneForOne{MaxRestarts: 2},
					Closed: func(actor.Actor) {
						closed <- struct{}{}
						if tc.closedBad {
							boom()
						}
					},
					New: func() actor.Actor {
						if tc.newBad {
							boom()
						}
						return actor.Func(func(c *actor.Context) {
							if tc.bad != nil && tc.bad(c) {
								boom()
							}
						})
					},
				})
				other := spawn(t, s, echo)
				for range 4 {
					_ = ref.Tell("do")
				}
				ask(t, other, 1)
				if err := ref.StopWait(t.Context()); err != nil {
					t.Fatal(err)
				}
				recv(t, closed)
				ask(t, other, 2)
			})
		}
	}
}

func TestNewThatGivesNil(t *testing.T) {
	s := newSystem(t)
	ref := spawnProps(t, s, &actor.Props{New: func() actor.Actor { return nil }, Guardian: actor.OneForOne{MaxRestarts: 3}})
	if err := ref.Wait(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestSpawnActorRestartsItsInstance(t *testing.T) {
	s := newSystem(t)
	n := 0
	a := actor.Func(func(c *actor.Context) {
		n++
		switch c.Message() {
		case "panic":
			panic("x")
		case "count":
			_ = c.Respond(n)
		}
	})
	ref, err := s.SpawnActor("g/", &actor.Props{}, a)
	if err != nil {
		t.Fatal(err)
	}
	_ = ref.Tell("panic")
	if got := ask(t, ref, "count"); got != 5 { // Started, panic, Restarting, Started, count
		t.Errorf("%v messages; want 5", got)
	}
}

// An actor that asked to be stopped is stopped, even if it then panics.
func TestPanicAfterStop(t *testing.T) {
	for name, stop := range map[string]func(c *actor.Context){
		"Stop":       func(c *actor.Context) { c.Stop() },
		"StopIfIdle": func(c *actor.Context) { c.StopIfIdle() },
	} {
		s := newSystem(t)
		ref := spawn(t, s, func(c *actor.Context) {
			if c.Message() == "go" {
				stop(c)
				panic("after " + name)
			}
		})
		_ = ref.Tell("go")
		if err := ref.Wait(t.Context()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// An instance that was replaced is not used again, also if there is no other.
func TestNewFailsAtARestart(t *testing.T) {
	s := newSystem(t)
	made := 0
	old := make(chan any, 10)
	ref := spawnProps(t, s, &actor.Props{
		Guardian: actor.StrategyFunc(func(f *actor.Failure) actor.Verdict {
			if len(f.History) == 1 {
				return actor.Verdict{}
			}
			return actor.Verdict{Directive: actor.Resume} // without an instance that is a restart
		}),
		New: func() actor.Actor {
			if made++; made == 2 {
				panic("New")
			}
			n := made
			return actor.Func(func(c *actor.Context) {
				switch c.Message() {
				case "panic":
					panic("x")
				case "which":
					_ = c.Respond(n)
				default:
					if n == 1 {
						old <- c.Message()
					}
				}
			})
		},
	})
	_ = ref.Tell("panic")
	if got := ask(t, ref, "which"); got != 3 {
		t.Errorf("instance %v; want the third", got)
	}
	if first, last := recv(t, old), recv(t, old); first != (actor.Started{}) || last != (actor.Restarting{}) || len(old) != 0 {
		t.Errorf("the first instance got %v, %v and %d more", first, last, len(old))
	}
}

func TestFailuresAreEvents(t *testing.T) {
	s := newSystem(t)
	events := make(chan actor.Failed, 10)
	actor.SubscribeOf(s.Events(), func(e actor.Failed) { events <- e })
	ref := spawnProps(t, s, &actor.Props{
		Guardian: actor.AlwaysHalt{},
		New:      func() actor.Actor { return actor.Func(func(c *actor.Context) { panic("at start") }) },
	})
	e := recv(t, events)
	if e.Who.PID() != ref.PID() || e.Verdict.Directive != actor.Halt {
		t.Errorf("event %+v", e)
	}
}
