package actor_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/actor"
)

// counting is an actor with state: no lock, since it handles one message at a time.
type counting struct{ n int }

func (a *counting) Receive(c *actor.Context) {
	switch m := c.Message().(type) {
	case int:
		a.n += m
	case string:
		_ = c.Respond(a.n)
	}
}

func Example() {
	ctx := context.Background()
	sys, err := actor.New(actor.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sys.Stop(ctx)

	ref, err := sys.Spawn(&actor.Props{New: func() actor.Actor { return new(counting) }})
	if err != nil {
		fmt.Println(err)
		return
	}
	_ = ref.Tell(40)
	_ = ref.Tell(2)
	fmt.Println(actor.Answer[int](ref.Ask(ctx, "how many?")))
	// Output: 42 <nil>
}

func ExampleSystem() {
	ctx := context.Background()
	sys, _ := actor.New(actor.Config{Member: "m1", Address: "127.0.0.1:8090"})
	defer sys.Stop(ctx)

	ref, _ := sys.SpawnNamed("greeter", actor.FromFunc(func(c *actor.Context) {
		if name, ok := c.Message().(string); ok {
			_ = c.Respond("hello " + name)
		}
	}))
	fmt.Println(ref)
	fmt.Println(sys.Ask(ctx, ref, "you"))
	fmt.Println(ref.StopWait(ctx))
	_, err := sys.Ask(ctx, ref, "you")
	fmt.Println(errors.Is(err, actor.ErrDeadLetter), core.DeliveryOf(err))
	// Output:
	// 127.0.0.1:8090/greeter
	// hello you <nil>
	// <nil>
	// true undelivered
}

func ExampleProps() {
	ctx := context.Background()
	sys, _ := actor.New(actor.Config{})
	defer sys.Stop(ctx)

	trace := func(next actor.ReceiveFunc) actor.ReceiveFunc {
		return func(c *actor.Context) {
			fmt.Printf("%T\n", c.Message())
			next(c)
		}
	}
	ref, _ := sys.Spawn(&actor.Props{
		New:     func() actor.Actor { return new(counting) },
		Mailbox: actor.MailboxConfig{Size: 100},
		Receive: []func(actor.ReceiveFunc) actor.ReceiveFunc{trace},
		Closed:  func(actor.Actor) { fmt.Println("closed") },
	})
	_ = ref.Tell(1)
	_ = ref.PoisonWait(ctx) // after the messages queued so far
	// Output:
	// actor.Started
	// int
	// actor.Stopping
	// actor.Stopped
	// closed
}

func ExampleAsk() {
	ctx := context.Background()
	sys, _ := actor.New(actor.Config{})
	defer sys.Stop(ctx)
	ref, _ := sys.Spawn(actor.FromFunc(func(c *actor.Context) {
		if m, ok := c.Message().(int); ok {
			_ = c.Respond(m * m)
		}
	}))

	// Two questions at once; System.Ask is the short form for one.
	first, second := sys.NewAsk(), sys.NewAsk()
	_ = ref.Send(actor.Envelope{Message: 3, Reply: sys, ReplyID: first.ID()})
	_ = ref.Send(actor.Envelope{Message: 4, Reply: sys, ReplyID: second.ID()})
	fmt.Println(first.Wait(ctx))
	fmt.Println(second.Wait(ctx))
	// Output:
	// 9 <nil>
	// 16 <nil>
}

func ExampleMailboxConfig() {
	ctx := context.Background()
	sys, _ := actor.New(actor.Config{})
	defer sys.Stop(ctx)

	busy, entered := make(chan struct{}), make(chan struct{})
	ref, _ := sys.Spawn(&actor.Props{
		Mailbox: actor.MailboxConfig{Size: 2},
		New: func() actor.Actor {
			return actor.Func(func(c *actor.Context) {
				if c.Message() == "work" {
					entered <- struct{}{}
					<-busy
				}
			})
		},
	})
	_ = ref.Tell("work")
	<-entered
	fmt.Println(ref.Tell(1), ref.Tell(2))
	err := ref.Tell(3)
	fmt.Println(errors.Is(err, core.ErrOverloaded), core.DeliveryOf(err))
	close(busy)
	// Output:
	// <nil> <nil>
	// true undelivered
}

func ExampleOneForOne() {
	ctx := context.Background()
	sys, _ := actor.New(actor.Config{Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	defer sys.Stop(ctx)

	bad := errors.New("cannot go on")
	worker := actor.FromFunc(func(c *actor.Context) {
		switch m := c.Message().(type) {
		case actor.Started:
			fmt.Println("worker started")
		case error:
			panic(m)
		}
	})
	ref, _ := sys.Spawn(&actor.Props{
		Supervisor: actor.OneForOne{Choose: func(err error) actor.Directive {
			if errors.Is(err, bad) {
				return actor.Halt
			}
			return actor.Restart
		}},
		New: func() actor.Actor {
			return actor.Func(func(c *actor.Context) {
				switch m := c.Message().(type) {
				case actor.Started:
					child, _ := c.Spawn(worker)
					c.Watch(child)
				case error:
					_ = c.Forward(c.Children()[0])
				case *actor.Terminated:
					fmt.Println("worker", m.Why)
					c.Stop()
				}
			})
		},
	})
	_ = ref.Tell(errors.New("a hiccup"))
	_ = ref.Tell(bad)
	_ = ref.Wait(ctx)
	// Output:
	// worker started
	// worker started
	// worker stopped
}

func ExampleBackoff() {
	s := actor.Backoff{Initial: 100 * time.Millisecond, Max: time.Second}
	var f actor.Failure
	for range 6 {
		f.History = append(f.History, actor.Crash{})
		fmt.Print(s.Decide(&f).After, " ")
	}
	fmt.Println()
	// Output: 100ms 200ms 400ms 800ms 1s 1s
}

func ExampleContext_ReenterAfter() {
	ctx := context.Background()
	sys, _ := actor.New(actor.Config{})
	defer sys.Stop(ctx)

	price, _ := sys.Spawn(actor.FromFunc(func(c *actor.Context) {
		if m, ok := c.Message().(string); ok {
			_ = c.Respond(len(m))
		}
	}))
	shop, _ := sys.Spawn(actor.FromFunc(func(c *actor.Context) {
		if _, ok := c.Message().(string); !ok {
			return
		}
		answer := c.RequestFuture(price, c.Message(), time.Second)
		c.ReenterAfter(answer, func(c *actor.Context, msg any, err error) {
			_ = c.Respond(fmt.Sprint(c.Message(), " costs ", msg))
		})
	}))
	fmt.Println(shop.Ask(ctx, "tea"))
	// Output: tea costs 3 <nil>
}

func ExampleEventStream() {
	ctx := context.Background()
	sys, _ := actor.New(actor.Config{Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	defer sys.Stop(ctx)

	seen := make(chan actor.DeadLetter)
	actor.SubscribeOf(sys.Events(), func(d actor.DeadLetter) { seen <- d })
	_ = sys.Ref(core.PID{Address: sys.Address(), ID: "nobody"}).Tell("hi")
	fmt.Println((<-seen).Message)
	// Output: hi
}
