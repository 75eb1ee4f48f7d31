package actor_test

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/actor"
)

// held is an actor that waits in its first message; release lets it go on with what got collects.
type held struct {
	ref     *actor.Ref
	release func()
	got     chan any
}

func newHeld(t testing.TB, s *actor.System, cfg actor.MailboxConfig) *held {
	t.Helper()
	entered, h := make(chan any, 1), make(hold)
	a := &held{got: make(chan any, 10_000), release: sync.OnceFunc(func() { close(h) })}
	a.ref = spawnProps(t, s, &actor.Props{Mailbox: cfg, New: func() actor.Actor {
		return actor.Func(blocker(entered, func(c *actor.Context) {
			switch m := c.Message().(type) {
			case int, string, sized:
				a.got <- m
				_ = c.Respond(m)
			}
		}))
	}})
	if err := a.ref.Tell(h); err != nil {
		t.Fatal(err)
	}
	recv(t, entered)
	t.Cleanup(a.release)
	return a
}

// drain lets the actor handle everything and gives what it handled.
func (a *held) drain(t testing.TB) []any {
	t.Helper()
	a.release()
	if err := a.ref.PoisonWait(t.Context()); err != nil {
		t.Fatal(err)
	}
	close(a.got)
	var out []any
	for m := range a.got {
		out = append(out, m)
	}
	return out
}

type sized int

func (s sized) Size() int { return int(s) }

func ints(from, to int) []any {
	var out []any
	for i := from; i < to; i++ {
		out = append(out, i)
	}
	return out
}

func TestBoundIsExact(t *testing.T) {
	for name, tc := range map[string]struct {
		cfg  actor.MailboxConfig
		want int
	}{
		"default":  {actor.MailboxConfig{}, 4096},
		"one":      {actor.MailboxConfig{Size: 1}, 1},
		"three":    {actor.MailboxConfig{Size: 3}, 3},
		"priority": {actor.MailboxConfig{Kind: actor.Priority, Size: 5, Priority: func(any) int { return 0 }}, 5},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSystem(t)
			a := newHeld(t, s, tc.cfg)
			for i := range tc.want {
				if err := a.ref.Tell(i); err != nil {
					t.Fatalf("message %d of %d: %v", i+1, tc.want, err)
				}
			}
			err := a.ref.Tell("too much")
			if !errors.Is(err, core.ErrOverloaded) || core.DeliveryOf(err) != core.Undelivered {
				t.Errorf("message %d: %v; want ErrOverloaded, undelivered", tc.want+1, err)
			}
			var full *actor.OverloadError
			if !errors.As(err, &full) || full.Messages != tc.want || full.Target != a.ref.PID() {
				t.Errorf("%+v; want %d messages at %s", full, tc.want, a.ref)
			}
			if after, ok := core.RetryAfter(err); !ok || after <= 0 {
				t.Errorf("RetryAfter = %v, %v", after, ok)
			}
			if got := a.drain(t); !slices.Equal(got, ints(0, tc.want)) {
				t.Errorf("handled %d messages; want %d in order", len(got), tc.want)
			}
		})
	}
}

// How much room there is while an actor works: below 256 as many messages as it has begun; from there on
// the mailbox learns of them in steps of 16, so up to 15 fewer, and never more.
func TestRoomAsMessagesAreBegun(t *testing.T) {
	for _, tc := range []struct{ size, off int }{{1, 0}, {3, 0}, {100, 0}, {255, 0}, {256, 15}, {actor.DefaultMailboxSize, 15}} {
		t.Run(strconv.Itoa(tc.size), func(t *testing.T) {
			begun, step := make(chan int), make(chan struct{})
			a := spawnProps(t, newSystem(t), &actor.Props{Mailbox: actor.MailboxConfig{Size: tc.size}, New: func() actor.Actor {
				return actor.Func(func(c *actor.Context) {
					if m, ok := c.Message().(int); ok {
						begun <- m
						<-step
					}
				})
			}})
			fill := func() (n int) {
				for a.Tell(0) == nil {
					n++
				}
				return n
			}
			if err := a.Tell(0); err != nil {
				t.Fatal(err)
			}
			recv(t, begun)
			if n := fill(); n != tc.size {
				t.Fatalf("%d found room beside the one in hand, want %d", n, tc.size)
			}
			handled := min(tc.size, 23) // no multiple of a step, from 23 on
			for range handled {
				step <- struct{}{}
				recv(t, begun)
			}
			if n := fill(); n > handled || n < handled-tc.off {
				t.Errorf("after %d more were begun %d found room, want at most %d fewer", handled, n, tc.off)
			}
			close(step)
			go func() {
				for range begun {
				}
			}()
			if err := a.PoisonWait(t.Context()); err != nil {
				t.Error(err)
			}
			close(begun)
		})
	}
}

