package actor_test

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/actor"
)

// A continuation may stash the message that it goes on with, and a *Terminated may be stashed: both come
// again as they are. A timer has nothing to stash.
func TestStashOfWhatIsNoPlainMessage(t *testing.T) {
	s := newSystem(t)
	answer := spawn(t, s, echo)
	gone := spawn(t, s, noop)
	seen := make(chan any, 10)
	open := false
	ref := spawn(t, s, func(c *actor.Context) {
		switch m := c.Message().(type) {
		case int:
			if open {
				_ = c.Respond(m + 1)
				return
			}
			c.ReenterAfter(c.RequestFuture(answer, m, time.Minute), func(c *actor.Context, _ any, _ error) {
				seen <- c.Stash()
			})
		case *actor.Terminated:
			if open {
				seen <- m.Who
				return
			}
			seen <- c.Stash()
		case string:
			switch m {
			case "watch":
				c.Watch(gone)
			case "timer":
				c.After(0, func(c *actor.Context) { seen <- c.Stash() })
			case "open":
				open = true
				c.UnstashAll()
			}
			_ = c.Respond(m)
		}
	})
	a := s.NewAsk()
	if err := ref.Send(actor.Envelope{Message: 1, Reply: s, ReplyID: a.ID()}); err != nil {
		t.Fatal(err)
	}
	if got := recv(t, seen); got != nil {
		t.Fatalf("Stash in a continuation = %v", got)
	}
	ask(t, ref, "watch")
	_ = gone.Stop()
	if got := recv(t, seen); got != nil {
		t.Fatalf("Stash of a Terminated = %v", got)
	}
	ask(t, ref, "timer")
	if err, _ := recv(t, seen).(error); !errors.Is(err, core.ErrInvalid) {
		t.Errorf("Stash in a timer = %v; want ErrInvalid", err)
	}
	ask(t, ref, "open")
	if got, err := a.Wait(t.Context()); got != 2 || err != nil {
		t.Errorf("answer %v, %v; want 2", got, err)
	}
	if got := recv(t, seen); got != gone.PID() {
		t.Errorf("the stashed Terminated came as %v", got)
	}
}

// The message that a continuation stashed was handled in part: at a stop nobody may say that it was not.
func TestStopAnswersAStashedContinuationAsUnknown(t *testing.T) {
	s := newSystem(t)
	answer := spawn(t, s, echo)
	stashed := make(chan error, 1)
	ref := spawn(t, s, func(c *actor.Context) {
		if m, ok := c.Message().(int); ok {
			c.ReenterAfter(c.RequestFuture(answer, m, time.Minute), func(c *actor.Context, _ any, _ error) {
				stashed <- c.Stash()
			})
		}
	})
	a := s.NewAsk()
	_ = ref.Send(actor.Envelope{Message: 1, Reply: s, ReplyID: a.ID()})
	if err := recv(t, stashed); err != nil {
		t.Fatal(err)
	}
	_ = ref.Stop()
	if _, err := a.Wait(t.Context()); !errors.Is(err, core.ErrStopped) || core.DeliveryOf(err) != core.DeliveryUnknown {
		t.Errorf("ask = %v (%v); want ErrStopped, unknown", err, core.DeliveryOf(err))
	}
}

func TestStashIsBoundedInBytes(t *testing.T) {
	s := newSystem(t)
	ref := spawn(t, s, func(c *actor.Context) {
		switch c.Message().(type) {
		case sized:
			if err := c.Stash(); err != nil {
				_ = c.RespondError(err)
			}
		case string:
			c.UnstashAll()
			_ = c.Respond("ok")
		}
	})
	half := sized(actor.DefaultMailboxBytes / 2)
	stash := func(n sized) actor.Ask {
		a := s.NewAsk()
		_ = ref.Send(actor.Envelope{Message: n, Reply: s, ReplyID: a.ID()})
		actor.Settle(ref)
		return a
	}
	first, second := stash(half), stash(half)
	defer first.Cancel()
	defer second.Cancel()
	if _, err := stash(1).Wait(t.Context()); !errors.Is(err, core.ErrOverloaded) {
		t.Errorf("a byte more than the bound = %v; want ErrOverloaded", err)
	}
}

