// Package providertest is the conformance suite of core.Provider: it lets providers of one cluster
// join, change, leave and vanish, and looks at what they report to each other.
//
// An implementation runs it from its own tests:
//
//	func TestConformance(t *testing.T) {
//		providertest.Run(t, providertest.Harness{
//			New: func(t testing.TB) providertest.World {
//				seeds := startBackend(t)
//				return providertest.World{Provider: func() core.Provider { return myprovider(t, seeds) }}
//			},
//		})
//	}
//
// The suite tightens by core.Promises and by the optional interfaces core.ViewStore,
// core.MemberLeases and core.Refresher; it prints what it checked and what it skipped.
package providertest

import (
	"testing"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/internal/suitetest"
)

// Harness says how to make the providers of one cluster, and what they promise. Only New is needed.
type Harness struct {
	// New makes an empty cluster. It is called once per check; clusters know nothing of each other.
	New func(t testing.TB) World

	// Settle is how long it may take until every member has been told of a change. 0: 10 s. In a
	// bubble it is virtual time.
	Settle time.Duration

	// Silent is how long it may take until a member that vanished is out of everybody's view. 0: 30 s.
	Silent time.Duration

	// Members is the size of the clusters that are built. 0: 3, which is also the least.
	Members int

	// Bubble runs each check in a bubble of testing/synctest. It asks that the provider takes time
	// from Env.Clock or package time, and opens no socket.
	Bubble bool
}

// World is one cluster, empty at first.
type World struct {
	// Provider makes the provider of one more member or watcher. It is called in the order in which
	// they join, each after the one before has joined, or from several goroutines at once. Each gets
	// a member with an ID of its own and an address that nobody listens on.
	Provider func() core.Provider

	// Crash ends what runs behind p as the end of its process would: no farewell, and nothing is
	// renewed or answered any more. Join, Watch and the goroutines of p may go on within the test's
	// process as long as nobody else can tell. The suite calls Leave on p afterwards, when it has seen
	// enough, to free what p holds; its error does not matter. Nil: what is about a crash is skipped.
	Crash func(p core.Provider)

	// Outage makes the backend unreachable for all members, until the function that it returns is called. Nil: what
	// is about an outage is skipped.
	Outage func() (back func())

	// Wipe takes away all that the backend holds, as the loss of its disk would. Nil: what is about that is skipped.
	Wipe func()
}

// Run checks the providers of h, each promise in a subtest, and prints which promises it checked and
// which it skipped.
func Run(t *testing.T, h Harness) {
	t.Helper()
	suitetest.Run(t, h.Bubble, rows(h, traitsOf(t, h)))
}

// Broken checks the providers of h like Run, but returns the promises that were found broken, in the order
// of the suite, instead of failing t: for tests that show that a fault is found.
func Broken(t *testing.T, h Harness) []string {
	t.Helper()
	return suitetest.Broken(t, h.Bubble, rows(h, traitsOf(t, h)))
}

// traits are what a provider offers, which decides what is checked.
type traits struct {
	core.Promises
	store, leases, refresher, crash bool
	outage, wipe                    bool
}

func traitsOf(t testing.TB, h Harness) traits {
	w := h.New(t)
	p := w.Provider()
	tr := traits{Promises: p.Promises(), crash: w.Crash != nil, outage: w.Outage != nil, wipe: w.Wipe != nil}
	_, tr.store = p.(core.ViewStore)
	_, tr.leases = p.(core.MemberLeases)
	_, tr.refresher = p.(core.Refresher)
	return tr
}

// rows are the promises, topic by topic.
func rows(h Harness, tr traits) []suitetest.Row {
	h = h.withDefaults()
	out := joinRows(h, tr)
	out = append(out, leaveRows(h, tr)...)
	out = append(out, crashRows(h, tr)...)
	out = append(out, backendRows(h, tr)...)
	out = append(out, viewStoreRows(h, tr)...)
	return append(out, leaseRows(h, tr)...)
}

func (h Harness) withDefaults() Harness {
	if h.Settle == 0 {
		h.Settle = 10 * time.Second
	}
	if h.Silent == 0 {
		h.Silent = 30 * time.Second
	}
	h.Members = max(h.Members, 3)
	return h
}

// skipUnless is why a row is skipped, if what it needs is not there.
func skipUnless(ok bool, why string) string {
	if ok {
		return ""
	}
	return why
}

const (
	notOrdered      = "Promises.Ordered is not promised"
	notLinearizable = "Promises.Linearizable is not promised"
	notLeases       = "Promises.Leases is not promised"
	noStore         = "no ViewStore"
	noLeases        = "no MemberLeases"
	noRefresher     = "no Refresher"
	noCrash         = "the harness cannot crash a member"
	noOutage        = "the harness cannot take the backend away"
	noWipe          = "the harness cannot wipe the backend"
)
