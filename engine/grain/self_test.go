package grain_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/grain"
)

// backend stands behind a Self in tests.
type backend struct {
	*node
	a       core.Activation
	stopped bool
	timers  []bool // one each: every
}

func (b *backend) Activation() core.Activation { return b.a }
func (b *backend) Stop()                       { b.stopped = true }
func (b *backend) View() *core.View            { return nil }
func (b *backend) Timer(_ time.Duration, every bool, f func(context.Context) error) func() {
	b.timers = append(b.timers, every)
	_ = f(context.Background())
	return func() { b.timers = nil }
}

func TestSelf(t *testing.T) {
	a := core.Activation{Identity: plainID, Placement: core.Placement{Token: core.Token{Epoch: 3, Seq: 4}}}
	b := &backend{node: newNode(t, plainKind(), false), a: a}
	s := grain.NewSelf(b)
	if s.Identity() != plainID || s.Token() != a.Token || s.Activation() != a || s.View() != nil {
		t.Errorf("%v, %v", s.Identity(), s.Token())
	}
	if text, err := grain.Call[string](t.Context(), s, plainID, "Text", "x"); text != "x" || err != nil {
		t.Errorf("Call: %q, %v", text, err)
	}
	if err := grain.Tell(t.Context(), s, plainID, "Any", 1); err != nil || b.sent.Method != "Any" {
		t.Errorf("Tell: %v", err)
	}
	runs := 0
	stop := s.After(time.Second, func(context.Context) error { runs++; return nil })
	s.Every(time.Second, func(context.Context) error { runs++; return nil })
	if runs != 2 || len(b.timers) != 2 || b.timers[0] || !b.timers[1] {
		t.Errorf("%d runs, timers %v", runs, b.timers)
	}
	if stop(); b.timers != nil {
		t.Error("the timer was not stopped")
	}
	if s.Stop(); !b.stopped {
		t.Error("not stopped")
	}
}

// A Self that never was of an activation refuses, and does not panic.
func TestZeroSelf(t *testing.T) {
	var s grain.Self
	s.Stop()
	s.After(0, nil)()
	s.Every(0, nil)()
	if s.Identity() != (core.Identity{}) || !s.Token().IsZero() || s.View() != nil {
		t.Error("the zero Self has an identity")
	}
	_, err := grain.Call[string](t.Context(), s, plainID, "Text", "x")
	for _, err := range []error{err, grain.Tell(t.Context(), s, plainID, "Text", "x")} {
		if !errors.Is(err, core.ErrStopped) || core.DeliveryOf(err) != core.Undelivered {
			t.Errorf("%v, %v", err, core.DeliveryOf(err))
		}
	}
}

func TestTurn(t *testing.T) {
	type key struct{}
	if _, ok := grain.FromContext(t.Context()); ok {
		t.Error("a turn outside of any")
	}
	var none *grain.Turn
	if _, ok := grain.FromContext(grain.WithTurn(t.Context(), none)); ok {
		t.Error("a nil turn")
	}
	b := &backend{node: newNode(t, plainKind(), false), a: core.Activation{Identity: plainID}}
	turn := &grain.Turn{Self: grain.NewSelf(b), Peer: core.Member{ID: "m1"}, Headers: map[string]string{"trace": "7"}}
	ctx, cancel := context.WithCancel(grain.WithTurn(context.WithValue(t.Context(), key{}, "v"), turn))
	defer cancel()
	got, ok := grain.FromContext(ctx)
	if !ok || got.Identity() != plainID || got.Peer.ID != "m1" || got.Header("trace") != "7" || got.Header("none") != "" {
		t.Errorf("%+v, %v", got, ok)
	}
	if ctx.Value(key{}) != "v" {
		t.Error("the context around it is lost")
	}
	parent := t.Context()
	if n := testing.AllocsPerRun(100, func() {
		if _, ok := grain.FromContext(grain.WithTurn(parent, turn)); !ok {
			t.Error("lost")
		}
	}); n > 1 {
		t.Errorf("%v allocations", n)
	}
}
