package actor

import (
	"context"
	"fmt"
	"strings"

	"github.com/granary-go/granary/core"
)

// endAndWait sends m, if there is one, and waits until the actor has ended.
func (s *System) endAndWait(ctx context.Context, r *Ref, m SystemMessage) error {
	c := r.local(s)
	if c == nil && r.foreign != nil {
		return s.endForeign(ctx, r, m)
	}
	if c == nil {
		return nil
	}
	w, _ := s.waiters.Get().(*waiter)
	if w == nil {
		w = &waiter{done: make(chan struct{}, 1)}
	}
	if !c.wait(w) {
		s.waiters.Put(w)
		return nil
	}
	if m != nil {
		c.system(m) // refused by a dead cell only, which has told the waiter
	}
	select {
	case <-w.done:
		s.waiters.Put(w)
		return nil
	case <-ctx.Done():
		return fmt.Errorf("actor: wait for the end of %s: %w", r, ctx.Err())
	}
}

// endForeign watches another member's actor by a process of its own.
func (s *System) endForeign(ctx context.Context, r *Ref, m SystemMessage) error {
	w := &endWatch{told: make(chan TerminatedReason, 1)}
	name := s.name("$wait/")
	unregister, err := s.Register(name, w)
	if err != nil {
		return err
	}
	defer unregister()
	self := s.Ref(core.PID{Address: s.address, ID: name, Member: s.member})
	if err := r.SendSystem(&Watch{Watcher: self}); err != nil {
		return err
	}
	if m != nil {
		if err := r.SendSystem(m); err != nil {
			s.unwatch(r, self)
			return err
		}
	}
	select {
	case why := <-w.told:
		if why == TerminatedUnreachable {
			return fmt.Errorf("actor: wait for the end of %s: %w", r, core.ErrUnreachable)
		}
		return nil
	case <-ctx.Done():
		s.unwatch(r, self)
		return fmt.Errorf("actor: wait for the end of %s: %w", r, ctx.Err())
	}
}

// endWatch is a process that waits for one Terminated.
type endWatch struct{ told chan TerminatedReason }

func (w *endWatch) Send(target core.PID, _ Envelope) error { return &DeadLetterError{Target: target} }

func (w *endWatch) SendSystem(_ core.PID, m SystemMessage) error {
	if t, ok := m.(*Terminated); ok {
		select {
		case w.told <- t.Why:
		default:
		}
	}
	return nil
}

// Stop stops all actors, those without a parent first and at once, waits for their Stopped turns, and
// then for the system's goroutines. From its beginning nothing can be spawned. If ctx ends before, the
// error names who is left; the stop goes on behind it, and Stop may be called again.
func (s *System) Stop(ctx context.Context) error {
	s.stopping.Store(true)
	for _, c := range s.registry.tops() {
		c.askStop()
	}
	if s.live.Load() > 0 {
		select {
		case <-s.empty:
		case <-ctx.Done():
			return s.left(ctx)
		}
	}
	s.events.close()
	s.dispatch.stop()
	if err := s.goroutines.Wait(ctx); err != nil {
		return fmt.Errorf("actor: stop: %w", err)
	}
	return nil
}

// left says which actors have not ended.
func (s *System) left(ctx context.Context) error {
	const named = 10
	var names []string
	for _, c := range s.registry.list(func(*cell) bool { return true }, named) {
		names = append(names, c.ref.id)
	}
	return fmt.Errorf("actor: stop: %d actors left, such as %s: %w", s.live.Load(), strings.Join(names, ", "), context.Cause(ctx))
}