func TestBytesAreBounded(t *testing.T) {
	s := newSystem(t)
	a := newHeld(t, s, actor.MailboxConfig{Bytes: 100})
	for _, step := range []struct {
		size sized
		ok   bool
	}{{60, true}, {40, true}, {1, false}, {0, true}, {100, false}} {
		if err := a.ref.Tell(step.size); (err == nil) != step.ok || err != nil && !errors.Is(err, core.ErrOverloaded) {
			t.Errorf("message of %d bytes: %v; want accepted %v", step.size, err, step.ok)
		}
	}
	if got := a.drain(t); !slices.Equal(got, []any{sized(60), sized(40), sized(0)}) {
		t.Errorf("handled %v", got)
	}
	big := newHeld(t, s, actor.MailboxConfig{Bytes: 100})
	if err := big.ref.Tell(sized(1000)); err != nil {
		t.Errorf("one message over the bound in an empty mailbox: %v; want accepted", err)
	}
	if err := big.ref.Tell(sized(1)); !errors.Is(err, core.ErrOverloaded) {
		t.Errorf("one more: %v; want ErrOverloaded", err)
	}
	free := newHeld(t, s, actor.MailboxConfig{Bytes: -1})
	for range 3 {
		if err := free.ref.Tell(sized(1 << 30)); err != nil {
			t.Errorf("without a bound: %v", err)
		}
	}
}

func TestBytesAreFreedByHandling(t *testing.T) {
	s := newSystem(t)
	ref := spawnProps(t, s, &actor.Props{Mailbox: actor.MailboxConfig{Bytes: 100}, New: func() actor.Actor { return actor.Func(echo) }})
	for range 50 {
		ask(t, ref, sized(90))
	}
}

func TestUnbounded(t *testing.T) {
	s := newSystem(t)
	a := newHeld(t, s, actor.MailboxConfig{Kind: actor.Unbounded, Size: 1, Bytes: 1})
	for i := range 9000 {
		if err := a.ref.Tell(i); err != nil {
			t.Fatal(err)
		}
	}
	if got := a.drain(t); !slices.Equal(got, ints(0, 9000)) {
		t.Errorf("handled %d messages; want 9000 in order", len(got))
	}
}

func TestDropOldest(t *testing.T) {
	rejected := 0
	s := newSystem(t, func(c *actor.Config) {
		c.Observer.Rejected = func(core.PID, error) { rejected++ }
	})
	a := newHeld(t, s, actor.MailboxConfig{Kind: actor.DropOldest, Size: 3})
	first := s.NewAsk()
	if err := a.ref.Send(actor.Envelope{Message: "first", Reply: s, ReplyID: first.ID()}); err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		if err := a.ref.Tell(i); err != nil {
			t.Errorf("Tell = %v; want nil", err)
		}
	}
	if _, err := first.Wait(t.Context()); !errors.Is(err, core.ErrOverloaded) || core.DeliveryOf(err) != core.Undelivered {
		t.Errorf("dropped ask = %v; want ErrOverloaded, undelivered", err)
	}
	if got := a.drain(t); !slices.Equal(got, ints(2, 5)) {
		t.Errorf("handled %v; want the newest three", got)
	}
	if rejected != 3 {
		t.Errorf("%d rejections seen; want 3", rejected)
	}
}

