// Package storetest is the conformance suite of core.Store and core.Fencer.
//
// An implementation runs it from its own tests:
//
//	func TestConformance(t *testing.T) {
//		storetest.Run(t, storetest.Harness{
//			New: func(t testing.TB) func() core.Store {
//				return func() core.Store { return open(t) }
//			},
//		})
//	}
//
// A store that is no core.Fencer is not tested for fencing; the suite prints what it skipped.
package storetest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/internal/suitetest"
)

// Harness says how to open the store. Only New is needed.
type Harness struct {
	// New prepares a backend, and returns the function that opens one more client of it, which is
	// called several times in a check. The backend need not be empty: the groups of a check have
	// names of their own. It may be the same for all checks.
	New func(t testing.TB) func() core.Store

	// Limit is how long one check may take. 0: 30 s.
	Limit time.Duration

	// Bubble runs each check in a bubble of testing/synctest: for stores that open no socket.
	Bubble bool
}

// Run checks the store of h, each promise in a subtest, and prints which promises it checked and
// which it skipped.
func Run(t *testing.T, h Harness) {
	t.Helper()
	_, fences := h.New(t)().(core.Fencer)
	suitetest.Run(t, h.Bubble, rows(h, fences))
}

// Broken checks the store of h like Run, but returns the promises that were found broken, in the order
// of the suite, instead of failing t: for tests that show that a fault is found.
func Broken(t *testing.T, h Harness) []string {
	t.Helper()
	_, fences := h.New(t)().(core.Fencer)
	return suitetest.Broken(t, h.Bubble, rows(h, fences))
}

// rows are the promises, topic by topic.
func rows(h Harness, fences bool) []suitetest.Row {
	if h.Limit == 0 {
		h.Limit = 30 * time.Second
	}
	out := revisionRows(h)
	out = append(out, concurrentRows(h)...)
	out = append(out, listRows(h)...)
	return append(out, fenceRows(h, fences)...)
}

// fixture is what one check works with.
type fixture struct {
	t     testing.TB
	ctx   context.Context
	open  func() core.Store
	store core.Store
	group string // nobody else's
}

func newFixture(t testing.TB, h Harness) *fixture {
	open := h.New(t)
	return &fixture{
		t: t, ctx: suitetest.WithTimeout(t, h.Limit), open: open, store: open(),
		group: fmt.Sprintf("storetest/%016x", rand.Uint64()),
	}
}

func (f *fixture) key(name string) core.Key { return core.Key{Group: f.group, Name: name} }

// put writes and expects success.
func (f *fixture) put(s core.Store, k core.Key, value string, at core.Revision) core.Revision {
	f.t.Helper()
	r, err := s.Put(f.ctx, k, []byte(value), at)
	if err != nil {
		f.t.Fatalf("put %q at %d: %v", value, at, err)
	}
	return r
}

// expect reads and compares.
func (f *fixture) expect(s core.Store, k core.Key, value string, at core.Revision) {
	f.t.Helper()
	it, err := s.Get(f.ctx, k)
	if err != nil || string(it.Value) != value || it.Revision != at || it.Key != k {
		f.t.Errorf("get %v: %.80q at revision %d under %v (%v), want %.80q at %d", k, it.Value, it.Revision, it.Key, err, value, at)
	}
}
