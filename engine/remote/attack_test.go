package remote

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/actor"
)

// TestSecondAnswersAreNotCounted: an actor that answers an ask twice, or answers and then panics, is
// heard once, and Drain still knows what is open.
func TestSecondAnswersAreNotCounted(t *testing.T) {
	x, y := startNode(t, "x", nil), startNode(t, "y", nil)
	join(t, x, y)
	y.spawn("twice", func(c *actor.Context) {
		if m, ok := c.Message().(*wrapperspb.StringValue); ok {
			c.Respond(m)
			c.Respond(str("again"))
			panic("after the answer")
		}
	})
	for range 3 {
		got, err := x.ask(x.at(y, "twice"), str("once"), 10*time.Second)
		wantText(t, got, err, "once")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := y.r.Drain(ctx); err != nil {
		t.Errorf("drain: %v", err)
	}
	y.r.mu.Lock()
	defer y.r.mu.Unlock()
	for _, c := range y.r.conns() {
		if n := c.open.Load(); n != 0 {
			t.Errorf("%d asks are open", n)
		}
	}
}

// TestDrainAfterARefusedMessage: a message that could not be encoded leaves nothing to wait for.
func TestDrainAfterARefusedMessage(t *testing.T) {
	x, y := startNode(t, "x", nil), startNode(t, "y", nil)
	join(t, x, y)
	for name, msg := range map[string]any{"no message of the wire": 1, "a type that is not UTF-8": core.Message{Type: "\xff"}} {
		if err := x.at(y, "sink").Tell(msg); err == nil || core.DeliveryOf(err) != core.Undelivered {
			t.Errorf("%s: %v", name, err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := x.r.Drain(ctx); err != nil {
		t.Errorf("drain: %v", err)
	}
}

// TestDeadLetterOfTheHandler: an actor that passes on a dead letter of its own has run, and the asker
// must not hear that its ask was not delivered.
func TestDeadLetterOfTheHandler(t *testing.T) {
	x, y := startNode(t, "x", nil), startNode(t, "y", nil)
	join(t, x, y)
	y.spawn("relay", func(c *actor.Context) {
		if _, ok := c.Message().(*wrapperspb.StringValue); ok {
			c.RespondError(c.Tell(y.sys.Ref(core.PID{Address: y.addr, ID: "nobody", Member: y.id}), 1))
		}
	})
	_, err := x.ask(x.at(y, "relay"), str("x"), 10*time.Second)
	if !errors.Is(err, core.ErrStopped) || core.DeliveryOf(err) != core.Delivered {
		t.Errorf("ask = %v (%v); want stopped, delivered", err, core.DeliveryOf(err))
	}
	_, err = x.ask(x.at(y, "nobody"), str("x"), 10*time.Second)
	if !errors.Is(err, actor.ErrDeadLetter) || core.DeliveryOf(err) != core.Undelivered {
		t.Errorf("ask of nobody = %v (%v); want a dead letter, undelivered", err, core.DeliveryOf(err))
	}
}

// TestStopDoesNotWaitForStrangers: connections that never say anything end with the member.
func TestStopDoesNotWaitForStrangers(t *testing.T) {
	ca := newAuthority(t)
	for name, edit := range map[string]func(*Config){"plaintext": nil, "TLS": ca.asMember} {
		t.Run(name, func(t *testing.T) {
			x := startNode(t, "x", edit)
			for range 3 {
				c, err := net.Dial("tcp", x.addr)
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
			}
			eventually(t, "they are accepted", func() bool {
				g := x.r.accepter.(*grpcListener).gate
				g.mu.Lock()
				defer g.mu.Unlock()
				return g.fresh == 3
			})
			began := time.Now()
			if err := x.r.Stop(t.Context()); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(began); took > 2*time.Second {
				t.Errorf("stopped after %v", took)
			}
		})
	}
}
