package grain

import (
	"context"
	"time"

	"github.com/granary-go/granary/core"
)

// Backend is what stands behind a Self.
//
// Implemented by engine/cluster, and by tests of grains; called through Self only. Safe for
// concurrent use. After the end of the activation, Call and Tell return core.ErrStopped.
type Backend interface {
	Caller
	Activation() core.Activation
	Stop()
	// Timer runs f as a turn after d, or each d, until stop is called or the activation ends.
	Timer(d time.Duration, every bool, f func(context.Context) error) (stop func())
	View() *core.View
}

// Self is what one activation knows and may do. Its factory gets it. It is a Caller. It is a small
// value, safe for concurrent use; the zero Self is of no activation, and its calls fail.
type Self struct {
	b Backend
}

// NewSelf is the Self of the activation behind b. The engine calls it; so does a test that makes a
// grain without a node.
func NewSelf(b Backend) Self { return Self{b} }

// Identity names the grain.
func (s Self) Identity() core.Identity { return s.Activation().Identity }

// Token is the fence, to hand to outside systems: a later activation of this identity has a greater
// one, from Level 1 up.
func (s Self) Token() core.Token { return s.Activation().Token }

// Activation is the identity with where it runs.
func (s Self) Activation() core.Activation {
	if s.b == nil {
		return core.Activation{}
	}
	return s.b.Activation()
}

// View is the view of the cluster that this member has installed; never nil in an activation.
func (s Self) View() *core.View {
	if s.b == nil {
		return nil
	}
	return s.b.View()
}

// Stop ends the activation when the present turn and the queue are done. It returns at once.
func (s Self) Stop() {
	if s.b != nil {
		s.b.Stop()
	}
}

// Call calls another grain. Pass the ctx of the turn on: it carries the chain of calls, by which a
// call that would wait for itself is refused.
func (s Self) Call(ctx context.Context, r Request) (Reply, error) {
	if s.b == nil {
		return Reply{}, errNoActivation()
	}
	return s.b.Call(ctx, r)
}

// Tell is Call without an answer.
func (s Self) Tell(ctx context.Context, r Request) error {
	if s.b == nil {
		return errNoActivation()
	}
	return s.b.Tell(ctx, r)
}

// After runs f as a turn of this activation once d is over, unless stop is called or the activation
// ends before. An error of f goes to the log.
func (s Self) After(d time.Duration, f func(context.Context) error) (stop func()) {
	return s.timer(d, false, f)
}

// Every runs f as a turn of this activation each d, until stop is called or the activation ends. A
// turn that is late is not made up for. An error of f goes to the log.
func (s Self) Every(d time.Duration, f func(context.Context) error) (stop func()) {
	return s.timer(d, true, f)
}

func (s Self) timer(d time.Duration, every bool, f func(context.Context) error) (stop func()) {
	if s.b == nil {
		return func() {}
	}
	return s.b.Timer(d, every, f)
}

func errNoActivation() error {
	return core.WithDelivery(Errorf(Unavailable, "the zero Self calls nobody: use the one that the factory gets: %w", core.ErrStopped), core.Undelivered)
}

var _ Caller = Self{}
