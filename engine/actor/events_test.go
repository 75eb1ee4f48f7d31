package actor_test

import (
	"bytes"
	"errors"
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
	"github.com/granary-go/granary/engine/actor"
)

func TestEventsComeInOrderToEverybody(t *testing.T) {
	s := newSystem(t)
	const n = 500
	var wg sync.WaitGroup
	var got [3][]any
	for i := range got {
		wg.Add(n)
		s.Events().Subscribe(func(event any) {
			got[i] = append(got[i], event)
			wg.Done()
		})
	}
	for i := range n {
		s.Events().Publish(i)
	}
	wg.Wait()
	for i := range got {
		if !slices.Equal(got[i], ints(0, n)) {
			t.Errorf("subscriber %d got %d events out of order", i, len(got[i]))
		}
	}
}

func TestSlowAndPanickingSubscribersHurtNobody(t *testing.T) {
	s := newSystem(t)
	events := s.Events()
	block := make(chan struct{})
	slow := events.Subscribe(func(any) { <-block })
	events.Subscribe(func(any) { panic("subscriber") })
	events.Subscribe(func(any) { runtime.Goexit() })
	good := make(chan any, 5000)
	events.Subscribe(func(event any) { good <- event })
	for i := range 3000 {
		events.Publish(i)
		if got := recv(t, good); got != i {
			t.Fatalf("the good subscriber got %v; want %d", got, i)
		}
	}
	if slow.Dropped() == 0 {
		t.Error("the slow subscriber's queue has no bound")
	}
	close(block)
	slow.Cancel()
}

func TestSubscriptionEnds(t *testing.T) {
	s := newSystem(t)
	var n atomic.Int32
	sub := s.Events().Subscribe(func(any) { n.Add(1) })
	if s.Events().Len() != 1 {
		t.Errorf("Len = %d; want 1", s.Events().Len())
	}
	sub.Cancel()
	sub.Cancel()
	s.Events().Publish(1)
	if s.Events().Len() != 0 || n.Load() != 0 {
		t.Errorf("Len %d and %d events after Cancel", s.Events().Len(), n.Load())
	}
}

func TestSubscribeRefAndOf(t *testing.T) {
	s := newSystem(t)
	got := make(chan any, 10)
	ref := spawn(t, s, func(c *actor.Context) {
		if m, ok := c.Message().(int); ok {
			got <- m
		}
	})
	s.Events().SubscribeRef(ref, func(event any) bool { n, ok := event.(int); return ok && n%2 == 0 })
	typed := make(chan string, 10)
	actor.SubscribeOf(s.Events(), func(event string) { typed <- event })
	s.Events().Publish(1)
	s.Events().Publish("text")
	s.Events().Publish(2)
	if v := recv(t, got); v != 2 {
		t.Errorf("actor got %v; want 2", v)
	}
	if v := recv(t, typed); v != "text" {
		t.Errorf("typed subscriber got %q", v)
	}
	_ = ref.StopWait(t.Context())
	s.Events().Publish(4) // a dead letter, which is not one more event for the dead
}

func TestDeadLettersAreEventsAndLoggedWithThrottle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var log bytes.Buffer
		var seen atomic.Int32
		s := newSystem(t, func(c *actor.Config) {
			c.Logger = slog.New(slog.NewTextHandler(writer(func(p []byte) (int, error) {
				mu.Lock()
				defer mu.Unlock()
				return log.Write(p)
			}), nil))
			c.Observer.DeadLetter = func(actor.DeadLetter) { seen.Add(1) }
		})
		letters := make(chan actor.DeadLetter, 100)
		actor.SubscribeOf(s.Events(), func(d actor.DeadLetter) { letters <- d })
		gone := spawn(t, s, noop)
		_ = gone.StopWait(t.Context())
		for range 50 {
			_ = gone.Send(actor.Envelope{Message: "lost", Header: actor.Header{"k": "v"}})
		}
		time.Sleep(2 * time.Second)
		_ = gone.Tell("later")
		synctest.Wait()
		if len(letters) != 51 || seen.Load() != 51 {
			t.Errorf("%d events, %d observed; want 51", len(letters), seen.Load())
		}
		if d := <-letters; d.Target != gone.PID() || d.Message != "lost" || d.Header["k"] != "v" {
			t.Errorf("event %+v", d)
		}
		mu.Lock()
		defer mu.Unlock()
		if n := strings.Count(log.String(), "dead letter"); n != 4 {
			t.Errorf("%d lines for 51 dead letters; want 4:\n%s", n, &log)
		}
		if !strings.Contains(log.String(), "unlogged=47") {
			t.Errorf("the log does not tell of the 47 others:\n%s", &log)
		}
	})
}

