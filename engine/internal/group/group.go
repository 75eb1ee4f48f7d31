// Package group starts goroutines that have a name, so that a part that does not stop can say who is
// left of it.
package group

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// ErrLeft is wrapped by the error of Wait when goroutines did not end in time.
var ErrLeft = errors.New("goroutines left")

// Group is a set of named goroutines. It is safe for concurrent use; make it with New or With.
type Group struct {
	start func(name string, f func()) // how a goroutine is started; nil: the go statement

	mu   sync.Mutex
	live map[string]int // by name; several goroutines may share one
	n    int
	idle chan struct{} // closed when n falls to zero; made by those who wait
}

// New is an empty group.
func New() *Group { return &Group{live: make(map[string]int)} }

// With is an empty group whose goroutines are started by start, for instance by core.Env.Go, so that
// their owner can count them as well. A nil start is the go statement.
func With(start func(name string, f func())) *Group {
	g := New()
	g.start = start
	return g
}

// Go runs f on a goroutine of its own under this name. It never blocks. A panic in f is not caught.
func (g *Group) Go(name string, f func()) {
	g.mu.Lock()
	g.live[name]++
	g.n++
	g.mu.Unlock()
	run := func() {
		defer g.done(name)
		f()
	}
	if g.start != nil {
		g.start(name, run)
		return
	}
	go run()
}

func (g *Group) done(name string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.n--
	if g.live[name]--; g.live[name] == 0 {
		delete(g.live, name)
	}
	if g.n == 0 && g.idle != nil {
		close(g.idle)
		g.idle = nil
	}
}

// Wait returns nil once no goroutine is left. If ctx ends before, the error names who is left and
// wraps ErrLeft and the cause of ctx. Goroutines may be started while it waits; it waits for them too.
func (g *Group) Wait(ctx context.Context) error {
	for {
		g.mu.Lock()
		if g.n == 0 {
			g.mu.Unlock()
			return nil
		}
		if g.idle == nil {
			g.idle = make(chan struct{})
		}
		idle := g.idle
		g.mu.Unlock()
		select {
		case <-idle:
		case <-ctx.Done():
			left := g.Left()
			if len(left) == 0 {
				return nil
			}
			return fmt.Errorf("group: %w: %s: %w", ErrLeft, strings.Join(left, ", "), context.Cause(ctx))
		}
	}
}

// Left names the goroutines that have not ended, sorted; a name that several share stands there with
// their number, as in "reader ×3".
func (g *Group) Left() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	names := slices.Sorted(maps.Keys(g.live))
	for i, name := range names {
		if n := g.live[name]; n > 1 {
			names[i] = fmt.Sprintf("%s ×%d", name, n)
		}
	}
	return names
}

// Len is the number of goroutines that have not ended.
func (g *Group) Len() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.n
}