// An actor that passes on the error of its own question has run: the asker must not be told that its
// question was not delivered.
func TestRespondErrorIsDelivered(t *testing.T) {
	s := newSystem(t)
	gone := spawn(t, s, noop)
	if err := gone.StopWait(t.Context()); err != nil {
		t.Fatal(err)
	}
	ref := spawn(t, s, func(c *actor.Context) {
		if c.Message() == "go" {
			_, err := c.Ask(context.Background(), gone, 1)
			_ = c.RespondError(err)
		}
	})
	_, err := ref.Ask(t.Context(), "go")
	if !errors.Is(err, actor.ErrDeadLetter) || core.DeliveryOf(err) != core.Delivered {
		t.Errorf("Ask = %v (%v); want the dead letter, delivered", err, core.DeliveryOf(err))
	}
}

// A worker that leaves its cell in the queue and falls asleep must leave somebody who looks after it:
// here all others wait for just that cell.
func TestQueuedCellOutlivesItsWorker(t *testing.T) {
	s := newSystem(t)
	workers := 4 * runtime.GOMAXPROCS(0)
	entered, release := make(chan any, workers+1), make(hold)
	var handled atomic.Int64
	const last = 2000
	first := make(hold)
	ref := spawn(t, s, func(c *actor.Context) {
		switch m := c.Message().(type) {
		case hold:
			entered <- m
			<-m
		case int:
			if handled.Add(1) == last {
				close(release)
			}
		}
	})
	waker := spawn(t, s, func(c *actor.Context) {
		if c.Message() == "go" {
			_ = c.Tell(ref, first) // from a turn, so that the guard looks on
		}
	})
	_ = waker.Tell("go")
	recv(t, entered)
	for i := range last {
		_ = ref.Tell(i)
	}
	actor.AwaitGuardAsleep(s) // it has set the blocked worker apart, and has nothing more to do
	for range workers {
		_ = spawn(t, s, blocker(entered, nil)).Tell(release)
	}
	for range workers {
		recv(t, entered)
	}
	actor.AwaitGuardAsleep(s)
	close(first)
	select {
	case <-release:
	case <-time.After(time.Minute):
		t.Errorf("the actor stands still after %d messages", handled.Load())
		close(release)
	}
}

// Whoever cannot stop an actor of another member leaves no watch behind.
func TestStopWaitThatFailsTakesItsWatchBack(t *testing.T) {
	s := newSystem(t)
	watches := 0
	s.SetRemote(func(core.PID) (actor.Process, error) {
		return procFunc{system: func(_ core.PID, m actor.SystemMessage) error {
			switch m.(type) {
			case *actor.Watch:
				watches++
			case *actor.Unwatch:
				watches--
			case *actor.Stop:
				return core.ErrUnreachable
			}
			return nil
		}}, nil
	})
	far := s.Ref(core.PID{Address: "there:1", Member: "m2", ID: "x"})
	if err := far.StopWait(t.Context()); !errors.Is(err, core.ErrUnreachable) || watches != 0 {
		t.Errorf("StopWait = %v, %d watches left; want ErrUnreachable and none", err, watches)
	}
}

// A child that waits for the restart of its back-off is not resumed as it was when its parent is.
func TestParentThatIsResumedLeavesABackoffAlone(t *testing.T) {
	inBubble(t, func(t *testing.T, s *actor.System) {
		incarnation := 0
		var ran atomic.Int32 // read by the test while a timer may start the second incarnation
		child := &actor.Props{New: func() actor.Actor {
			incarnation++
			mine := incarnation
			return actor.Func(func(c *actor.Context) {
				switch c.Message() {
				case "fail":
					panic("the child's")
				case "which":
					ran.Store(int32(mine))
				}
			})
		}}
		parent := spawnProps(t, s, &actor.Props{
			Supervisor: actor.Backoff{Initial: time.Minute},
			Guardian:   actor.StrategyFunc(func(*actor.Failure) actor.Verdict { return actor.Verdict{Directive: actor.Resume} }),
			New: func() actor.Actor {
				return actor.Func(func(c *actor.Context) {
					switch m := c.Message().(type) {
					case actor.Started:
						ref, err := c.SpawnNamed("child", child)
						if err != nil {
							t.Error(err)
							return
						}
						_ = c.Tell(ref, "fail")
						_ = c.Tell(ref, "which")
					case error:
						panic(m)
					}
				})
			},
		})
		synctest.Wait()
		_ = parent.Tell(errors.New("the parent's"))
		synctest.Wait()
		if ran := ran.Load(); ran != 0 {
			t.Errorf("incarnation %d handled a message during the back-off", ran)
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if ran := ran.Load(); ran != 2 {
			t.Errorf("incarnation %d handled the message after the back-off; want the second", ran)
		}
	})
}
