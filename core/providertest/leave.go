package providertest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/internal/suitetest"
)

// leaveRows are about Leave, and about what comes after it.
func leaveRows(h Harness, tr traits) []suitetest.Row {
	return []suitetest.Row{
		{Promise: "Leave takes the member out of every view", Check: func(t testing.TB) { leaveRemoves(t, h) }},
		{Promise: "no report comes after Leave", Check: func(t testing.TB) { silentAfterLeave(t, h) }},
		{Promise: "Leave joins the goroutines", Check: func(t testing.TB) { leaveJoins(t, h) }},
		{Promise: "Leave twice is nil, and everything else gives ErrStopped", Check: func(t testing.TB) { afterLeave(t, h) }},
		{Promise: "Leave before Join is nil, and Join then gives ErrStopped", Check: func(t testing.TB) { leaveFirst(t, h) }},
		{Promise: "Leave during Join ends it", Check: func(t testing.TB) { leaveDuringJoin(t, h) }},
		{Promise: "Leave under an ended context still stops", Check: func(t testing.TB) { leaveEnded(t, h) }},
		{Promise: "a clean leave departs without guard", Skip: skipUnless(tr.Ordered, notOrdered), Check: func(t testing.TB) { cleanDeparture(t, h) }},
	}
}

func leaveRemoves(t testing.TB, h Harness) {
	w := newWorld(t, h)
	ms := w.cluster(h.Members)
	for len(ms) > 1 {
		ms[0].leave()
		ms = ms[1:]
		w.settle(ms...)
	}
}

func silentAfterLeave(t testing.TB, h Harness) {
	w := newWorld(t, h)
	ms := w.cluster(h.Members)
	ms[0].leave()
	seen := len(ms[0].all())
	w.settle(ms[1:]...)
	for weight := range uint16(10) {
		ms[1].update(func(m *core.Member) { m.Weight = 50 + weight })
	}
	w.settle(ms[1:]...)
	timer := time.NewTimer(100 * time.Millisecond) // for one that comes late
	<-timer.C
	if now := len(ms[0].all()); now != seen {
		t.Errorf("%d reports after Leave had returned", now-seen)
	}
}

// settles is how long a goroutine that Leave has joined may take to be counted out: it tells Leave
// that it is done before it ends.
const settles = 100 * time.Millisecond

func leaveJoins(t testing.TB, h Harness) {
	w := newWorld(t, h)
	for _, m := range w.cluster(h.Members) {
		m.leave()
		if left := m.group.Left(settles); left != nil {
			t.Errorf("%s: when Leave has returned, goroutines %q are left", m.id, left)
		}
	}
}

// expectStopped calls everything but Leave.
func (m *member) expectStopped(t testing.TB) {
	t.Helper()
	ctx := suitetest.WithTimeout(t, m.w.h.Settle)
	calls := map[string]func() error{
		"Join":   func() error { return m.provider.Join(ctx, m.env, m.self, m.report) },
		"Watch":  func() error { return m.provider.Watch(ctx, m.env, m.report) },
		"Update": func() error { return m.provider.Update(ctx, m.self) },
	}
	if s, ok := m.provider.(core.ViewStore); ok && m.last() != nil {
		calls["SwapView"] = func() error {
			_, err := s.SwapView(ctx, m.last(), m.last().Record())
			return err
		}
	}
	if l, ok := m.provider.(core.MemberLeases); ok {
		calls["RenewLease"] = func() error { return l.RenewLease(ctx) }
	}
	for name, call := range calls {
		if err := call(); !errors.Is(err, core.ErrStopped) {
			t.Errorf("%s after Leave: %v, want ErrStopped", name, err)
		}
	}
}

func afterLeave(t testing.TB, h Harness) {
	w := newWorld(t, h)
	ms := w.cluster(h.Members)
	ms[0].leave()
	ms[0].leave()
	ms[0].expectStopped(t)
	w.settle(ms[1:]...)
}

func leaveFirst(t testing.TB, h Harness) {
	w := newWorld(t, h)
	ms := w.cluster(h.Members)
	idle := w.member()
	idle.leave()
	idle.expectStopped(t)
	w.settle(ms...)
}

func leaveDuringJoin(t testing.TB, h Harness) {
	w := newWorld(t, h)
	ms := w.cluster(h.Members)
	for i := range 10 {
		m := w.member()
		done := make(chan error, 1)
		go func() { done <- m.provider.Join(suitetest.WithTimeout(t, h.Settle), m.env, m.self, m.report) }()
		timer := time.NewTimer(time.Duration(i) * 200 * time.Microsecond)
		<-timer.C
		m.leave()
		select {
		case err := <-done:
			if err != nil && !errors.Is(err, core.ErrStopped) {
				t.Errorf("join: %v, want ErrStopped or nil", err)
			}
		case <-time.After(h.Settle):
			t.Fatal("Join goes on although Leave has returned")
		}
		m.expectStopped(t)
	}
	w.settle(ms...)
}

func leaveEnded(t testing.TB, h Harness) {
	w := newWorld(t, h)
	ms := w.cluster(h.Members)
	begin := time.Now()
	err := ms[0].provider.Leave(suitetest.Ended(t))
	if err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("leave: %v, want nil or the context's error", err)
	}
	if took := time.Since(begin); took > h.Settle {
		t.Errorf("Leave took %v under a context that had ended", took)
	}
	if left := ms[0].group.Left(time.Second); left != nil {
		t.Errorf("goroutines %q are left", left)
	}
	ms[0].leave()
	ms[0].expectStopped(t)
}

func cleanDeparture(t testing.TB, h Harness) {
	w := newWorld(t, h)
	ms := w.cluster(h.Members)
	ms[1].leave()
	v := ms[0].await(h.Settle, "the departure", func(v *core.View) bool {
		_, listed := v.Member(ms[1].id)
		return !listed
	})
	for d := range v.Departed() {
		if d.ID != ms[1].id {
			continue
		}
		if d.Guard != 0 || d.Epoch > v.Epoch() || d.Epoch < firstEpoch {
			t.Errorf("the departure is %+v in epoch %d, want no guard", d, v.Epoch())
		}
		return
	}
	t.Error("no departure is told of the member that left")
}