type writer func(p []byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }

func TestObserver(t *testing.T) {
	var mu sync.Mutex
	var got []string
	note := func(what string) {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, what)
	}
	s := newSystem(t, func(c *actor.Config) {
		c.Observer = actor.Observer{
			MailboxWait: func(to *actor.Ref, d time.Duration) {
				if d < 0 || to == nil {
					t.Errorf("waited %v at %v", d, to)
				}
				note("wait")
				panic("observers may panic")
			},
			Rejected:   func(_ core.PID, err error) { note("rejected"); panic(err) },
			DeadLetter: func(actor.DeadLetter) { note("dead letter"); panic("x") },
			Panicked:   func(_ *actor.Ref, err *actor.PanicError) { note("panicked"); panic(err) },
			Restarted:  func(*actor.Ref) { note("restarted"); panic("x") },
			Spawned:    func(*actor.Ref) { note("spawned"); panic("x") },
			Stopped:    func(*actor.Ref) { note("stopped"); panic("x") },
		}
	})
	a := newHeld(t, s, actor.MailboxConfig{Size: 1})
	_ = a.ref.Tell(1)
	if err := a.ref.Tell(2); !errors.Is(err, core.ErrOverloaded) {
		t.Errorf("Tell = %v", err)
	}
	a.drain(t)
	_ = a.ref.Tell(3)
	ref := spawn(t, s, func(c *actor.Context) {
		if c.Message() == "panic" {
			panic("x")
		}
		echo(c)
	})
	_, _ = ref.Ask(t.Context(), "panic")
	for waited := false; !waited; { // until one came to the actor while it slept
		ask(t, ref, "on")
		mu.Lock()
		waited = slices.Contains(got, "wait")
		mu.Unlock()
	}
	mu.Lock()
	defer mu.Unlock()
	for _, want := range []string{"wait", "rejected", "dead letter", "panicked", "restarted", "spawned", "stopped"} {
		if !slices.Contains(got, want) {
			t.Errorf("%s was not observed; seen %v", want, got)
		}
	}
}

// TestSubscriberHoldsWhatIsSaid: 1,024 events wait for a subscriber that is busy, not one more.
func TestSubscriberHoldsWhatIsSaid(t *testing.T) {
	s := newSystem(t)
	entered, hold := make(chan any, 1), make(chan struct{})
	var n atomic.Int64
	sub := s.Events().Subscribe(func(event any) {
		if n.Add(1) == 1 {
			entered <- event
			<-hold
		}
	})
	s.Events().Publish(0)
	recv(t, entered)
	for want, events := range []int{1024, 1, 1} {
		for range events {
			s.Events().Publish(1)
		}
		if got := sub.Dropped(); got != int64(want) {
			t.Errorf("%d events were dropped, want %d", got, want)
		}
	}
	close(hold)
	eventually(t, "all that waited are told", func() bool { return n.Load() == 1025 })
}

// TestSubscriberThatEndsItsGoroutine: runtime.Goexit costs the event in hand, none behind it.
func TestSubscriberThatEndsItsGoroutine(t *testing.T) {
	s := newSystem(t)
	hold := make(chan struct{})
	var n atomic.Int64
	sub := s.Events().Subscribe(func(any) {
		<-hold
		n.Add(1)
		runtime.Goexit()
	})
	for i := range 1000 {
		s.Events().Publish(i)
	}
	close(hold)
	eventually(t, "every event is told", func() bool { return n.Load() == 1000 })
	if sub.Dropped() != 0 {
		t.Errorf("%d events were dropped", sub.Dropped())
	}
}

func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}
