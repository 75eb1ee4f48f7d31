package remote

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/actor"
	"github.com/granary-go/granary/protos/actorpb"
)

func TestStopInEveryState(t *testing.T) {
	ctx := t.Context()
	fresh := func() *Remote {
		r, err := New(Config{Cluster: "c", Member: "m"})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	r := fresh()
	for range 2 {
		if err := r.Stop(ctx); err != nil {
			t.Errorf("stop before Listen: %v", err)
		}
	}
	if _, err := r.Listen(ctx); !errors.Is(err, core.ErrConflict) {
		t.Errorf("listen after Stop: %v", err)
	}
	r = fresh()
	addr, err := r.Listen(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Stop(ctx); err != nil {
		t.Errorf("stop before Start: %v", err)
	}
	if c, err := net.Dial("tcp", addr); err == nil {
		t.Error("the port is still open")
		_ = c.Close()
	}
	sys, err := actor.New(actor.Config{Member: "m", Address: addr})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Start(sys); !errors.Is(err, core.ErrConflict) {
		t.Errorf("start after Stop: %v", err)
	}
	r.SetMembers(topology(t, nil, core.Member{ID: "x", Address: "127.0.0.1:1", Status: core.Up}))
	r.Block("x")
	if err := r.Drain(ctx); err != nil {
		t.Errorf("drain after Stop: %v", err)
	}
}

func TestStartChecks(t *testing.T) {
	n := prepareNode(t, "a", nil)
	wrong, err := actor.New(actor.Config{Member: "other", Address: n.addr})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.r.Start(wrong); !errors.Is(err, core.ErrInvalid) {
		t.Errorf("start of another member's system: %v", err)
	}
	if err := n.r.Start(n.sys); err != nil {
		t.Fatal(err)
	}
	if err := n.r.Start(n.sys); !errors.Is(err, core.ErrConflict) {
		t.Errorf("second start: %v", err)
	}
	if _, err := n.r.Listen(t.Context()); !errors.Is(err, core.ErrConflict) {
		t.Errorf("second listen: %v", err)
	}
	other, err := New(Config{Cluster: "c", Member: "m", Address: n.addr})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Listen(t.Context()); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("a port in use: %v", err)
	}
}

// TestNothingBeforeStart: a peer that connects early is served once Start was called, not before.
func TestNothingBeforeStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory(MemoryConfig{})
		a := startNode(t, "a", onHost(m, "a"))
		b := prepareNode(t, "b", onHost(m, "b"))
		b.echo("echo")
		top := topology(t, nil, a.member(), b.member())
		a.r.SetMembers(top)
		b.r.SetMembers(top)
		answered := make(chan error, 1)
		go func() {
			_, err := a.ask(a.at(b, "echo"), str("x"), time.Minute)
			answered <- err
		}()
		time.Sleep(time.Second)
		if len(answered) != 0 {
			t.Fatal("answered before Start")
		}
		if err := b.r.Start(b.sys); err != nil {
			t.Fatal(err)
		}
		if err := <-answered; err != nil {
			t.Error(err)
		}
	})
}

// TestDrainWaitsForAnswers: an ask that was accepted is answered before the links end.
func TestDrainWaitsForAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, a, b := pair(t, nil)
		b.spawn("slow", func(c *actor.Context) {
			if m, ok := c.Message().(*wrapperspb.StringValue); ok {
				time.Sleep(2 * time.Second)
				c.Respond(m)
			}
		})
		got := make(chan error, 1)
		go func() {
			_, err := a.ask(a.at(b, "slow"), str("x"), time.Minute)
			got <- err
		}()
		synctest.Wait()
		early, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := b.r.Drain(early); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("drain with an ask open: %v", err)
		}
		if err := b.r.Drain(t.Context()); err != nil {
			t.Errorf("drain: %v", err)
		}
		if err := b.r.Stop(t.Context()); err != nil {
			t.Errorf("stop: %v", err)
		}
		if err := <-got; err != nil {
			t.Errorf("the ask: %v", err)
		}
		if err := b.at(a, "x").Tell(str("x")); !errors.Is(err, core.ErrStopped) || core.DeliveryOf(err) != core.Undelivered {
			t.Errorf("send after Stop: %v", err)
		}
	})
}

// TestNothingIsLostByStop: what was sent before an orderly end arrives.
func TestNothingIsLostByStop(t *testing.T) {
	for range 10 {
		x, y := startNode(t, "x", nil), startNode(t, "y", nil)
		join(t, x, y)
		var got atomic.Int64
		_, err := y.sys.SpawnNamed("sink", &actor.Props{Mailbox: actor.MailboxConfig{Kind: actor.Unbounded}, New: func() actor.Actor {
			return actor.Func(func(c *actor.Context) {
				if _, ok := c.Message().(*wrapperspb.BytesValue); ok {
					got.Add(1)
				}
			})
		}})
		if err != nil {
			t.Fatal(err)
		}
		const n = 2_000
		for range n {
			if err := x.at(y, "sink").Tell(wrapperspb.Bytes(make([]byte, 500))); err != nil {
				t.Fatal(err)
			}
		}
		if err := x.r.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := x.r.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		eventually(t, "all arrived", func() bool { return got.Load() == n })
	}
}

