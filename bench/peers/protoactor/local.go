package main

import (
	"fmt"
	"time"

	"github.com/asynkron/protoactor-go/actor"

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
type local struct{ sys *actor.ActorSystem }

// Local implements [kit.Subject].
func (subject) Local() (kit.Local, error) { return &local{actor.NewActorSystem()}, nil }

// Sink implements [kit.Local].
func (l *local) Sink(c *kit.Counter, _ int) (kit.Sink, error) {
	pid := l.sys.Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
		if _, ok := ctx.Message().(*message); ok {
			c.Hit()
		}
	}))
	return &localSink{l.sys.Root, pid}, nil
}

type localSink struct {
	root *actor.RootContext
	pid  *actor.PID
}

// Send implements [kit.Sink].
func (s *localSink) Send(n int) error {
	for range n {
		s.root.Send(s.pid, theMessage)
	}
	return nil
}

// play asks the first of two actors for that many round trips.
type play struct {
	n    int
	done chan struct{}
}

// PingPong implements [kit.Local].
func (l *local) PingPong() (func(n int) error, error) {
	pong := l.sys.Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
		if _, ok := ctx.Message().(*message); ok {
			ctx.Respond(theAnswer)
		}
	}))
	var left int
	var done chan struct{}
	ping := l.sys.Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
		switch m := ctx.Message().(type) {
		case *play:
			left, done = m.n, m.done
			ctx.Request(pong, theMessage)
		case *answer:
			if left--; left == 0 {
				close(done)
				return
			}
			ctx.Request(pong, theMessage)
		}
	}))
	return func(n int) error {
		p := &play{n: n, done: make(chan struct{})}
		l.sys.Root.Send(ping, p)
		<-p.done
		return nil
	}, nil
}

// Echo implements [kit.Local].
func (l *local) Echo() (kit.Caller, error) {
	pid := l.sys.Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
		if _, ok := ctx.Message().(*message); ok {
			ctx.Respond(theAnswer)
		}
	}))
	return &localCaller{l.sys.Root, pid}, nil
}

type localCaller struct {
	root *actor.RootContext
	pid  *actor.PID
}

// Call implements [kit.Caller].
func (c *localCaller) Call(n int, lat *kit.Latencies) error {
	for range n {
		begun := lat.Begin()
		reply, err := c.root.RequestFuture(c.pid, theMessage, kit.AskLimit).Result()
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
	props := actor.PropsFromProducer(func() actor.Actor { return &idle{started} })
	for range n {
		l.sys.Root.Spawn(props)
	}
	return nil
}

// idle is an actor that does nothing but start.
type idle struct{ started *kit.Latch }

// Receive implements [actor.Actor].
func (i *idle) Receive(ctx actor.Context) {
	if _, ok := ctx.Message().(*actor.Started); ok {
		i.started.Done()
	}
}

// SpawnStop implements [kit.Local].
func (l *local) SpawnStop(n int) error {
	props := actor.PropsFromProducer(func() actor.Actor { return &brief{} })
	for range n {
		if err := l.sys.Root.StopFuture(l.sys.Root.Spawn(props)).Wait(); err != nil {
			return fmt.Errorf("stop: %w", err)
		}
	}
	return nil
}

// brief is an actor without behaviour.
type brief struct{ _ time.Duration }

// Receive implements [actor.Actor].
func (*brief) Receive(actor.Context) {}
