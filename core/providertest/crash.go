package providertest

import (
	"testing"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/internal/suitetest"
)

// crashRows are about members that vanish.
func crashRows(h Harness, tr traits) []suitetest.Row {
	crash := skipUnless(tr.crash, noCrash)
	return []suitetest.Row{
		{Promise: "a member that vanished is taken out, and nobody else", Skip: crash, Check: func(t testing.TB) { vanishes(t, h) }},
		{Promise: "a restart on the same address is a new member", Skip: crash, Check: func(t testing.TB) { restarts(t, h) }},
	}
}

func vanishes(t testing.TB, h Harness) {
	w := newWorld(t, h)
	ms := w.cluster(h.Members)
	ms[0].crash()
	living := ms[1:]
	for _, m := range living {
		m.await(h.Silent, "the end of "+string(ms[0].id), func(v *core.View) bool { return lists(v, living...) })
	}
	for _, m := range living {
		complete := false
		for _, v := range m.all() {
			listed := 0
			for _, other := range living {
				if _, ok := v.Member(other.id); ok {
					listed++
				}
			}
			if complete && listed < len(living) {
				t.Errorf("%s: a living member was taken out: %s", m.id, describe(v))
			}
			complete = complete || listed == len(living)
		}
	}
}

func restarts(t testing.TB, h Harness) {
	w := newWorld(t, h)
	ms := w.cluster(h.Members)
	ms[0].crash()
	again := w.member()
	again.self.Address = ms[0].self.Address
	again.join()
	now := append([]*member{again}, ms[1:]...)
	for _, m := range now {
		m.await(h.Silent, "the new start in place of the old one", func(v *core.View) bool { return lists(v, now...) })
	}
}
