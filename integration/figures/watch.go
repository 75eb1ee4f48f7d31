package main

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/granary-go/granary/core"
)

// seen is what a watcher of a cluster knows of its members, with a signal at every change.
type seen struct {
	mu      sync.Mutex // guards what follows
	members map[core.MemberID]bool
	changed chan struct{}
}

func newSeen() *seen { return &seen{changed: make(chan struct{})} }

func (s *seen) report(v *core.View) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.members = map[core.MemberID]bool{}
	for m := range v.All() {
		s.members[m.ID] = true
	}
	close(s.changed)
	s.changed = make(chan struct{})
}

// until waits until id is seen, or is seen no more.
func (s *seen) until(ctx context.Context, id core.MemberID, there bool) error {
	for {
		s.mu.Lock()
		now, changed := s.members[id], s.changed
		s.mu.Unlock()
		if now == there {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w", id, ctx.Err())
		}
	}
}

// all waits for several.
func all(ctx context.Context, watchers []*seen, id core.MemberID, there bool) error {
	for _, w := range watchers {
		if err := w.until(ctx, id, there); err != nil {
			return err
		}
	}
	return nil
}

// lent is what a provider gets where no node lends it anything.
func lent() core.Env {
	return core.Env{Logger: slog.New(slog.DiscardHandler), Clock: core.SystemClock{}, Hooks: &core.Hooks{},
		Rand: rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())), Go: func(_ string, f func()) { go f() }}
}

// port is below the ephemeral ones: nobody listens on what these rows say.
var port = func() func() int {
	var mu sync.Mutex
	next := 20000
	return func() int { mu.Lock(); defer mu.Unlock(); next++; return next }
}()

// row is one of a member that does nothing but be there.
func row(name string) core.Member {
	return core.Member{ID: core.MemberID(fmt.Sprintf("%s%x", name, rand.Uint64())), Address: fmt.Sprintf("127.0.0.1:%d", port()),
		Status: core.Up, Joined: uint64(time.Now().UnixMilli())}
}
