package actor_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/actor"
)

func TestSystemStop(t *testing.T) {
	s, err := actor.New(actor.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if s.Member() == "" || s.Address() == "" {
		t.Error("the zero Config gave no member or address")
	}
	var stopped atomic.Int32
	for range 100 {
		spawn(t, s, func(c *actor.Context) {
			switch c.Message().(type) {
			case actor.Started:
				if _, err := c.Spawn(actor.FromFunc(func(c *actor.Context) {
					if _, ok := c.Message().(actor.Stopped); ok {
						stopped.Add(1)
					}
				})); err != nil && !errors.Is(err, core.ErrStopped) {
					t.Error(err)
				}
			case actor.Stopped:
				stopped.Add(1)
			}
		})
	}
	for range 2 { // also twice
		if err := s.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if s.Len() != 0 || stopped.Load() < 100 {
		t.Errorf("%d actors left, %d stopped", s.Len(), stopped.Load())
	}
	if _, err := s.Spawn(actor.FromFunc(noop)); !errors.Is(err, core.ErrStopped) {
		t.Errorf("Spawn = %v; want ErrStopped", err)
	}
}

func TestSystemStopNamesWhoIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := actor.New(actor.Config{Member: "m"})
		if err != nil {
			t.Fatal(err)
		}
		entered, h := make(chan any, 1), make(hold)
		ref, err := s.SpawnNamed("stuck", actor.FromFunc(blocker(entered, nil)))
		if err != nil {
			t.Fatal(err)
		}
		_ = ref.Tell(h)
		<-entered
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err = s.Stop(ctx)
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "stuck") {
			t.Errorf("Stop = %v; want the name of who is left", err)
		}
		if err := ref.StopWait(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("StopWait = %v; want DeadlineExceeded", err)
		}
		done := make(chan error, 2)
		for range cap(done) { // at once
			go func() { done <- s.Stop(t.Context()) }()
		}
		synctest.Wait()
		close(h)
		for range cap(done) {
			if err := <-done; err != nil {
				t.Errorf("Stop = %v", err)
			}
		}
	})
}

func TestStopAgainstSpawn(t *testing.T) {
	for range 200 {
		s, err := actor.New(actor.Config{})
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				for {
					if _, err := s.Spawn(actor.FromFunc(noop)); err != nil {
						return
					}
				}
			})
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		if err := s.Stop(ctx); err != nil {
			t.Error(err)
		}
		cancel()
		wg.Wait()
		if s.Len() != 0 {
			t.Fatalf("%d actors left", s.Len())
		}
	}
}

// Everything at once, with the race detector: each ask has exactly one outcome, each actor ends.
func TestStress(t *testing.T) {
	s := newSystem(t)
	const actors, callers, each = 20, 8, 400
	made := &actor.Props{
		Guardian: actor.OneForOne{MaxRestarts: 1000},
		Mailbox:  actor.MailboxConfig{Size: 16},
		New: func() actor.Actor {
			return actor.Func(func(c *actor.Context) {
				switch m := c.Message().(type) {
				case actor.Started:
					c.SetReceiveTimeout(50 * time.Microsecond)
				case actor.ReceiveTimeout:
					c.StopIfIdle()
				case int:
					switch m % 16 {
					case 0:
						panic(m)
					case 1:
						_ = c.Stash()
						c.UnstashAll()
						c.Become(func(c *actor.Context) { _ = c.Respond(c.Message()); c.Unbecome() })
						return
					case 2:
						c.After(time.Microsecond, func(*actor.Context) {})
					}
					_ = c.Respond(m)
				}
			})
		},
	}
	var refs [actors]atomic.Pointer[actor.Ref]
	for i := range refs {
		refs[i].Store(spawnProps(t, s, made))
	}
	var answered, refused, failed atomic.Int64
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for range each {
				i := rand.IntN(actors)
				ref := refs[i].Load()
				n := rand.IntN(1000)
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				v, err := ref.Ask(ctx, n)
				cancel()
				var p *actor.PanicError
				switch {
				case err == nil && v == n:
					answered.Add(1)
				case errors.Is(err, core.ErrOverloaded):
					refused.Add(1)
				case errors.As(err, &p):
					failed.Add(1)
				case errors.Is(err, actor.ErrDeadLetter):
					refused.Add(1)
					if fresh, err := s.Spawn(made); err == nil {
						refs[i].CompareAndSwap(ref, fresh)
					}
				default:
					t.Errorf("ask %d = %v, %v", n, v, err)
				}
				if n%97 == 0 {
					_ = ref.Stop()
				}
			}
		})
	}
	wg.Wait()
	if sum := answered.Load() + refused.Load() + failed.Load(); sum != callers*each {
		t.Errorf("%d outcomes; want %d", sum, callers*each)
	}
	if answered.Load() == 0 || failed.Load() == 0 || refused.Load() == 0 {
		t.Errorf("answered %d, failed %d, refused %d: the test covers too little", answered.Load(), failed.Load(), refused.Load())
	}
}

// Spawning and stopping leaves nothing behind.
func TestMemoryIsFlatAfterChurn(t *testing.T) {
	s := newSystem(t)
	p := &actor.Props{
		Receive: []func(actor.ReceiveFunc) actor.ReceiveFunc{func(next actor.ReceiveFunc) actor.ReceiveFunc { return next }},
		New: func() actor.Actor {
			return actor.Func(func(c *actor.Context) {
				if _, ok := c.Message().(actor.Started); ok {
					c.SetReceiveTimeout(time.Hour)
					c.After(time.Hour, noop)
					_, _ = c.Spawn(actor.FromFunc(noop))
				}
			})
		},
	}
	churn := func(n int) {
		for range n {
			ref := spawnProps(t, s, p)
			_ = ref.Tell(1)
			if err := ref.PoisonWait(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	churn(500)
	before := heap()
	churn(3000)
	if after := heap(); after > before+300_000 {
		t.Errorf("3,000 actors left %d bytes behind", after-before)
	}
	if s.Len() != 0 {
		t.Errorf("%d actors left", s.Len())
	}
}

// Two systems of one process have nothing in common.
func TestTwoSystems(t *testing.T) {
	one := newSystem(t)
	two := newSystem(t, func(c *actor.Config) { c.Member = "m2" })
	for _, s := range []*actor.System{one, two} {
		if _, err := s.SpawnNamed("x", actor.FromFunc(func(c *actor.Context) {
			if c.Message() == "who" {
				_ = c.Respond(c.System().Member())
			}
		})); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range []*actor.System{one, two} {
		ref := s.Ref(core.PID{Address: s.Address(), Member: s.Member(), ID: "x"})
		if got := ask(t, ref, "who"); got != s.Member() {
			t.Errorf("answer of %v; want %v", got, s.Member())
		}
	}
	if err := one.Ref(core.PID{Address: "here:1", Member: "m2", ID: "x"}).Tell(1); !errors.Is(err, core.ErrUnreachable) {
		t.Errorf("Tell of another start at this address = %v; want ErrUnreachable", err)
	}
}

// A Ref outlives the actor and finds the next one of its name.
func TestRefFindsTheNextOfItsName(t *testing.T) {
	s := newSystem(t)
	var old *actor.Ref
	for i := range 3 {
		ref, err := s.SpawnNamed("same", actor.FromFunc(func(c *actor.Context) {
			if c.Message() == "which" {
				_ = c.Respond(i)
			}
		}))
		if err != nil {
			t.Fatal(err)
		}
		if old == nil {
			old = ref
		}
		if got := ask(t, old, "which"); got != i {
			t.Errorf("answer of %v; want %d", got, i)
		}
		if err := old.StopWait(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}
