package actor_test

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
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

// The tests of this file are named in docs/differences.md: each shows that a known weakness of another
// runtime is none here.

// answerWhen answers each message when told to.
func answerWhen(t *testing.T, s *actor.System) (ref *actor.Ref, asked <-chan actor.Envelope) {
	t.Helper()
	got := make(chan actor.Envelope, 100)
	return spawn(t, s, func(c *actor.Context) {
		if e := c.Envelope(); e.Reply != nil {
			got <- e
		}
	}), got
}

// TestLateAnswerChangesNothing lets the answer and the time-out of a future meet, and an answer come
// after the time-out: there is one outcome, either a result or an error.
func TestLateAnswerChangesNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, s *actor.System) {
		ref, asked := answerWhen(t, s)
		for range 200 {
			fut := s.Request(ref, actor.Envelope{Message: "x"}, time.Second)
			e := <-asked
			var late sync.WaitGroup
			late.Go(func() {
				time.Sleep(time.Second) // the moment of the time-out
				e.Reply.Reply(e.ReplyID, 42, nil)
			})
			msg, err := fut.Result(t.Context())
			if (msg == 42) == (err != nil) || err != nil && (msg != nil || !errors.Is(err, context.DeadlineExceeded)) {
				t.Fatalf("outcome %v, %v", msg, err)
			}
			late.Wait()
			e.Reply.Reply(e.ReplyID, 43, nil)
			if again, err2 := fut.Result(t.Context()); again != msg || !errors.Is(err2, err) {
				t.Fatalf("first %v, %v; then %v, %v", msg, err, again, err2)
			}
		}
	})
}

