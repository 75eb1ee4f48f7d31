// Package actortest helps to test actors: a System that ends with the test, a Probe that stands in for
// an actor and keeps what it is sent, and Immutable, which finds messages that were changed after they
// were sent. All of it works in real time and within a bubble of testing/synctest.
package actortest

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/actor"
)

// patience is how long a test waits for what must come. It is never waited in full unless a test fails.
const patience = 10 * time.Second

// NewSystem makes a System that is stopped with the test; what is left of it after 10 s fails the test.
// Without a Logger in cfg it logs to the test.
func NewSystem(t testing.TB, cfg actor.Config) *actor.System {
	t.Helper()
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	s, err := actor.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
		defer cancel()
		if err := s.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return s
}

// Spawn starts an actor, or fails the test.
func Spawn(t testing.TB, s *actor.System, p *actor.Props) *actor.Ref {
	t.Helper()
	ref, err := s.Spawn(p)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

// Probe is a process that keeps the messages it is sent, up to 10,000, until the test asks for them. Its
// methods are for the goroutine of the test.
type Probe struct {
	t    testing.TB
	sys  *actor.System
	ref  *actor.Ref
	got  chan actor.Envelope
	drop func()
}

// NewProbe makes a Probe under a name that begins with "$probe/". It is gone with the test.
func NewProbe(t testing.TB, s *actor.System) *Probe {
	t.Helper()
	p := &Probe{t: t, sys: s, got: make(chan actor.Envelope, 10_000)}
	pid := core.PID{Address: s.Address(), Member: s.Member(), ID: fmt.Sprintf("$probe/%s/%p", t.Name(), p)}
	drop, err := s.Register(pid.ID, (*process)(p))
	if err != nil {
		t.Fatal(err)
	}
	p.ref, p.drop = s.Ref(pid), drop
	t.Cleanup(drop)
	return p
}

// Ref is what actors send to.
func (p *Probe) Ref() *actor.Ref { return p.ref }

// Next gives the next message with what belongs to it, or fails the test after 10 s.
func (p *Probe) Next() actor.Envelope {
	p.t.Helper()
	select {
	case e := <-p.got:
		return e
	case <-time.After(patience):
		p.t.Fatalf("probe: no message within %v", patience)
		return actor.Envelope{}
	}
}

// Expect gives the next message, which must be a T.
func Expect[T any](p *Probe) T {
	p.t.Helper()
	e := p.Next()
	m, ok := e.Message.(T)
	if !ok {
		p.t.Fatalf("probe: got %T %v; want a %T", e.Message, e.Message, m)
	}
	return m
}

// Empty fails the test if a message is there. In a bubble, synctest.Wait before it makes that certain.
func (p *Probe) Empty() {
	p.t.Helper()
	select {
	case e := <-p.got:
		p.t.Errorf("probe: got %T %v; want nothing", e.Message, e.Message)
	default:
	}
}

// Send sends msg to to, with the Probe as sender, so that the answer comes to the Probe.
func (p *Probe) Send(to *actor.Ref, msg any) {
	p.t.Helper()
	if err := to.Send(actor.Envelope{Message: msg, Sender: p.ref}); err != nil {
		p.t.Fatal(err)
	}
}

// Ask sends msg to to and gives the answer, or fails the test after 10 s.
func (p *Probe) Ask(to *actor.Ref, msg any) any {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	v, err := to.Ask(ctx, msg)
	if err != nil {
		p.t.Fatal(err)
	}
	return v
}

// Watch makes the Probe get a *actor.Terminated when to ends.
func (p *Probe) Watch(to *actor.Ref) {
	p.t.Helper()
	if err := to.SendSystem(&actor.Watch{Watcher: p.ref}); err != nil {
		p.t.Fatal(err)
	}
}

// process is the Probe as others see it.
type process Probe

// Send keeps e; a full Probe refuses.
func (p *process) Send(target core.PID, e actor.Envelope) error {
	select {
	case p.got <- e:
		return nil
	default:
		return &actor.OverloadError{Target: target, Messages: cap(p.got)}
	}
}

// SendSystem keeps what a watcher is told.
func (p *process) SendSystem(target core.PID, m actor.SystemMessage) error {
	if t, ok := m.(*actor.Terminated); ok {
		return p.Send(target, actor.Envelope{Message: t})
	}
	return nil
}

var _ actor.Process = (*process)(nil)