func TestPriority(t *testing.T) {
	s := newSystem(t)
	rank := func(msg any) int {
		if _, ok := msg.(string); ok {
			return -1
		}
		return 7
	}
	a := newHeld(t, s, actor.MailboxConfig{Kind: actor.Priority, Priority: rank})
	for i := range 200 {
		_ = a.ref.Tell(i)
		if i%2 == 0 {
			_ = a.ref.Tell("urgent")
		}
	}
	got := a.drain(t)
	want := append(slices.Repeat([]any{"urgent"}, 100), ints(0, 200)...)
	if !slices.Equal(got, want) {
		t.Errorf("handled %v", got)
	}
}

func TestPriorityThatPanics(t *testing.T) {
	s := newSystem(t)
	ref := spawnProps(t, s, &actor.Props{
		New: func() actor.Actor { return actor.Func(echo) },
		Mailbox: actor.MailboxConfig{Kind: actor.Priority, Priority: func(msg any) int {
			if msg == "bad" {
				panic("priority")
			}
			return 0
		}},
	})
	var p *actor.PanicError
	if err := ref.Tell("bad"); !errors.As(err, &p) || core.DeliveryOf(err) != core.Undelivered {
		t.Errorf("Tell = %v; want a PanicError, undelivered", err)
	}
	ask(t, ref, "good")
}

func TestBlocking(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSystem(t)
		a := newHeld(t, s, actor.MailboxConfig{Kind: actor.Blocking, Size: 2})
		_ = a.ref.Tell(0)
		_ = a.ref.Tell(1)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := a.ref.SendContext(ctx, actor.Envelope{Message: "late"})
		if !errors.Is(err, context.DeadlineExceeded) || core.DeliveryOf(err) != core.Undelivered {
			t.Errorf("SendContext = %v; want DeadlineExceeded, undelivered", err)
		}
		if _, err := a.ref.Ask(ctx, "late"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Ask = %v; want DeadlineExceeded", err)
		}
		if err := s.Deliver(a.ref.PID(), actor.Envelope{Message: "network"}); !errors.Is(err, core.ErrOverloaded) {
			t.Errorf("Deliver = %v; want ErrOverloaded at once", err)
		}
		var sent sync.WaitGroup
		for i := 2; i < 10; i++ {
			sent.Go(func() {
				if err := a.ref.Tell(i); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait() // all of them wait for room
		a.release()
		sent.Wait()
		got := a.drain(t)
		if len(got) != 10 || got[0] != 0 || got[1] != 1 {
			t.Errorf("handled %v; want 0, 1 and the other eight", got)
		}
	})
}

func TestBlockingByBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSystem(t)
		a := newHeld(t, s, actor.MailboxConfig{Kind: actor.Blocking, Bytes: 100})
		_ = a.ref.Tell(sized(60))
		var sent sync.WaitGroup
		sent.Go(func() {
			if err := a.ref.Tell(sized(50)); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait() // it waits, and does not spin
		a.release()
		sent.Wait()
		if got := a.drain(t); !slices.Equal(got, []any{sized(60), sized(50)}) {
			t.Errorf("handled %v", got)
		}
	})
}

func TestBlockedSendersHearOfTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSystem(t)
		a := newHeld(t, s, actor.MailboxConfig{Kind: actor.Blocking, Size: 1})
		_ = a.ref.Tell(0)
		errs := make(chan error, 5)
		var sent sync.WaitGroup
		for range cap(errs) {
			sent.Go(func() { errs <- a.ref.Tell(1) })
		}
		synctest.Wait()
		_ = a.ref.Stop()
		a.release()
		sent.Wait()
		for range cap(errs) {
			if err := <-errs; !errors.Is(err, actor.ErrDeadLetter) {
				t.Errorf("Tell = %v; want a dead letter", err)
			}
		}
	})
}