// TestNameCanBeSentToAsSoonAsItIsFound has senders try a name until it takes a message, from before it
// is spawned: a try ends as a dead letter or is handled, and nothing else happens.
func TestNameCanBeSentToAsSoonAsItIsFound(t *testing.T) {
	s := newSystem(t)
	const names, senders = 60, 3
	var handled atomic.Int64
	props := actor.FromFunc(func(c *actor.Context) {
		if c.Message() == "x" {
			handled.Add(1)
		}
	})
	for i := range names {
		name := fmt.Sprint("n", i)
		var trying, sending sync.WaitGroup
		for range senders {
			trying.Add(1)
			sending.Go(func() {
				trying.Done()
				to := s.Ref(core.PID{Address: "here:1", Member: "m1", ID: name})
				for err := to.Tell("x"); err != nil; err = to.Tell("x") {
					if !errors.Is(err, actor.ErrDeadLetter) {
						t.Error(err)
						return
					}
					runtime.Gosched()
				}
			})
		}
		trying.Wait()
		ref, err := s.SpawnNamed(name, props)
		if err != nil {
			t.Fatal(err)
		}
		sending.Wait()
		if err := ref.PoisonWait(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got := handled.Load(); got != names*senders {
		t.Errorf("%d messages handled; want %d", got, names*senders)
	}
}

// TestAllForOneAtTheTopIsTheActorsOwn has an actor without a parent fail under a strategy that speaks
// for all: only that actor restarts.
func TestAllForOneAtTheTopIsTheActorsOwn(t *testing.T) {
	s := newSystem(t)
	incarnations := func(a *atomic.Int64) *actor.Props {
		return &actor.Props{Supervisor: actor.AllForOne{}, New: func() actor.Actor {
			a.Add(1)
			return actor.Func(func(c *actor.Context) {
				if c.Message() == "panic" {
					panic("as told")
				}
				echo(c)
			})
		}}
	}
	var one, two atomic.Int64
	first, second := spawnProps(t, s, incarnations(&one)), spawnProps(t, s, incarnations(&two))
	_ = first.Tell("panic")
	ask(t, first, "x")
	ask(t, second, "x")
	if one.Load() != 2 || two.Load() != 1 {
		t.Errorf("incarnations %d and %d; want 2 and 1", one.Load(), two.Load())
	}
}

// TestStoppedActorIsFreed spawns actors under a full observer and stops them: none stays reachable.
func TestStoppedActorIsFreed(t *testing.T) {
	const actors = 200
	var spawned, stopped atomic.Int64
	s := newSystem(t, func(c *actor.Config) {
		c.Observer = actor.Observer{
			MailboxWait: func(*actor.Ref, time.Duration) {},
			Rejected:    func(core.PID, error) {},
			Spawned:     func(*actor.Ref) { spawned.Add(1) },
			Stopped:     func(*actor.Ref) { stopped.Add(1) },
		}
	})
	var freed atomic.Int64
	for range actors {
		ref, err := s.Spawn(&actor.Props{New: func() actor.Actor {
			a := &struct {
				actor.Func
				state [64]byte
			}{Func: echo}
			runtime.AddCleanup(a, func(freed *atomic.Int64) { freed.Add(1) }, &freed)
			return a
		}})
		if err != nil {
			t.Fatal(err)
		}
		runtime.AddCleanup(ref, func(freed *atomic.Int64) { freed.Add(1) }, &freed)
		ask(t, ref, 1)
		if err := ref.StopWait(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if spawned.Load() != actors || stopped.Load() != actors {
		t.Errorf("%d spawned and %d stopped were seen; want %d of each", spawned.Load(), stopped.Load(), actors)
	}
	const spare = 8 // that workers of the dispatcher may still have in hand
	for end := time.Now().Add(time.Minute); freed.Load() < 2*(actors-spare); runtime.Gosched() {
		if runtime.GC(); time.Now().After(end) {
			t.Fatalf("%d of %d references and actors were freed", freed.Load(), 2*actors)
		}
	}
}

// TestStashKeepsOrderSenderAndHeader stashes everything until a word opens the actor; one message is
// stashed again after that, and the actor goes on.
func TestStashKeepsOrderSenderAndHeader(t *testing.T) {
	s := newSystem(t)
	sender := spawn(t, s, noop)
	opened, again := false, 0
	var got []string
	done := make(chan []string, 1)
	ref := spawn(t, s, func(c *actor.Context) {
		m, ok := c.Message().(string)
		switch {
		case !ok:
		case m == "open":
			opened = true
			c.UnstashAll()
		case !opened, m == "2" && again < 3:
			if opened {
				again++
				defer c.UnstashAll()
			}
			if err := c.Stash(); err != nil {
				t.Error(err)
			}
		case m == "end":
			done <- got
		default:
			got = append(got, fmt.Sprint(m, " ", c.Sender() == sender, " ", c.Header()["n"]))
			_ = c.Respond(m)
		}
	})
	a := s.NewAsk()
	for i := range 5 {
		e := actor.Envelope{Message: fmt.Sprint(i), Sender: sender, Header: actor.Header{"n": fmt.Sprint(i)}}
		if i == 3 {
			e.Reply, e.ReplyID = s, a.ID()
		}
		if err := ref.Send(e); err != nil {
			t.Fatal(err)
		}
	}
	_ = ref.Tell("open")
	_ = ref.Tell("end")
	want := []string{"0 true 0", "1 true 1", "2 true 2", "3 true 3", "4 true 4"}
	if got := recv(t, done); !slices.Equal(got, want) {
		t.Errorf("handled %q; want %q", got, want)
	}
	if msg, err := a.Wait(t.Context()); msg != "3" || err != nil {
		t.Errorf("the stashed ask got %v, %v", msg, err)
	}
	if again != 3 {
		t.Errorf("one message was stashed again %d times; want 3", again)
	}
}

func TestSliceIsOneMessage(t *testing.T) {
	s := newSystem(t)
	var got []any
	ref := spawn(t, s, func(c *actor.Context) {
		if m, ok := c.Message().([]any); ok {
			got = append(got, m)
		}
	})
	for range 3 {
		_ = ref.Tell([]any{1, 2})
	}
	if err := ref.PoisonWait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprint([]any{[]any{1, 2}, []any{1, 2}, []any{1, 2}}); fmt.Sprint(got) != want {
		t.Errorf("handled %v; want %v", got, want)
	}
}

// TestHeadersBelongToOneMessage sends with and without headers from many goroutines of one system.
func TestHeadersBelongToOneMessage(t *testing.T) {
	s := newSystem(t)
	ref := spawn(t, s, func(c *actor.Context) {
		if _, ok := c.Message().(int); ok {
			_ = c.Respond(fmt.Sprint(c.Header()["n"]))
		}
	})
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 200 {
				var h actor.Header
				want := ""
				if i%2 == 0 {
					want = fmt.Sprint(g, i)
					h = actor.Header{"n": want}
				}
				got, err := s.Request(ref, actor.Envelope{Message: i, Header: h}, 0).Result(t.Context())
				if got != want || err != nil {
					t.Errorf("header %q, %v; want %q", got, err, want)
				}
			}
		})
	}
	wg.Wait()
	answers := make(chan any, 1)
	asker := spawn(t, s, func(c *actor.Context) {
		switch m := c.Message().(type) {
		case int:
			if err := c.Request(ref, m); err != nil { // sets the sender
				t.Error(err)
			}
		case string:
			answers <- m
		}
	})
	_ = asker.Tell(1)
	if got := recv(t, answers); got != "" {
		t.Errorf("the answer came with %q", got)
	}
}

// TestSenderGetsNoDeadLetterAsAMessage: an actor that asks or tells a dead one learns it by the error.
func TestSenderGetsNoDeadLetterAsAMessage(t *testing.T) {
	s := newSystem(t)
	gone := spawn(t, s, noop)
	if err := gone.StopWait(t.Context()); err != nil {
		t.Fatal(err)
	}
	errs := make(chan error, 3)
	var strange []any
	sender := spawn(t, s, func(c *actor.Context) {
		switch m := c.Message().(type) {
		case actor.Started, actor.Stopping, actor.Stopped:
		case string:
			errs <- c.Request(gone, m)
			_, err := c.Ask(t.Context(), gone, m)
			errs <- err
			_, err = c.RequestFuture(gone, m, 0).Result(t.Context())
			errs <- err
		default:
			strange = append(strange, m)
		}
	})
	_ = sender.Tell("go")
	for range cap(errs) {
		var dead *actor.DeadLetterError
		if err := recv(t, errs); !errors.As(err, &dead) || dead.Target != gone.PID() {
			t.Errorf("%v; want a DeadLetterError that names %s", err, gone)
		}
	}
	if err := sender.PoisonWait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(strange) > 0 {
		t.Errorf("the sender was sent %v", strange)
	}
}

// TestNoTelemetryIsLinked lists what a program links that imports this package.
func TestNoTelemetryIsLinked(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	for pkg := range strings.Lines(string(out)) {
		pkg = strings.TrimSpace(pkg)
		first, _, _ := strings.Cut(pkg, "/")
		outside := strings.Contains(first, ".") && !strings.HasPrefix(pkg, "github.com/granary-go/granary/")
		if outside || pkg == "net" || strings.HasPrefix(pkg, "net/") || pkg == "expvar" {
			t.Errorf("it links %s", pkg)
		}
	}
}

// TestTimeoutIsNoDeadLetter tells the two apart, as whoever counts them has to.
func TestTimeoutIsNoDeadLetter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var letters atomic.Int64
		s := newSystem(t, func(c *actor.Config) { c.Observer.DeadLetter = func(actor.DeadLetter) { letters.Add(1) } })
		silent := spawn(t, s, noop)
		_, err := s.Request(silent, actor.Envelope{Message: 1}, time.Second).Result(t.Context())
		if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, actor.ErrDeadLetter) || letters.Load() != 0 {
			t.Errorf("a time-out is %v, with %d dead letters", err, letters.Load())
		}
		if err := silent.StopWait(t.Context()); err != nil {
			t.Fatal(err)
		}
		_, err = s.Request(silent, actor.Envelope{Message: 1}, time.Second).Result(t.Context())
		if errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, actor.ErrDeadLetter) || letters.Load() != 1 {
			t.Errorf("a dead letter is %v, with %d dead letters", err, letters.Load())
		}
	})
}

