package main

import (
	"bytes"
	"fmt"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/asynkron/protoactor-go/remote"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/granary-go/granary/bench/kit"
)

const loopback = "127.0.0.1"

// newRemote starts an actor system that listens on a loopback port that the kernel chooses.
func newRemote() *actor.ActorSystem {
	sys := actor.NewActorSystem()
	remote.NewRemote(sys, remote.Configure(loopback, 0)).Start()
	return sys
}

// server is the process that receives.
type server struct{ sys *actor.ActorSystem }

// Server implements [kit.Subject].
func (subject) Server(sink *kit.Counter, echoes int) (kit.Server, error) {
	sys := newRemote()
	_, err := sys.Root.SpawnNamed(actor.PropsFromFunc(func(ctx actor.Context) {
		if _, ok := ctx.Message().(*wrapperspb.BytesValue); ok {
			sink.Hit()
		}
	}), "sink")
	if err != nil {
		return nil, err
	}
	for i := range echoes {
		_, err := sys.Root.SpawnNamed(actor.PropsFromFunc(func(ctx actor.Context) {
			if m, ok := ctx.Message().(*wrapperspb.BytesValue); ok {
				ctx.Respond(m)
			}
		}), echoName(i))
		if err != nil {
			return nil, err
		}
	}
	return &server{sys}, nil
}

func echoName(i int) string { return fmt.Sprintf("echo-%d", i) }

// Address implements [kit.Server].
func (s *server) Address() string { return s.sys.Address() }

// Meet implements [kit.Server]: the peer accepts whoever connects.
func (s *server) Meet(string) error { return nil }

// client is the process that sends.
type client struct {
	sys    *actor.ActorSystem
	server string
}

// Client implements [kit.Subject].
func (subject) Client(address string) (kit.Client, error) {
	return &client{newRemote(), address}, nil
}

// Address implements [kit.Client].
func (c *client) Address() string { return c.sys.Address() }

// Sink implements [kit.Client].
func (c *client) Sink(size int) (kit.Sink, error) {
	return &remoteSink{c.sys.Root, actor.NewPID(c.server, "sink"), wrapperspb.Bytes(kit.Payload(size))}, nil
}

type remoteSink struct {
	root    *actor.RootContext
	pid     *actor.PID
	message *wrapperspb.BytesValue
}

// Send implements [kit.Sink].
func (s *remoteSink) Send(n int) error {
	for range n {
		s.root.Send(s.pid, s.message)
	}
	return nil
}

// Echo implements [kit.Client].
func (c *client) Echo(index, size int) (kit.Caller, error) {
	return &remoteCaller{c.sys.Root, actor.NewPID(c.server, echoName(index)), wrapperspb.Bytes(kit.Payload(size))}, nil
}

type remoteCaller struct {
	root    *actor.RootContext
	pid     *actor.PID
	message *wrapperspb.BytesValue
}

// Call implements [kit.Caller].
func (c *remoteCaller) Call(n int, lat *kit.Latencies) error {
	for range n {
		begun := lat.Begin()
		reply, err := c.root.RequestFuture(c.pid, c.message, kit.AskLimit).Result()
		if err != nil {
			return err
		}
		m, ok := reply.(*wrapperspb.BytesValue)
		if !ok || !bytes.Equal(m.Value, c.message.Value) {
			return fmt.Errorf("ask: reply is %T, not the payload", reply)
		}
		lat.End(begun)
	}
	return nil
}
