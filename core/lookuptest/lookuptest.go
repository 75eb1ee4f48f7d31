// Package lookuptest is the conformance suite of core.Lookup: it runs the lookups of a cluster of
// simulated hosts within one process, and looks at what runs where, and when.
//
// An implementation runs it from its own tests:
//
//	func TestConformance(t *testing.T) {
//		lookuptest.Run(t, lookuptest.Harness{
//			New: func(t testing.TB) func() core.Lookup {
//				return func() core.Lookup { return mylookup(t) }
//			},
//			Bubble: true,
//		})
//	}
//
// The suite tightens by what the lookup offers: a core.Router is asked for owners, and is not tested
// for tokens and strategies other than rendezvous; a core.Requirer that asks for Ordered views gets no others; a
// core.ReleaseListener is told of the end of activations.
package lookuptest

import (
	"testing"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/internal/suitetest"
)

// Harness says how to make the lookups of one cluster, and what they promise. Only New is needed.
type Harness struct {
	// New makes what the lookups of one cluster share, if anything, and returns the function that
	// makes the lookup of one more node. It is called once per check, and the returned function once
	// per node, in the order in which nodes are started. A lookup that shares nothing ignores the
	// difference.
	New func(t testing.TB) func() core.Lookup

	// Level is the promise (the levels of ARCHITECTURE.md). 0: one activation of an identity once all
	// nodes have the same view and what moves has been drained. 1: one at any moment, with a token
	// greater than that of every earlier one.
	Level int

	// Settle is how long it may take, after the last change of view and the end of all faults, until
	// every identity resolves to its one activation. 0: 10 s. In a bubble it is virtual time.
	Settle time.Duration

	// Bubble runs each check in a bubble of testing/synctest. It asks that the lookup takes time from
	// Env.Clock or package time, and does no input or output of its own.
	Bubble bool
}

// Run checks the lookups of h, each promise in a subtest, and prints which promises it checked and
// which it skipped.
func Run(t *testing.T, h Harness) {
	t.Helper()
	suitetest.Run(t, h.Bubble, rows(h, traitsOf(t, h)))
}

// Broken checks the lookups of h like Run, but returns the promises that were found broken, in the order
// of the suite, instead of failing t: for tests that show that a fault is found.
func Broken(t *testing.T, h Harness) []string {
	t.Helper()
	return suitetest.Broken(t, h.Bubble, rows(h, traitsOf(t, h)))
}

// traits are what a lookup offers, which decides what is checked.
type traits struct {
	router  bool
	ordered bool // it asks for ordered views
	compat  bool // it places as Proto.Actor does
}

func traitsOf(t testing.TB, h Harness) traits {
	l := h.New(t)()
	var tr traits
	_, tr.router = l.(core.Router)
	if r, ok := l.(core.Requirer); ok {
		tr.ordered, tr.compat = r.Requires().Ordered, r.Requires().Compat
	}
	return tr
}

// rows are the promises, topic by topic.
func rows(h Harness, tr traits) []suitetest.Row {
	if h.Settle == 0 {
		h.Settle = 10 * time.Second
	}
	out := lifeRows(h)
	out = append(out, singleRows(h, tr)...)
	out = append(out, strategyRows(h, tr)...)
	out = append(out, routerRows(h, tr)...)
	return append(out, handoverRows(h, tr)...)
}

// skipUnless is why a row is skipped, if what it needs is not there.
func skipUnless(ok bool, why string) string {
	if ok {
		return ""
	}
	return why
}
