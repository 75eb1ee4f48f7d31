package providertest

import (
	"slices"
	"testing"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/internal/suitetest"
)

// backendRows are about what happens to the backend that members share.
func backendRows(h Harness, tr traits) []suitetest.Row {
	outage := skipUnless(tr.outage, noOutage)
	wipe := skipUnless(tr.wipe, noWipe)
	for _, skip := range []*string{&outage, &wipe} {
		if *skip == "" {
			*skip = skipUnless(tr.Ordered, notOrdered)
		}
	}
	return []suitetest.Row{
		{Promise: "an outage of the backend takes nobody out", Skip: outage, Check: func(t testing.TB) { outlives(t, h) }},
		{Promise: "a join waits for the end of an outage", Skip: outage, Check: func(t testing.TB) { joinWaits(t, h) }},
		{Promise: "wiped data are stored again, and nobody is missing for a moment", Skip: wipe, Check: func(t testing.TB) { storesAgain(t, h) }},
	}
}

// undriven makes n members whose leases nobody drives: what is lost of them is stored again.
func (w *world) undriven(n int) []*member {
	w.t.Helper()
	ms := make([]*member, n)
	for i := range ms {
		m := w.member()
		if err := m.provider.Join(suitetest.WithTimeout(w.t, w.h.Settle), m.env, m.self, m.report); err != nil {
			w.t.Fatalf("join of %s: %v", m.id, err)
		}
		ms[i] = m
	}
	w.settle(ms...)
	return ms
}

// lease is how long a member of a provider may be silent; without leases it is what the harness says.
func (w *world) lease(m *member) time.Duration {
	if l, ok := m.provider.(core.MemberLeases); ok {
		return l.LeaseTTL()
	}
	return w.h.Silent
}

func pass(d time.Duration) {
	timer := time.NewTimer(d)
	<-timer.C
}

func outlives(t testing.TB, h Harness) {
	w := newWorld(t, h)
	ms := w.undriven(h.Members)
	before := ms[0].last()
	back := w.Outage()
	pass(2 * w.lease(ms[0]))
	back()
	pass(2 * w.lease(ms[0])) // who was wrongly counted as silent is out by now
	ms[0].update(func(m *core.Member) { m.Weight = 9 })
	w.settle(ms...)
	if v := ms[0].last(); v.Lineage() != before.Lineage() || v.Epoch() != before.Epoch()+1 {
		t.Errorf("epoch %d before the outage, %d after it and an update", before.Epoch(), v.Epoch())
	}
}

func joinWaits(t testing.TB, h Harness) {
	w := newWorld(t, h)
	ms := w.undriven(h.Members)
	back := w.Outage()
	late := w.member()
	joined := make(chan error, 1)
	go func() {
		joined <- late.provider.Join(suitetest.WithTimeout(t, h.Settle+w.lease(ms[0])), late.env, late.self, late.report)
	}()
	pass(w.lease(ms[0]) / 2)
	select {
	case err := <-joined:
		t.Errorf("a join has ended while the backend was away: %v", err)
		back()
	default:
		back()
		if err := <-joined; err != nil {
			t.Fatalf("join after the outage: %v", err)
		}
	}
	w.settle(append(slices.Clone(ms), late)...)
}

func storesAgain(t testing.TB, h Harness) {
	w := newWorld(t, h)
	ms := w.undriven(h.Members)
	before := ms[0].last()
	w.Wipe()
	for _, m := range ms {
		m.await(h.Settle, "everybody in a new lineage", func(v *core.View) bool {
			return v.Lineage() != before.Lineage() && v.Epoch() > before.Epoch() && lists(v, ms...)
		})
	}
	pass(2 * w.lease(ms[0]))
	w.settle(ms...)
	for _, m := range ms {
		for _, v := range m.all() {
			if v.Lineage() != before.Lineage() && !lists(v, ms...) {
				t.Errorf("%s was told of less than everybody: %s", m.id, describe(v))
			}
		}
	}
}
