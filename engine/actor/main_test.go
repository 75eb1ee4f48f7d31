package actor_test

import (
	"io"
	"log/slog"
	"testing"
	"time"

	"context"

	"github.com/granary-go/granary/core/leaktest"
	"github.com/granary-go/granary/engine/actor"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// newSystem makes a System that is stopped with the test, and must then have nothing left.
func newSystem(t testing.TB, change ...func(*actor.Config)) *actor.System {
	t.Helper()
	cfg := actor.Config{Member: "m1", Address: "here:1", Logger: slog.New(slog.NewTextHandler(io.Discard, nil))}
	for _, f := range change {
		f(&cfg)
	}
	s, err := actor.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := s.Stop(ctx); err != nil {
			t.Errorf("Stop = %v", err)
		}
	})
	return s
}

// spawn starts f as an actor.
func spawn(t testing.TB, s *actor.System, f func(c *actor.Context)) *actor.Ref {
	t.Helper()
	return spawnProps(t, s, actor.FromFunc(f))
}

func spawnProps(t testing.TB, s *actor.System, p *actor.Props) *actor.Ref {
	t.Helper()
	ref, err := s.Spawn(p)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

// ask fails the test on an error.
func ask(t testing.TB, to *actor.Ref, msg any) any {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	got, err := to.Ask(ctx, msg)
	if err != nil {
		t.Fatalf("Ask(%v) of %s = %v", msg, to, err)
	}
	return got
}

// recv gives the next value of ch, or fails the test after a minute.
func recv[T any](t testing.TB, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(time.Minute):
		t.Fatal("nothing came within a minute")
		panic("unreachable")
	}
}

// echo answers everything but lifecycle messages with itself.
func echo(c *actor.Context) {
	switch c.Message().(type) {
	case actor.Started, actor.Stopping, actor.Stopped, actor.Restarting, actor.ReceiveTimeout:
	default:
		_ = c.Respond(c.Message())
	}
}

// gate is a channel that an actor waits at while the test holds it.
type hold chan struct{}

// blocker is an actor that stops at each hold it gets until that is closed, and tells entered.
func blocker(entered chan<- any, others func(c *actor.Context)) func(c *actor.Context) {
	return func(c *actor.Context) {
		if h, ok := c.Message().(hold); ok {
			entered <- h
			<-h
			return
		}
		if others != nil {
			others(c)
		}
	}
}

func noop(*actor.Context) {}
