package actor_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/actor"
)

func TestContextFacts(t *testing.T) {
	s := newSystem(t)
	ref, err := s.SpawnNamed("top", actor.FromFunc(func(c *actor.Context) {
		if c.Message() != "facts" {
			return
		}
		kid, err := c.SpawnNamed("kid", actor.FromFunc(func(c *actor.Context) {
			if c.Message() == "parent" {
				_ = c.Respond(c.Parent().PID())
			}
		}))
		if err != nil {
			t.Error(err)
		}
		if _, err := c.SpawnNamed("kid", actor.FromFunc(noop)); !errors.Is(err, core.ErrConflict) {
			t.Errorf("second kid: %v; want ErrConflict", err)
		}
		if _, err := c.Spawn(nil); !errors.Is(err, core.ErrInvalid) {
			t.Errorf("child without props: %v; want ErrInvalid", err)
		}
		got, err := c.Ask(t.Context(), kid, "parent")
		if got != c.Self().PID() || err != nil {
			t.Errorf("parent of the kid %v, %v", got, err)
		}
		if kids := c.Children(); len(kids) != 1 || kids[0].PID().ID != "top/kid" {
			t.Errorf("children %v", kids)
		}
		if c.Parent() != nil || c.System() != s || c.Header()["k"] != "v" || c.Logger() == nil {
			t.Error("parent, system, header or logger is wrong")
		}
		_ = c.Respond("done")
	}))
	if err != nil {
		t.Fatal(err)
	}
	want := core.PID{Address: "here:1", Member: "m1", ID: "top"}
	if ref.PID() != want || ref.String() != "here:1/top" || (*actor.Ref)(nil).String() != "nobody" {
		t.Errorf("PID %+v, text %s", ref.PID(), ref)
	}
	a := s.NewAsk()
	if err := ref.Send(actor.Envelope{Message: "facts", Header: actor.Header{"k": "v"}, Reply: s, ReplyID: a.ID()}); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Wait(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestRespond(t *testing.T) {
	s := newSystem(t)
	errs := make(chan error, 1)
	ref := spawn(t, s, func(c *actor.Context) {
		switch c.Message() {
		case "nobody":
			errs <- c.Respond(1)
		case "error":
			errs <- c.RespondError(core.ErrBusy)
		case "twice":
			_ = c.Respond(1)
			_ = c.Respond(2)
		}
	})
	_ = ref.Tell("nobody")
	if err := recv(t, errs); !errors.Is(err, actor.ErrNoSender) {
		t.Errorf("Respond to nobody = %v; want ErrNoSender", err)
	}
	if _, err := ref.Ask(t.Context(), "error"); !errors.Is(err, core.ErrBusy) {
		t.Errorf("Ask = %v; want ErrBusy", err)
	}
	<-errs
	for range 100 { // the second answer must not reach the next ask
		if got := ask(t, ref, "twice"); got != 1 {
			t.Fatalf("Ask = %v; want the first answer", got)
		}
	}
	got := make(chan any, 1)
	asker := spawn(t, s, func(c *actor.Context) {
		switch m := c.Message().(type) {
		case string:
			_ = c.Request(ref, m)
		case error:
			got <- m
		}
	})
	_ = asker.Tell("error")
	<-errs
	if err, _ := recv(t, got).(error); !errors.Is(err, core.ErrBusy) {
		t.Errorf("answer to a sender %v; want ErrBusy as a message", err)
	}
}

func TestForwardKeepsTheAsker(t *testing.T) {
	s := newSystem(t)
	back := spawn(t, s, func(c *actor.Context) {
		if _, ok := c.Message().(string); ok {
			_ = c.Respond(fmt.Sprint(c.Message(), " ", c.Header()["k"], " ", c.Sender()))
		}
	})
	front := spawn(t, s, func(c *actor.Context) {
		if _, ok := c.Message().(string); ok {
			if err := c.Forward(back); err != nil {
				t.Error(err)
			}
			panic("after it gave the question away")
		}
	})
	a := s.NewAsk()
	e := actor.Envelope{Message: "hi", Header: actor.Header{"k": "v"}, Reply: s, ReplyID: a.ID(), Sender: back}
	if err := front.Send(e); err != nil {
		t.Fatal(err)
	}
	if got, err := a.Wait(t.Context()); got != "hi v "+back.String() || err != nil {
		t.Errorf("answer %v, %v", got, err)
	}
}

func TestStash(t *testing.T) {
	s := newSystem(t)
	var got []any
	open := false
	ref := spawn(t, s, func(c *actor.Context) {
		switch m := c.Message().(type) {
		case string:
			switch m {
			case "open":
				open = true
				c.UnstashAll()
			case "done":
				_ = c.Respond("done")
			}
		case int:
			if !open {
				if err := c.Stash(); err != nil {
					t.Error(err)
				}
				return
			}
			got = append(got, m, c.Header()["k"])
			_ = c.Respond(m)
		}
	})
	first := s.NewAsk()
	for i := range 5 {
		e := actor.Envelope{Message: i, Header: actor.Header{"k": fmt.Sprint(i)}}
		if i == 0 {
			e.Reply, e.ReplyID = s, first.ID()
		}
		_ = ref.Send(e)
	}
	_ = ref.Tell("open")
	_ = ref.Send(actor.Envelope{Message: 5, Header: actor.Header{"k": "5"}})
	ask(t, ref, "done")
	if v, err := first.Wait(t.Context()); v != 0 || err != nil {
		t.Errorf("answer to a stashed ask %v, %v", v, err)
	}
	var want []any
	for i := range 6 {
		want = append(want, i, fmt.Sprint(i))
	}
	if !slices.Equal(got, want) {
		t.Errorf("handled %v; want %v", got, want)
	}
}

func TestStashSurvivesARestartAndEndsAsDeadLetters(t *testing.T) {
	s := newSystem(t)
	starts := 0
	ref := spawn(t, s, func(c *actor.Context) {
		switch m := c.Message().(type) {
		case actor.Started:
			starts++
		case int:
			if starts == 1 || m == 2 {
				_ = c.Stash()
				return
			}
			_ = c.Respond(m)
		case string:
			panic(m)
		}
	})
	var asks [3]actor.Ask
	for i := range asks {
		asks[i] = s.NewAsk()
		_ = ref.Send(actor.Envelope{Message: i, Reply: s, ReplyID: asks[i].ID()})
	}
	_ = ref.Tell("panic")
	for i := range 2 {
		if v, err := asks[i].Wait(t.Context()); v != i || err != nil {
			t.Errorf("ask %d = %v, %v; want its answer after the restart", i, v, err)
		}
	}
	_ = ref.Stop()
	if _, err := asks[2].Wait(t.Context()); !errors.Is(err, actor.ErrDeadLetter) {
		t.Errorf("ask that stayed stashed = %v; want a dead letter", err)
	}
}

// A message that was stashed has its answer yet to come, whatever becomes of the turn.
func TestPanicAfterStash(t *testing.T) {
	s := newSystem(t)
	first := true
	ref := spawn(t, s, func(c *actor.Context) {
		if _, ok := c.Message().(int); !ok {
			return
		}
		if first {
			first = false
			_ = c.Stash()
			panic("after Stash")
		}
		_ = c.Respond("answer")
	})
	if got := ask(t, ref, 1); got != "answer" {
		t.Errorf("Ask = %v; want the answer of the second time", got)
	}
}

func TestStashIsBoundedAndKeepsTheActorFromBeingIdle(t *testing.T) {
	s := newSystem(t)
	errs := make(chan error, 1)
	ref := spawnProps(t, s, &actor.Props{Mailbox: actor.MailboxConfig{Kind: actor.Unbounded}, New: func() actor.Actor {
		return actor.Func(func(c *actor.Context) {
			switch c.Message().(type) {
			case int:
				if err := c.Stash(); err != nil {
					errs <- err
				}
			case string:
				_ = c.Respond(c.StopIfIdle())
			}
		})
	}})
	_ = ref.Tell(0)
	if got := ask(t, ref, "idle?"); got != false {
		t.Errorf("StopIfIdle with a stash = %v; want false", got)
	}
	for i := range 4096 {
		_ = ref.Tell(i)
	}
	if err := recv(t, errs); !errors.Is(err, core.ErrOverloaded) {
		t.Errorf("Stash = %v; want ErrOverloaded", err)
	}
}

func TestBehaviours(t *testing.T) {
	s := newSystem(t)
	say := func(text string) actor.ReceiveFunc {
		return func(c *actor.Context) {
			switch m := c.Message().(type) {
			case func(*actor.Context):
				m(c)
			case string:
				_ = c.Respond(text)
			}
		}
	}
	ref := spawn(t, s, say("base"))
	step := func(change func(*actor.Context), want string) {
		t.Helper()
		_ = ref.Tell(change)
		if got := ask(t, ref, "who"); got != want {
			t.Errorf("answer %v; want %v", got, want)
		}
	}
	step(func(c *actor.Context) { c.Unbecome() }, "base")
	step(func(c *actor.Context) { c.BecomeStacked(say("one")) }, "one")
	step(func(c *actor.Context) { c.BecomeStacked(say("two")) }, "two")
	step(func(c *actor.Context) { c.Become(say("two'")) }, "two'")
	step(func(c *actor.Context) { c.Unbecome() }, "one")
	step(func(c *actor.Context) { c.Unbecome() }, "base")
	step(func(c *actor.Context) { c.Become(say("other")) }, "other")
	step(func(c *actor.Context) { panic("a restart goes back to Receive") }, "base")
}

func TestMiddleware(t *testing.T) {
	s := newSystem(t)
	var trace []string
	receive := func(name string) func(actor.ReceiveFunc) actor.ReceiveFunc {
		return func(next actor.ReceiveFunc) actor.ReceiveFunc {
			return func(c *actor.Context) {
				if m, ok := c.Message().(string); ok {
					trace = append(trace, name+" "+m)
				}
				next(c)
			}
		}
	}
	send := func(name string) func(actor.SendFunc) actor.SendFunc {
		return func(next actor.SendFunc) actor.SendFunc {
			return func(c *actor.Context, to *actor.Ref, e actor.Envelope) error {
				e.Header = actor.Header{"by": e.Header["by"] + name}
				return next(c, to, e)
			}
		}
	}
	spawnWith := func(next actor.SpawnFunc) actor.SpawnFunc {
		return func(c *actor.Context, name string, p *actor.Props) (*actor.Ref, error) {
			if name == "forbidden" {
				return nil, core.ErrUnsupported
			}
			return next(c, name+"!", p)
		}
	}
	ref := spawnProps(t, s, &actor.Props{
		Receive: []func(actor.ReceiveFunc) actor.ReceiveFunc{receive("outer"), receive("inner")},
		Send:    []func(actor.SendFunc) actor.SendFunc{send("1"), send("2")},
		Spawn:   []func(actor.SpawnFunc) actor.SpawnFunc{spawnWith},
		New: func() actor.Actor {
			return actor.Func(func(c *actor.Context) {
				if c.Message() != "go" {
					return
				}
				if _, err := c.SpawnNamed("forbidden", actor.FromFunc(noop)); !errors.Is(err, core.ErrUnsupported) {
					t.Errorf("spawn = %v", err)
				}
				kid, err := c.SpawnNamed("kid", actor.FromFunc(func(c *actor.Context) {
					if c.Message() == "ask" {
						_ = c.Respond(c.Header()["by"])
					}
				}))
				if err != nil || !strings.HasSuffix(kid.PID().ID, "/kid!") {
					t.Errorf("spawn = %v, %v", kid, err)
				}
				by, err := c.Ask(t.Context(), kid, "ask")
				if err != nil {
					t.Error(err)
				}
				if got, err := c.RequestFuture(kid, "ask", time.Minute).Result(t.Context()); got != by || err != nil {
					t.Errorf("future %v, %v; want what Ask got, %v", got, err, by)
				}
				_ = c.Respond(by)
			})
		},
	})
	if got := ask(t, ref, "go"); got != "12" {
		t.Errorf("headers %v; want both middlewares in order", got)
	}
	if want := []string{"outer go", "inner go"}; !slices.Equal(trace, want) {
		t.Errorf("trace %v; want %v", trace, want)
	}
}

func TestPanicInMiddlewareIsTheActorsFailure(t *testing.T) {
	s := newSystem(t)
	bad := func(next actor.ReceiveFunc) actor.ReceiveFunc {
		return func(c *actor.Context) {
			if c.Message() == "bad" {
				panic("middleware")
			}
			next(c)
		}
	}
	ref := spawnProps(t, s, &actor.Props{
		Receive: []func(actor.ReceiveFunc) actor.ReceiveFunc{bad},
		New:     func() actor.Actor { return actor.Func(echo) },
	})
	var p *actor.PanicError
	if _, err := ref.Ask(t.Context(), "bad"); !errors.As(err, &p) {
		t.Errorf("Ask = %v; want a PanicError", err)
	}
	ask(t, ref, "good")
}

func TestReenterAfter(t *testing.T) {
	inBubble(t, func(t *testing.T, s *actor.System) {
		slow := spawn(t, s, func(c *actor.Context) {
			if d, ok := c.Message().(time.Duration); ok {
				e := c.Envelope()
				c.After(d, func(*actor.Context) { e.Reply.Reply(e.ReplyID, "slow", nil) })
			}
		})
		other := 0
		ref := spawn(t, s, func(c *actor.Context) {
			switch m := c.Message().(type) {
			case time.Duration:
				c.ReenterAfter(c.RequestFuture(slow, m, 10*time.Second), func(c *actor.Context, msg any, err error) {
					if c.Message() != m {
						t.Errorf("message %v; want %v", c.Message(), m)
					}
					_ = c.Respond(fmt.Sprint(msg, " ", err, " ", other))
				})
			case string:
				other++
				_ = c.Respond(other)
			case error:
				panic(m)
			}
		})
		start := func(d time.Duration) actor.Ask {
			a := s.NewAsk()
			if err := ref.Send(actor.Envelope{Message: d, Reply: s, ReplyID: a.ID()}); err != nil {
				t.Fatal(err)
			}
			return a
		}
		a := start(time.Second)
		ask(t, ref, "meanwhile")
		if got, _ := a.Wait(t.Context()); got != "slow <nil> 1" {
			t.Errorf("answer %v", got)
		}
		a = start(time.Hour)
		if got, _ := a.Wait(t.Context()); got != "<nil> context deadline exceeded 1" {
			t.Errorf("answer %v; want the future's own time limit", got)
		}
		// A restart drops the continuation, and who asked hears of it.
		a = start(time.Second)
		synctest.Wait()
		_ = ref.Tell(errors.New("restart"))
		if _, err := a.Wait(t.Context()); !errors.Is(err, core.ErrStopped) || core.DeliveryOf(err) != core.DeliveryUnknown {
			t.Errorf("ask over a restart = %v (%v); want ErrStopped, unknown", err, core.DeliveryOf(err))
		}
		a = start(time.Second)
		synctest.Wait()
		_ = ref.Stop()
		if _, err := a.Wait(t.Context()); !errors.Is(err, core.ErrStopped) || core.DeliveryOf(err) != core.DeliveryUnknown {
			t.Errorf("ask over a stop = %v (%v); want ErrStopped, unknown", err, core.DeliveryOf(err))
		}
	})
}

func TestFuture(t *testing.T) {
	inBubble(t, func(t *testing.T, s *actor.System) {
		var held actor.Envelope
		ref := spawn(t, s, func(c *actor.Context) {
			if c.Message() == "hold" {
				held = c.Envelope()
			}
		})
		f := s.Request(ref, actor.Envelope{Message: "hold"}, 0)
		results := make(chan any, 10)
		for range cap(results) { // many waiters, one outcome
			go func() { v, err := f.Result(t.Context()); results <- fmt.Sprint(v, err) }()
		}
		piped := make(chan any, 2)
		sink := spawn(t, s, func(c *actor.Context) {
			switch m := c.Message().(type) {
			case string, error:
				piped <- m
			}
		})
		f.PipeTo(sink)
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := f.Result(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Result = %v; want DeadlineExceeded", err)
		}
		held.Reply.Reply(held.ReplyID, "answer", nil)
		held.Reply.Reply(held.ReplyID, "late", nil)
		f.Cancel()
		for range cap(results) {
			if got := <-results; got != "answer<nil>" {
				t.Errorf("result %v", got)
			}
		}
		<-f.Done()
		f.PipeTo(sink)
		for range 2 {
			if got := <-piped; got != "answer" {
				t.Errorf("piped %v", got)
			}
		}

		f = s.Request(ref, actor.Envelope{Message: "hold"}, time.Second)
		f.PipeTo(sink)
		if _, err := f.Result(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Result = %v; want DeadlineExceeded", err)
		}
		if err, _ := (<-piped).(error); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("piped %v; want the error", err)
		}
		synctest.Wait()
		held.Reply.Reply(held.ReplyID, "late", nil) // the outcome stays
		if _, err := f.Result(t.Context()); err == nil {
			t.Error("a late answer changed the outcome")
		}

		f = s.Request(ref, actor.Envelope{Message: "hold"}, 0)
		f.Cancel()
		if _, err := f.Result(t.Context()); !errors.Is(err, core.ErrStopped) {
			t.Errorf("cancelled: %v; want ErrStopped", err)
		}
		_ = ref.StopWait(t.Context())
		f = s.Request(ref, actor.Envelope{Message: "hold"}, time.Second)
		if _, err := f.Result(t.Context()); !errors.Is(err, actor.ErrDeadLetter) {
			t.Errorf("of a dead actor: %v; want a dead letter", err)
		}
	})
}

func TestAnswer(t *testing.T) {
	s := newSystem(t)
	ref := spawn(t, s, echo)
	n, err := actor.Answer[int](ref.Ask(t.Context(), 7))
	if n != 7 || err != nil {
		t.Errorf("Answer = %v, %v", n, err)
	}
	if _, err := actor.Answer[string](ref.Ask(t.Context(), 7)); !errors.Is(err, core.ErrInvalid) || core.DeliveryOf(err) != core.Delivered {
		t.Errorf("Answer of another type = %v; want ErrInvalid, delivered", err)
	}
	_ = ref.StopWait(t.Context())
	if _, err := actor.Answer[int](ref.Ask(t.Context(), 7)); !errors.Is(err, actor.ErrDeadLetter) {
		t.Errorf("Answer of a dead actor = %v", err)
	}
}

type encoded struct {
	msg any
	err error
}

func (e encoded) Decode() (any, error) {
	if e.msg == "panic" {
		panic("decoder")
	}
	return e.msg, e.err
}

func TestEncoded(t *testing.T) {
	s := newSystem(t)
	bad := errors.New("bad bytes")
	ref := spawn(t, s, func(c *actor.Context) {
		switch m := c.Message().(type) {
		case encoded:
			t.Error("the actor saw a message in wire form")
		case string:
			_ = c.Respond(encoded{msg: "re: " + m})
		case int:
			_ = c.Respond(encoded{err: bad})
		}
	})
	if got := ask(t, ref, encoded{msg: "hi"}); got != "re: hi" {
		t.Errorf("answer %v", got)
	}
	_, err := ref.Ask(t.Context(), encoded{err: bad})
	var dec *actor.DecodeError
	if !errors.As(err, &dec) || !errors.Is(err, bad) || !errors.Is(err, core.ErrInvalid) || core.DeliveryOf(err) != core.Undelivered {
		t.Errorf("Ask = %v; want a DecodeError, undelivered", err)
	}
	if _, err := ref.Ask(t.Context(), encoded{msg: "panic"}); !errors.As(err, &dec) {
		t.Errorf("Ask = %v; want a DecodeError", err)
	}
	_ = ref.Tell(encoded{err: bad}) // nobody waits: logged
	if _, err := ref.Ask(t.Context(), 1); !errors.Is(err, bad) || core.DeliveryOf(err) != core.Delivered {
		t.Errorf("answer that does not decode: %v (%v); want the cause, delivered", err, core.DeliveryOf(err))
	}
	f := s.Request(ref, actor.Envelope{Message: encoded{msg: "f"}}, 0)
	if got, err := f.Result(t.Context()); got != "re: f" || err != nil {
		t.Errorf("future %v, %v", got, err)
	}
}

func TestUnwatch(t *testing.T) {
	s := newSystem(t)
	target := spawn(t, s, noop)
	ref := spawn(t, s, func(c *actor.Context) {
		switch m := c.Message().(type) {
		case *actor.Ref:
			c.Watch(m)
			c.Unwatch(m)
			c.Watch(c.Self()) // nobody sees his own end
			_ = c.Respond("ok")
		case *actor.Terminated:
			t.Errorf("%+v after Unwatch", m)
		case string:
			_ = c.Respond(m)
		}
	})
	ask(t, ref, target)
	_ = target.StopWait(t.Context())
	ask(t, ref, "end")
}

func TestWatchOfAnotherMember(t *testing.T) {
	s := newSystem(t)
	far := s.Ref(core.PID{Address: "there:1", Member: "m2", ID: "x"})
	told := make(chan *actor.Terminated, 1)
	ref := spawn(t, s, func(c *actor.Context) {
		switch m := c.Message().(type) {
		case string:
			c.Watch(far)
			_ = c.Respond(m)
		case *actor.Terminated:
			told <- m
		}
	})
	ask(t, ref, "without a network")
	if m := recv(t, told); m.Why != actor.TerminatedUnreachable || m.Who != far.PID() {
		t.Errorf("%+v; want unreachable", m)
	}
	system := make(chan actor.SystemMessage, 10)
	s.SetRemote(func(core.PID) (actor.Process, error) {
		return procFunc{system: func(_ core.PID, m actor.SystemMessage) error { system <- m; return nil }}, nil
	})
	ask(t, ref, "with one")
	w, ok := recv(t, system).(*actor.Watch)
	if !ok || w.Watcher.PID() != ref.PID() {
		t.Fatalf("sent %+v; want a Watch", w)
	}
	if err := s.DeliverSystem(w.Watcher.PID(), &actor.Terminated{Who: far.PID()}); err != nil {
		t.Fatal(err)
	}
	if m := recv(t, told); m.Why != actor.TerminatedStopped {
		t.Errorf("%+v", m)
	}
	// And waiting for the end of one.
	done := make(chan error, 1)
	go func() { done <- far.StopWait(t.Context()) }()
	w, _ = recv(t, system).(*actor.Watch)
	if _, ok := recv(t, system).(*actor.Stop); !ok {
		t.Error("no Stop was sent")
	}
	if err := s.DeliverSystem(w.Watcher.PID(), &actor.Terminated{Who: far.PID(), Why: actor.TerminatedUnreachable}); err != nil {
		t.Fatal(err)
	}
	if err := recv(t, done); !errors.Is(err, core.ErrUnreachable) {
		t.Errorf("StopWait = %v; want ErrUnreachable", err)
	}
}