func TestBlockingActorThatTellsItself(t *testing.T) {
	s := newSystem(t)
	errs := make(chan error, 1)
	ref := spawnProps(t, s, &actor.Props{
		Mailbox: actor.MailboxConfig{Kind: actor.Blocking, Size: 1},
		New: func() actor.Actor {
			return actor.Func(func(c *actor.Context) {
				if c.Message() == "go" {
					_ = c.Tell(c.Self(), 1)
					errs <- c.Tell(c.Self(), 2)
				}
			})
		},
	})
	_ = ref.Tell("go")
	if err := recv(t, errs); !errors.Is(err, core.ErrOverloaded) {
		t.Errorf("Tell to itself = %v; want ErrOverloaded, not a deadlock", err)
	}
}

func TestPoisonSealsTheMailbox(t *testing.T) {
	for _, kind := range []actor.MailboxKind{actor.Bounded, actor.Unbounded, actor.Blocking, actor.DropOldest, actor.Priority} {
		s := newSystem(t)
		a := newHeld(t, s, actor.MailboxConfig{Kind: kind, Size: 2, Priority: func(any) int { return 0 }})
		_ = a.ref.Tell(0)
		_ = a.ref.Tell(1)
		for range 2 {
			if err := a.ref.Poison(); err != nil {
				t.Errorf("kind %d: Poison = %v", kind, err)
			}
		}
		if err := a.ref.Tell(2); !errors.Is(err, actor.ErrDeadLetter) {
			t.Errorf("kind %d: Tell behind the pill = %v; want a dead letter", kind, err)
		}
		if got := a.drain(t); !slices.Equal(got, ints(0, 2)) {
			t.Errorf("kind %d: handled %v; want what came before the pill", kind, got)
		}
	}
}

func TestMailboxGivesItsMemoryBack(t *testing.T) {
	s := newSystem(t)
	a := newHeld(t, s, actor.MailboxConfig{Kind: actor.Unbounded})
	for i := range 1000 {
		_ = a.ref.Tell(i)
	}
	a.release()
	for range 1000 {
		recv(t, a.got)
	}
	if n := actor.HeldChunks(a.ref); n != 0 {
		t.Errorf("%d chunks held by an idle mailbox; want 0", n)
	}
}

// TestMailboxAtItsBound: with a busy actor exactly Size messages wait. In the middle of a burst a large
// mailbox may refuse up to 15 early, and never takes one too many.
func TestMailboxAtItsBound(t *testing.T) {
	for _, size := range []int{1, 2, 255, 256, 257, 4096} {
		s := newSystem(t)
		a := newHeld(t, s, actor.MailboxConfig{Size: size})
		if got := fill(t, a.ref); got != size {
			t.Errorf("size %d: %d messages were taken", size, got)
		}
		entered := make(chan any, 1)
		for burst := range min(size-1, 40) {
			h := make(hold)
			b := spawnProps(t, s, &actor.Props{Mailbox: actor.MailboxConfig{Size: size}, New: func() actor.Actor { return actor.Func(blocker(entered, nil)) }})
			first := make(hold)
			_ = b.Tell(first)
			recv(t, entered)
			for range burst {
				_ = b.Tell("before")
			}
			_ = b.Tell(h)
			close(first)
			recv(t, entered) // burst messages are done, h is in hand
			least := size
			if size >= 256 {
				least -= 15
			}
			if got := fill(t, b); got > size || got < least {
				t.Errorf("size %d after a burst of %d: %d messages were taken, want %d to %d", size, burst, got, least, size)
			}
			close(h)
		}
	}
}

// fill sends until the mailbox refuses.
func fill(t *testing.T, ref *actor.Ref) (n int) {
	t.Helper()
	for ; ; n++ {
		switch err := ref.Tell("fill"); {
		case errors.Is(err, core.ErrOverloaded):
			return n
		case err != nil:
			t.Fatal(err)
		}
	}
}
