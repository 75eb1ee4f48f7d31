package suitetest

import (
	"context"
	"hash/fnv"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/granary-go/granary/core"
)

// Clock is core.Clock by the clock of package time, Elapsed included: within a bubble of
// testing/synctest all of it is the bubble's.
type Clock struct{ start time.Time }

// NewClock makes a Clock whose Elapsed counts from now.
func NewClock() *Clock { return &Clock{start: time.Now()} }

// Now is time.Now.
func (c *Clock) Now() time.Time { return time.Now() }

// AfterFunc is time.AfterFunc.
func (c *Clock) AfterFunc(d time.Duration, f func()) (stop func() bool) {
	return time.AfterFunc(d, f).Stop
}

// Elapsed is the time since the clock was made.
func (c *Clock) Elapsed() time.Duration { return time.Since(c.start) }

// Group counts goroutines by name.
type Group struct {
	mu      sync.Mutex // guards what follows
	running map[string]int
	total   int
	ended   chan struct{} // closed and replaced whenever one ends
}

// Go runs f on a goroutine that counts under name.
func (g *Group) Go(name string, f func()) {
	g.add(name, 1)
	go func() {
		defer g.add(name, -1)
		f()
	}()
}

func (g *Group) add(name string, n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.running == nil {
		g.running, g.ended = map[string]int{}, make(chan struct{})
	}
	g.running[name] += n
	if g.running[name] == 0 {
		delete(g.running, name)
	}
	g.total += n
	if n < 0 {
		close(g.ended)
		g.ended = make(chan struct{})
	}
}

// Left waits up to d until no goroutine is left, and returns the names of those that are.
func (g *Group) Left(d time.Duration) []string {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		names, ended := g.names()
		if len(names) == 0 {
			return nil
		}
		select {
		case <-ended:
		case <-timer.C:
			return names
		}
	}
}

func (g *Group) names() ([]string, <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	var out []string
	for name := range g.running {
		out = append(out, name)
	}
	slices.Sort(out)
	return out, g.ended
}

// NewEnv is what a node called name would lend to a part: a silent logger, a Clock, a random stream
// that depends on name only, no hooks, and goroutines that g counts.
func NewEnv(name string, g *Group) core.Env {
	h := fnv.New64a()
	_, _ = h.Write([]byte(name))
	return core.Env{
		Logger: slog.New(slog.DiscardHandler),
		Clock:  NewClock(),
		Rand:   rand.New(rand.NewPCG(h.Sum64(), 1)),
		Hooks:  &core.Hooks{},
		Go:     g.Go,
	}
}

// WithTimeout is the context of t with a limit; it is cancelled when t ends.
func WithTimeout(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// Ended is a context that was cancelled before it was handed out.
func Ended(t testing.TB) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}