// TestStopWithABrokenPeer: a peer that reads nothing does not hold up the stop.
func TestStopWithABrokenPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, a, b := pair(t, nil)
		m.Cut("a", "b")
		for range 100 {
			_ = a.at(b, "sink").Tell(wrapperspb.Bytes(make([]byte, 100_000)))
		}
		began := time.Now()
		if err := a.r.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > 8*time.Second {
			t.Errorf("stopped after %v", took)
		}
		m.Heal("a", "b")
	})
}

// TestStopsAtRandomMoments: 200 stops while links come up and traffic flows end in time and leave no
// goroutine.
func TestStopsAtRandomMoments(t *testing.T) {
	for i := range 200 {
		synctest.Test(t, func(t *testing.T) {
			m := NewMemory(MemoryConfig{Delay: time.Millisecond})
			a, b := startNode(t, "a", onHost(m, "a")), startNode(t, "b", onHost(m, "b"))
			b.echo("echo")
			show(t, a, b)
			done := make(chan struct{})
			go func() {
				defer close(done)
				for range 20 {
					_, _ = a.ask(a.at(b, "echo"), str("x"), time.Second)
				}
			}()
			time.Sleep(time.Duration(i) * 97 * time.Microsecond)
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			if err := []*node{a, b}[i%2].r.Stop(ctx); err != nil {
				t.Errorf("stop after %d steps: %v", i, err)
			}
			<-done
		})
	}
}

func TestClientOfACluster(t *testing.T) {
	tests := map[string]struct {
		authorize func(Peer, string, string) error
		allowed   bool
	}{
		"refused by default": {nil, false},
		"what Authorize allows": {func(p Peer, target, _ string) error {
			if p.Client && target != "echo" {
				return ErrDenied
			}
			return nil
		}, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			m := NewMemory(MemoryConfig{})
			a := startNode(t, "a", func(c *Config) { c.Transport, c.Authorize = m.Host("a"), tt.authorize })
			cl := startNode(t, "client", func(c *Config) { c.Transport, c.Client = m.Host("c"), true })
			join(t, a, cl)
			a.echo("echo")
			a.echo("private")
			got, err := cl.ask(cl.at(a, "echo"), str("x"), time.Minute)
			if tt.allowed {
				wantText(t, got, err, "x")
			} else if !errors.Is(err, core.ErrUnsupported) || core.DeliveryOf(err) != core.Undelivered {
				t.Errorf("a client was answered: %v, %v", got, err)
			}
			if _, err := cl.ask(cl.at(a, "private"), str("x"), time.Minute); core.DeliveryOf(err) != core.Undelivered || !errors.Is(err, core.ErrUnsupported) {
				t.Errorf("a client reached a private process: %v", err)
			}
			for _, err := range []error{cl.at(a, "echo").Stop(), cl.at(a, "echo").Poison()} {
				if !errors.Is(err, ErrDenied) || core.DeliveryOf(err) != core.Undelivered {
					t.Errorf("a client's message of the runtime: %v", err)
				}
			}
			for _, msg := range []proto.Message{&actorpb.Stop{}, &actorpb.PoisonPill{}} { // of a client gone bad
				_ = cl.r.endpoints["a"].post(&outgoing{target: "echo", msg: msg})
			}
			eventually(t, "both are refused", func() bool { return countLines(a.log, "message refused") >= 2 })
			if _, err := a.ask(a.sys.Ref(core.PID{Address: a.addr, ID: "echo", Member: "a"}), str("x"), time.Minute); err != nil {
				t.Errorf("a client stopped a process: %v", err)
			}
		})
	}
}

// TestMemberReachesItsClient: to a client the way is the stream that it opened, as long as that lives.
func TestMemberReachesItsClient(t *testing.T) {
	m := NewMemory(MemoryConfig{})
	a := startNode(t, "a", func(c *Config) {
		c.Transport, c.Authorize = m.Host("a"), func(Peer, string, string) error { return nil }
	})
	cl := startNode(t, "client", func(c *Config) { c.Transport, c.Client = m.Host("c"), true })
	join(t, a, cl)
	got := make(chan string, 1)
	me := cl.spawn("me", func(c *actor.Context) {
		if m, ok := c.Message().(*wrapperspb.StringValue); ok {
			got <- m.GetValue()
		}
	})
	var back *actor.Ref
	seen := make(chan struct{})
	a.spawn("greeter", func(c *actor.Context) {
		if _, ok := c.Message().(*wrapperspb.StringValue); ok {
			back = c.Sender()
			_ = back.Tell(str("hello"))
			close(seen)
		}
	})
	if err := cl.at(a, "greeter").Send(actor.Envelope{Message: str("x"), Sender: me}); err != nil {
		t.Fatal(err)
	}
	if s := <-got; s != "hello" {
		t.Errorf("the client got %q", s)
	}
	<-seen
	if err := cl.r.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the client is gone", func() bool { return errors.Is(back.Tell(str("late")), core.ErrUnreachable) })
	eventually(t, "nothing is left of it", func() bool {
		a.r.mu.Lock()
		defer a.r.mu.Unlock()
		return len(a.r.endpoints) == 0 && len(a.r.incoming) == 0 && len(a.r.epochs) == 0
	})
}