// TestCancelWhilePublishing cancels subscriptions under way: no send on anything closed, no event
// after Cancel has returned and the call that ran has ended.
func TestCancelWhilePublishing(t *testing.T) {
	s := newSystem(t)
	stop := make(chan struct{})
	var publishing sync.WaitGroup
	publishing.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				s.Events().Publish(i)
			}
		}
	})
	for range 300 {
		var got atomic.Int64
		sub := actor.SubscribeOf(s.Events(), func(int) { got.Add(1) })
		sub.Cancel()
		sub.Cancel()
	}
	close(stop)
	publishing.Wait()
	if n := s.Events().Len(); n != 0 {
		t.Errorf("%d subscribers left", n)
	}
}

// TestPIDMeansTheSameInEverySystem uses one PID with two systems of one process, in both orders.
func TestPIDMeansTheSameInEverySystem(t *testing.T) {
	one := newSystem(t)
	two := newSystem(t, func(c *actor.Config) { c.Member, c.Address = "m2", "there:1" })
	for _, s := range []*actor.System{one, two} {
		if _, err := s.SpawnNamed("x", actor.FromFunc(func(c *actor.Context) {
			if c.Message() == "who" {
				_ = c.Respond(c.System().Member())
			}
		})); err != nil {
			t.Fatal(err)
		}
	}
	one.SetRemote(func(pid core.PID) (actor.Process, error) {
		return procFunc{send: func(target core.PID, e actor.Envelope) error { return two.Deliver(target, e) }}, nil
	})
	two.SetRemote(func(pid core.PID) (actor.Process, error) {
		return procFunc{send: func(target core.PID, e actor.Envelope) error { return one.Deliver(target, e) }}, nil
	})
	pid := core.PID{Address: "there:1", Member: "m2", ID: "x"}
	for range 2 {
		for _, s := range []*actor.System{one, two} {
			if got := ask(t, s.Ref(pid), "who"); got != core.MemberID("m2") {
				t.Errorf("from %s it is an actor of %v", s.Member(), got)
			}
		}
	}
}

// TestNamesOfEveryHash enters enough names to meet every shard, whichever sign its hash would have.
func TestNamesOfEveryHash(t *testing.T) {
	s := newSystem(t)
	const names = 5000
	for i := range names {
		if _, err := s.SpawnNamed(fmt.Sprint("name-", i), actor.FromFunc(echo)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range names {
		ask(t, s.Ref(core.PID{Address: "here:1", Member: "m1", ID: fmt.Sprint("name-", i)}), i)
	}
}
