package main

import (
	"context"
	"fmt"

	"github.com/granary-go/granary/engine/actor"

	"github.com/granary-go/granary/bench/kit"
)

// message and answer are what local actors send. One value serves all sends, so that a row counts
// the allocations of the library only.
type (
	message struct{ _ int64 }
	answer  struct{ _ int64 }
)

var (
	theMessage = &message{}
	theAnswer  = &answer{}
)

// local is an actor system in this process.
type local struct{ sys *actor.System }

// Local implements [kit.Subject].
func (subject) Local() (kit.Local, error) {
	sys, err := actor.New(actor.Config{})
	if err != nil {
		return nil, err
	}
	return &local{sys}, nil
}

// Sink implements [kit.Local].
func (l *local) Sink(c *kit.Counter, load int) (kit.Sink, error) {
	props := actor.FromFunc(func(ctx *actor.Context) {
		if _, ok := ctx.Message().(*message); ok {
			c.Hit()
		}
	})
	props.Mailbox = mailboxFor(load)
	ref, err := l.sys.Spawn(props)
	if err != nil {
		return nil, err
	}
	return &localSink{ref}, nil
}

// mailboxFor is the default mailbox, or one of that size that lets senders wait if more is to come.
func mailboxFor(load int) actor.MailboxConfig {
	if load > actor.DefaultMailboxSize {
		return actor.MailboxConfig{Kind: actor.Blocking}
	}
	return actor.MailboxConfig{}
}

type localSink struct{ ref *actor.Ref }

// Send implements [kit.Sink].
func (s *localSink) Send(n int) error {
	for range n {
		if err := s.ref.Tell(theMessage); err != nil {
			return err
		}
	}
	return nil
}

// play asks the first of two actors for that many round trips.
type play struct {
	n    int
	done chan error
}

// PingPong implements [kit.Local].
func (l *local) PingPong() (func(n int) error, error) {
	pong, err := l.sys.Spawn(actor.FromFunc(func(ctx *actor.Context) {
		if _, ok := ctx.Message().(*message); ok {
			_ = ctx.Respond(theAnswer) // a lost answer leaves the row unfinished
		}
	}))
	if err != nil {
		return nil, err
	}
	var now play
	ping, err := l.sys.Spawn(actor.FromFunc(func(ctx *actor.Context) {
		switch m := ctx.Message().(type) {
		case *play:
			now = *m
		case *answer:
			if now.n--; now.n == 0 {
				now.done <- nil
				return
			}
		default:
			return
		}
		if err := ctx.Request(pong, theMessage); err != nil {
			now.done <- err
		}
	}))
	if err != nil {
		return nil, err
	}
	return func(n int) error {
		p := &play{n: n, done: make(chan error, 1)}
		if err := ping.Tell(p); err != nil {
			return err
		}
		return <-p.done
	}, nil
}

// Echo implements [kit.Local].
func (l *local) Echo() (kit.Caller, error) {
	ref, err := l.sys.Spawn(actor.FromFunc(func(ctx *actor.Context) {
		if _, ok := ctx.Message().(*message); ok {
			_ = ctx.Respond(theAnswer) // a lost answer ends in the caller's time limit
		}
	}))
	if err != nil {
		return nil, err
	}
	return &localCaller{l.sys, ref}, nil
}

type localCaller struct {
	sys *actor.System
	ref *actor.Ref
}

// Call implements [kit.Caller]. The calls share one context with a deadline, as those of one request do.
func (c *localCaller) Call(n int, lat *kit.Latencies) error {
	ctx, cancel := context.WithTimeout(context.Background(), kit.AskLimit)
	defer cancel()
	for range n {
		begun := lat.Begin()
		reply, err := c.sys.Ask(ctx, c.ref, theMessage)
		if err != nil {
			return err
		}
		if reply != theAnswer {
			return fmt.Errorf("ask: reply is a %T", reply)
		}
		lat.End(begun)
	}
	return nil
}

// Spawn implements [kit.Local].
func (l *local) Spawn(n int, started *kit.Latch) error {
	props := &actor.Props{New: func() actor.Actor { return &idle{started} }}
	for range n {
		if _, err := l.sys.Spawn(props); err != nil {
			return err
		}
	}
	return nil
}

// idle is an actor that does nothing but start.
type idle struct{ started *kit.Latch }

// Receive implements [actor.Actor].
func (i *idle) Receive(ctx *actor.Context) {
	if _, ok := ctx.Message().(actor.Started); ok {
		i.started.Done()
	}
}

// SpawnStop implements [kit.Local].
func (l *local) SpawnStop(n int) error {
	ctx := context.Background()
	props := &actor.Props{New: func() actor.Actor { return brief{} }}
	for range n {
		ref, err := l.sys.Spawn(props)
		if err != nil {
			return err
		}
		if err := ref.StopWait(ctx); err != nil {
			return fmt.Errorf("stop: %w", err)
		}
	}
	return nil
}

// brief is an actor without behaviour.
type brief struct{}

// Receive implements [actor.Actor].
func (brief) Receive(*actor.Context) {}
