//go:build failpoints

package failpoint

import (
	"fmt"
	"os"
	"sync"
)

// points are the actions of this process. They are package-level because points are met everywhere
// and handed nothing; this file is compiled into test builds only.
var points table

// table maps points to actions.
type table struct {
	once sync.Once // reads the environment

	mu      sync.Mutex // guards what follows
	actions map[string]*action
	passed  map[string]int
}

// action is what happens at a point, left times; negative: every time.
type action struct {
	left int
	do   func() error
}

// Here does the action that is set for name.
func Here(name string) { _ = points.pass(name) }

// Err does the action that is set for name, and returns its error.
func Err(name string) error {
	if err := points.pass(name); err != nil {
		return fmt.Errorf("failpoint %s: %w", name, err)
	}
	return nil
}

// Set makes f the action of name, until restore is called. It runs on the goroutine that passes, may
// block, and may be called from several goroutines at once.
func Set(name string, f func() error) (restore func()) {
	return points.set(name, &action{left: -1, do: f})
}

// Passed counts how often name was passed.
func Passed(name string) int {
	points.mu.Lock()
	defer points.mu.Unlock()
	return points.passed[name]
}

func (t *table) set(name string, a *action) (restore func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.init()
	before, had := t.actions[name]
	t.actions[name] = a
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if had {
			t.actions[name] = before
		} else {
			delete(t.actions, name)
		}
	}
}

func (t *table) init() {
	if t.actions == nil {
		t.actions, t.passed = map[string]*action{}, map[string]int{}
	}
}

func (t *table) pass(name string) error {
	t.once.Do(t.environment)
	t.mu.Lock()
	t.init()
	t.passed[name]++
	a, set := t.actions[name]
	if !set || a.left == 0 {
		t.mu.Unlock()
		return nil
	}
	if a.left > 0 {
		a.left--
	}
	t.mu.Unlock()
	return a.do()
}

// environment reads GRANARY_FAILPOINTS.
func (t *table) environment() {
	actions, err := parse(os.Getenv("GRANARY_FAILPOINTS"))
	if err != nil {
		fmt.Fprintln(os.Stderr, "failpoint:", err)
		os.Exit(2) // a fault that was misspelt would let the test that asks for it pass
	}
	for name, a := range actions {
		t.set(name, a)
	}
}
