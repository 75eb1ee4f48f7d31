package actor_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/actor"
)

func TestLifecycleOrder(t *testing.T) {
	s := newSystem(t)
	var got []string
	ref := spawnProps(t, s, &actor.Props{
		New: func() actor.Actor {
			return actor.Func(func(c *actor.Context) { got = append(got, fmt.Sprintf("%T", c.Message())) })
		},
		Closed: func(a actor.Actor) { got = append(got, "closed") },
	})
	if err := ref.Tell(7); err != nil {
		t.Fatal(err)
	}
	if err := ref.PoisonWait(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := []string{"actor.Started", "int", "actor.Stopping", "actor.Stopped", "closed"}
	if !slices.Equal(got, want) {
		t.Errorf("messages %v; want %v", got, want)
	}
}

// Who waits for the end of an actor waits for all of it.
func TestStopWaitCoversClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSystem(t)
		ref := spawnProps(t, s, &actor.Props{
			New:    actor.FromFunc(noop).New,
			Closed: func(actor.Actor) { time.Sleep(time.Second) },
		})
		began := time.Now()
		if err := ref.StopWait(t.Context()); err != nil || time.Since(began) != time.Second {
			t.Errorf("StopWait = %v after %v; want nil after Closed", err, time.Since(began))
		}
	})
}

