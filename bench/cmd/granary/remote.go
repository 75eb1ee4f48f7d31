package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/actor"
	"github.com/granary-go/granary/engine/remote"

	"github.com/granary-go/granary/bench/kit"
)

// end is one of the two processes of the remote rows: an actor system and its remoting, without
// membership. Its address is that of a core.Member, "ID@host:port".
type end struct {
	sys    *actor.System
	remote *remote.Remote
	self   core.Member
}

// newEnd starts an end that listens on a loopback port that the kernel chooses.
func newEnd(id core.MemberID) (*end, error) {
	log := slog.New(slog.DiscardHandler)
	r, err := remote.New(remote.Config{
		Cluster: "bench", Member: id, Types: remote.NewTypes(&wrapperspb.BytesValue{}), Env: core.Env{Logger: log},
	})
	if err != nil {
		return nil, err
	}
	address, err := r.Listen(context.Background())
	if err != nil {
		return nil, err
	}
	sys, err := actor.New(actor.Config{Member: id, Address: address, Logger: log})
	if err != nil {
		return nil, err
	}
	return &end{sys, r, core.Member{ID: id, Address: address, Status: core.Up}}, r.Start(sys)
}

// Address implements [kit.Server] and [kit.Client].
func (e *end) Address() string { return string(e.self.ID) + "@" + e.self.Address }

// Meet implements [kit.Server]: it makes both ends members of one view.
func (e *end) Meet(other string) error {
	_, err := e.meet(other)
	return err
}

func (e *end) meet(other string) (core.Member, error) {
	id, address, ok := strings.Cut(other, "@")
	if !ok {
		return core.Member{}, fmt.Errorf("address %q: want ID@host:port", other)
	}
	peer := core.Member{ID: core.MemberID(id), Address: address, Status: core.Up}
	view, err := core.NewView(core.ViewRecord{Members: []core.Member{e.self, peer}})
	if err != nil {
		return core.Member{}, err
	}
	e.remote.SetMembers(core.Diff(nil, view))
	return peer, nil
}

// Server implements [kit.Subject].
func (subject) Server(sink *kit.Counter, echoes int) (kit.Server, error) {
	e, err := newEnd("server")
	if err != nil {
		return nil, err
	}
	props := actor.FromFunc(func(ctx *actor.Context) {
		if _, ok := ctx.Message().(*wrapperspb.BytesValue); ok {
			sink.Hit()
		}
	})
	props.Mailbox.Kind = actor.Unbounded
	if _, err := e.sys.SpawnNamed("sink", props); err != nil {
		return nil, err
	}
	for i := range echoes {
		_, err := e.sys.SpawnNamed(echoName(i), actor.FromFunc(func(ctx *actor.Context) {
			if m, ok := ctx.Message().(*wrapperspb.BytesValue); ok {
				_ = ctx.Respond(m) // a lost answer ends in the caller's time limit
			}
		}))
		if err != nil {
			return nil, err
		}
	}
	return e, nil
}

func echoName(i int) string { return fmt.Sprintf("echo-%d", i) }

// client is the process that sends.
type client struct {
	*end
	server core.Member
}

// Client implements [kit.Subject].
func (subject) Client(address string) (kit.Client, error) {
	e, err := newEnd("client")
	if err != nil {
		return nil, err
	}
	server, err := e.meet(address)
	return &client{e, server}, err
}

// target is an actor of the server, once the link is open.
func (c *client) target(name string) (*actor.Ref, error) {
	ctx, cancel := context.WithTimeout(context.Background(), kit.AskLimit)
	defer cancel()
	if err := c.remote.Connected(ctx, []core.MemberID{c.server.ID}); err != nil {
		return nil, err
	}
	return c.sys.Ref(core.PID{Address: c.server.Address, ID: name, Member: c.server.ID}), nil
}

// Sink implements [kit.Client].
func (c *client) Sink(size int) (kit.Sink, error) {
	ref, err := c.target("sink")
	return &remoteSink{ref, wrapperspb.Bytes(kit.Payload(size))}, err
}

type remoteSink struct {
	ref     *actor.Ref
	message *wrapperspb.BytesValue
}

// Send implements [kit.Sink]. A link whose queue is full says how long to wait.
func (s *remoteSink) Send(n int) error {
	for range n {
		err := s.ref.Tell(s.message)
		for errors.Is(err, core.ErrOverloaded) {
			wait, _ := core.RetryAfter(err)
			time.Sleep(wait)
			err = s.ref.Tell(s.message)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Echo implements [kit.Client].
func (c *client) Echo(index, size int) (kit.Caller, error) {
	ref, err := c.target(echoName(index))
	return &remoteCaller{c.sys, ref, wrapperspb.Bytes(kit.Payload(size))}, err
}

type remoteCaller struct {
	sys     *actor.System
	ref     *actor.Ref
	message *wrapperspb.BytesValue
}

// Call implements [kit.Caller]. The calls share one context with a deadline, as those of one request do.
func (c *remoteCaller) Call(n int, lat *kit.Latencies) error {
	ctx, cancel := context.WithTimeout(context.Background(), kit.AskLimit)
	defer cancel()
	for range n {
		begun := lat.Begin()
		reply, err := c.sys.Ask(ctx, c.ref, c.message)
		if err != nil {
			return err
		}
		m, ok := reply.(*wrapperspb.BytesValue)
		if !ok || !bytes.Equal(m.GetValue(), c.message.GetValue()) {
			return fmt.Errorf("ask: reply is %T, not the payload", reply)
		}
		lat.End(begun)
	}
	return nil
}