func TestOrderPerSender(t *testing.T) {
	s := newSystem(t)
	const senders, each = 8, 5000
	type msg struct{ from, n int }
	last := make([]int, senders)
	done := make(chan string, 1)
	total := 0
	ref := spawnProps(t, s, &actor.Props{
		Mailbox: actor.MailboxConfig{Kind: actor.Unbounded},
		New: func() actor.Actor {
			return actor.Func(func(c *actor.Context) {
				m, ok := c.Message().(msg)
				if !ok {
					return
				}
				if m.n != last[m.from]+1 {
					done <- fmt.Sprintf("sender %d: %d after %d", m.from, m.n, last[m.from])
				}
				last[m.from] = m.n
				if total++; total == senders*each {
					done <- ""
				}
			})
		},
	})
	var wg sync.WaitGroup
	for from := range senders {
		wg.Go(func() {
			for n := range each {
				if err := ref.Tell(msg{from, n + 1}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if why := recv(t, done); why != "" {
		t.Error(why)
	}
}

func TestOneTurnAtATime(t *testing.T) {
	s := newSystem(t)
	var inside atomic.Int32
	n := 0 // without a lock: the race detector watches
	ref := spawnProps(t, s, &actor.Props{
		Mailbox: actor.MailboxConfig{Kind: actor.Unbounded},
		New: func() actor.Actor {
			return actor.Func(func(c *actor.Context) {
				if inside.Add(1) != 1 {
					t.Error("two turns at once")
				}
				n++
				echo(c)
				inside.Add(-1)
			})
		},
	})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 500 {
				if i%50 == 0 {
					ask(t, ref, i)
				} else {
					_ = ref.Tell(i)
				}
			}
		})
	}
	wg.Wait()
	ask(t, ref, "end")
	if err := ref.StopWait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if want := 8*500 + 1 + 3; n != want {
		t.Errorf("%d messages; want %d", n, want)
	}
}

func TestAsk(t *testing.T) {
	s := newSystem(t)
	ref := spawn(t, s, echo)
	if got := ask(t, ref, "x"); got != "x" {
		t.Errorf("Ask = %v; want x", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := ref.Ask(ctx, "x"); !errors.Is(err, context.Canceled) || core.DeliveryOf(err) != core.Undelivered {
		t.Errorf("Ask with an ended ctx = %v (%v); want Canceled, undelivered", err, core.DeliveryOf(err))
	}
	silent := spawn(t, s, noop)
	synctestAsk(t)
	ctx, cancel = context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := silent.Ask(ctx, "x"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Ask of a silent actor = %v; want DeadlineExceeded", err)
	}
}

func synctestAsk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSystem(t)
		late := spawn(t, s, func(c *actor.Context) {
			if d, ok := c.Message().(time.Duration); ok {
				e := c.Envelope()
				c.After(d, func(*actor.Context) { e.Reply.Reply(e.ReplyID, d, nil) })
			}
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := late.Ask(ctx, 2*time.Second); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Ask = %v; want DeadlineExceeded", err)
		}
		// The late answer of the first ask comes while the second waits in the same slot or another.
		if got := ask(t, late, 3*time.Second); got != 3*time.Second {
			t.Errorf("Ask = %v; want its own answer", got)
		}
	})
}

func TestSpawnNamed(t *testing.T) {
	s := newSystem(t)
	if _, err := s.SpawnNamed("a", actor.FromFunc(noop)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.SpawnNamed("a", actor.FromFunc(noop)); !errors.Is(err, core.ErrConflict) {
		t.Errorf("second SpawnNamed = %v; want ErrConflict", err)
	}
	for name, p := range map[string]*actor.Props{
		"nil props":     nil,
		"no New":        {},
		"negative size": {New: actor.FromFunc(noop).New, Mailbox: actor.MailboxConfig{Size: -1}},
		"bad kind":      {New: actor.FromFunc(noop).New, Mailbox: actor.MailboxConfig{Kind: 99}},
		"no priority":   {New: actor.FromFunc(noop).New, Mailbox: actor.MailboxConfig{Kind: actor.Priority}},
	} {
		if _, err := s.Spawn(p); !errors.Is(err, core.ErrInvalid) {
			t.Errorf("Spawn with %s = %v; want ErrInvalid", name, err)
		}
	}
	if _, err := s.SpawnNamed("", actor.FromFunc(noop)); !errors.Is(err, core.ErrInvalid) {
		t.Errorf("SpawnNamed without a name = %v; want ErrInvalid", err)
	}
}

func TestDeadLetter(t *testing.T) {
	s := newSystem(t)
	gone := spawn(t, s, noop)
	if err := gone.StopWait(t.Context()); err != nil {
		t.Fatal(err)
	}
	never := s.Ref(core.PID{Address: "here:1", Member: "m1", ID: "never"})
	for name, send := range map[string]func() error{
		"tell":        func() error { return gone.Tell(1) },
		"unknown":     func() error { return never.Tell(1) },
		"ask":         func() error { _, err := gone.Ask(t.Context(), 1); return err },
		"deliver":     func() error { return s.Deliver(gone.PID(), actor.Envelope{Message: 1}) },
		"other start": func() error { return s.Deliver(core.PID{Member: "m0", ID: "x"}, actor.Envelope{Message: 1}) },
		"nudge":       func() error { return s.Nudge(gone, 1) },
		"stop":        func() error { return gone.Stop() },
	} {
		err := send()
		var dead *actor.DeadLetterError
		if !errors.As(err, &dead) || !errors.Is(err, actor.ErrDeadLetter) || !errors.Is(err, core.ErrStopped) {
			t.Errorf("%s: %v; want a DeadLetterError", name, err)
		}
		if core.DeliveryOf(err) != core.Undelivered {
			t.Errorf("%s: delivery %v; want undelivered", name, core.DeliveryOf(err))
		}
	}
}

func TestStopAnswersWhatIsQueued(t *testing.T) {
	s := newSystem(t)
	entered := make(chan any, 1)
	ref := spawn(t, s, blocker(entered, echo))
	h := make(hold)
	_ = ref.Tell(h)
	<-entered
	errs := make(chan error, 100)
	var sent sync.WaitGroup
	asks := make([]actor.Ask, 100)
	for i := range asks {
		asks[i] = s.NewAsk()
		if err := ref.Send(actor.Envelope{Message: i, Reply: s, ReplyID: asks[i].ID()}); err != nil {
			t.Fatal(err)
		}
		sent.Go(func() { _, err := asks[i].Wait(t.Context()); errs <- err })
	}
	if err := ref.Stop(); err != nil {
		t.Fatal(err)
	}
	close(h)
	for range asks {
		if err := recv(t, errs); !errors.Is(err, actor.ErrDeadLetter) {
			t.Errorf("queued ask = %v; want a dead letter", err)
		}
	}
	sent.Wait()
}

func TestPanicIsTheAnswerAndOnlyThisActorsFailure(t *testing.T) {
	s := newSystem(t)
	starts := 0
	cause := errors.New("cause")
	ref := spawn(t, s, func(c *actor.Context) {
		switch m := c.Message().(type) {
		case actor.Started:
			starts++
		case string:
			if m == "panic" {
				panic(cause)
			}
			_ = c.Respond(starts)
		}
	})
	_, err := ref.Ask(t.Context(), "panic")
	var p *actor.PanicError
	if !errors.As(err, &p) || !errors.Is(err, cause) || core.DeliveryOf(err) != core.Delivered {
		t.Errorf("Ask = %v; want a PanicError with its cause, delivered", err)
	}
	if got := ask(t, ref, "count"); got != 2 {
		t.Errorf("%v incarnations; want 2", got)
	}
}

func TestStopIfIdleLosesNothing(t *testing.T) {
	s := newSystem(t)
	for range 300 {
		handled := 0
		ref := spawn(t, s, func(c *actor.Context) {
			switch c.Message().(type) {
			case int:
				handled++
				_ = c.Respond(handled)
				c.StopIfIdle()
			}
		})
		accepted, answered := 0, 0
		var asks []actor.Ask
		for i := range 20 {
			a := s.NewAsk()
			if err := ref.Send(actor.Envelope{Message: i, Reply: s, ReplyID: a.ID()}); err != nil {
				if !errors.Is(err, actor.ErrDeadLetter) {
					t.Fatal(err)
				}
				a.Cancel()
				continue
			}
			accepted++
			asks = append(asks, a)
		}
		for _, a := range asks {
			if _, err := a.Wait(t.Context()); err == nil {
				answered++
			}
		}
		if err := ref.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		if handled != accepted || answered != accepted {
			t.Fatalf("accepted %d, handled %d, answered %d", accepted, handled, answered)
		}
	}
}

func TestRefuse(t *testing.T) {
	s := newSystem(t)
	entered := make(chan any, 1)
	ref := spawn(t, s, func(c *actor.Context) {
		switch m := c.Message().(type) {
		case hold:
			entered <- m
			<-m
			c.Refuse(core.ErrBusy)
			entered <- "refuses"
		case int, string:
			_ = c.Respond(m)
		}
	})
	h := make(hold)
	_ = ref.Tell(h)
	<-entered
	a := s.NewAsk()
	if err := ref.Send(actor.Envelope{Message: 1, Reply: s, ReplyID: a.ID()}); err != nil {
		t.Fatal(err)
	}
	close(h)
	<-entered
	if err := ref.Tell(2); !errors.Is(err, core.ErrBusy) || core.DeliveryOf(err) != core.Undelivered {
		t.Errorf("Tell = %v; want ErrBusy, undelivered", err)
	}
	if got, err := a.Wait(t.Context()); got != 1 || err != nil {
		t.Errorf("queued ask = %v, %v; want its answer", got, err)
	}
	if err := s.Nudge(ref, "nudge"); err != nil {
		t.Errorf("Nudge = %v; want nil", err)
	}
}

func TestNudgeGoesFirstAndPastTheBound(t *testing.T) {
	s := newSystem(t)
	entered := make(chan any, 1)
	var got []any
	done := make(chan struct{})
	ref := spawnProps(t, s, &actor.Props{
		Mailbox: actor.MailboxConfig{Size: 1},
		New: func() actor.Actor {
			return actor.Func(blocker(entered, func(c *actor.Context) {
				if _, ok := c.Message().(actor.Started); ok {
					return
				}
				if got = append(got, c.Message()); len(got) == 3 {
					close(done)
				}
			}))
		},
	})
	h := make(hold)
	_ = ref.Tell(h)
	<-entered
	if err := ref.Tell("user"); err != nil {
		t.Fatal(err)
	}
	if err := ref.Tell("too much"); !errors.Is(err, core.ErrOverloaded) {
		t.Errorf("Tell = %v; want ErrOverloaded", err)
	}
	for i := range 2 {
		if err := s.Nudge(ref, i); err != nil {
			t.Fatal(err)
		}
	}
	close(h)
	recv(t, done)
	if want := []any{0, 1, "user"}; !slices.Equal(got, want) {
		t.Errorf("order %v; want %v", got, want)
	}
}

func TestGate(t *testing.T) {
	s := newSystem(t)
	p := &actor.Props{Gate: func(a actor.Actor, e *actor.Envelope) (bool, error) {
		switch e.Message {
		case "take":
			return true, nil
		case "refuse":
			return true, core.ErrBusy
		case "panic":
			panic("gate")
		case "change":
			e.Message = "changed"
		}
		return false, nil
	}}
	var got []any
	ref, err := s.SpawnActor("g/", p, actor.Func(func(c *actor.Context) {
		got = append(got, c.Message())
		echo(c)
	}))
	if err != nil {
		t.Fatal(err)
	}
	if err := ref.Tell("take"); err != nil {
		t.Error(err)
	}
	if err := ref.Tell("refuse"); !errors.Is(err, core.ErrBusy) {
		t.Errorf("Tell = %v; want ErrBusy", err)
	}
	var pan *actor.PanicError
	if err := ref.Tell("panic"); !errors.As(err, &pan) || core.DeliveryOf(err) != core.Undelivered {
		t.Errorf("Tell = %v; want a PanicError, undelivered", err)
	}
	if got := ask(t, ref, "change"); got != "changed" {
		t.Errorf("Ask = %v; want changed", got)
	}
	if err := ref.StopWait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if want := []any{actor.Started{}, "changed", actor.Stopping{}, actor.Stopped{}}; !slices.Equal(got, want) {
		t.Errorf("handled %v; want %v", got, want)
	}
}

func TestWatch(t *testing.T) {
	s := newSystem(t)
	target := spawn(t, s, noop)
	told := make(chan *actor.Terminated, 4)
	watcher := spawn(t, s, func(c *actor.Context) {
		switch m := c.Message().(type) {
		case *actor.Ref:
			c.Watch(m)
			c.Watch(m) // twice is once
			_ = c.Respond("ok")
		case *actor.Terminated:
			told <- m
		}
	})
	ask(t, watcher, target)
	if err := target.StopWait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if m := recv(t, told); m.Who != target.PID() || m.Why != actor.TerminatedStopped {
		t.Errorf("Terminated %+v", m)
	}
	ask(t, watcher, target)
	if m := recv(t, told); m.Why != actor.TerminatedNotFound {
		t.Errorf("Terminated %+v; want not found", m)
	}
	if len(told) > 0 {
		t.Errorf("another Terminated: %+v", <-told)
	}
}

func TestTerminatedOfNobodyWatchedIsDropped(t *testing.T) {
	s := newSystem(t)
	ref := spawn(t, s, func(c *actor.Context) {
		switch c.Message().(type) {
		case actor.Started:
			c.SetReceiveTimeout(time.Hour)
		case *actor.Terminated:
			t.Error("a Terminated that was not asked for")
		}
		echo(c)
	})
	if err := s.DeliverSystem(ref.PID(), &actor.Terminated{Who: core.PID{ID: "x"}}); err != nil {
		t.Fatal(err)
	}
	ask(t, ref, 1)
}

type procFunc struct {
	send   func(target core.PID, e actor.Envelope) error
	system func(target core.PID, m actor.SystemMessage) error
}

func (p procFunc) Send(target core.PID, e actor.Envelope) error { return p.send(target, e) }
func (p procFunc) SendSystem(target core.PID, m actor.SystemMessage) error {
	if p.system == nil {
		return nil
	}
	return p.system(target, m)
}

func TestRegisterAndRemote(t *testing.T) {
	s := newSystem(t)
	got := make(chan actor.Envelope, 1)
	p := procFunc{send: func(_ core.PID, e actor.Envelope) error { got <- e; return nil }}
	unregister, err := s.Register("$grain", p)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Register("$grain", p); !errors.Is(err, core.ErrConflict) {
		t.Errorf("second Register = %v; want ErrConflict", err)
	}
	if err := s.Deliver(core.PID{ID: "$grain"}, actor.Envelope{Message: 5}); err != nil {
		t.Fatal(err)
	}
	if e := recv(t, got); e.Message != 5 {
		t.Errorf("process got %v; want 5", e.Message)
	}
	unregister()
	unregister()
	if err := s.Deliver(core.PID{ID: "$grain"}, actor.Envelope{}); !errors.Is(err, actor.ErrDeadLetter) {
		t.Errorf("Deliver = %v; want a dead letter", err)
	}

	far := s.Ref(core.PID{Address: "there:1", Member: "m2", ID: "x"})
	if err := far.Tell(1); !errors.Is(err, core.ErrUnreachable) || core.DeliveryOf(err) != core.Undelivered {
		t.Errorf("Tell without a network = %v; want ErrUnreachable, undelivered", err)
	}
	s.SetRemote(func(pid core.PID) (actor.Process, error) {
		return procFunc{send: func(target core.PID, e actor.Envelope) error {
			if target != far.PID() {
				t.Errorf("target %v", target)
			}
			e.Reply.Reply(e.ReplyID, e.Message, nil)
			return nil
		}}, nil
	})
	if got := ask(t, far, "remote"); got != "remote" {
		t.Errorf("Ask = %v", got)
	}
}
