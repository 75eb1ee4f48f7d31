package providertest

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/internal/suitetest"
)

// world is one cluster as the suite sees it.
type world struct {
	t testing.TB
	h Harness
	World
	made atomic.Int64
}

func newWorld(t testing.TB, h Harness) *world {
	return &world{t: t, h: h, World: h.New(t)}
}

// member is one provider, the row it joins with, and what it reported.
type member struct {
	w        *world
	provider core.Provider
	id       core.MemberID
	self     core.Member // changed by update, on the goroutine of the check
	group    suitetest.Group
	env      core.Env

	renewing  context.Context // of the goroutine that renews the lease
	stopRenew context.CancelFunc
	renewals  sync.WaitGroup

	mu       sync.Mutex // guards what follows
	reports  []*core.View
	reported chan struct{} // closed and replaced with every report
	running  int           // reports in progress
	left     bool          // Leave has returned
}

// member makes one that has not joined. Its goroutines are joined at the end of the check.
func (w *world) member() *member {
	i := w.made.Add(1)
	m := &member{
		w:        w,
		provider: w.Provider(),
		self: core.Member{
			ID: core.MemberID(fmt.Sprintf("member-%02d-%08x", i, uint32(i)*2654435761)), Address: fmt.Sprintf("10.1.0.%d:7000", i),
			Kinds: []string{"Cart", fmt.Sprintf("Kind%d", i)}, Status: core.Up, Weight: uint16(100 + i), Protocol: core.Protocol{Min: 1, Max: 1},
		},
		reported: make(chan struct{}),
	}
	m.id = m.self.ID
	m.env = suitetest.NewEnv(string(m.id), &m.group)
	m.renewing, m.stopRenew = context.WithCancel(context.WithoutCancel(w.t.Context()))
	w.t.Cleanup(m.close)
	return m
}

// close leaves, whatever happened before, and looks for goroutines.
func (m *member) close() {
	m.stopRenew()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(m.w.t.Context()), m.w.h.Settle)
	defer cancel()
	_ = m.provider.Leave(ctx) // leaveRows look at its error
	m.renewals.Wait()
	if left := m.group.Left(2 * time.Second); left != nil {
		m.w.t.Errorf("%s: goroutines %q are left after Leave", m.id, left)
	}
}

// report is what the provider calls.
func (m *member) report(v *core.View) {
	m.mu.Lock()
	m.running++
	if m.running > 1 {
		m.w.t.Errorf("%s: two reports at a time", m.id)
	}
	if m.left {
		m.w.t.Errorf("%s: a report after Leave had returned", m.id)
	}
	if v == nil {
		m.w.t.Errorf("%s: a report of nil", m.id)
	}
	m.mu.Unlock()
	// Whatever else reports gets its chance here.
	for range 3 {
		runtime.Gosched()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.running--
	if v != nil {
		m.reports = append(m.reports, v)
	}
	close(m.reported)
	m.reported = make(chan struct{})
}

// all are the reports so far.
func (m *member) all() []*core.View {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.reports)
}

// last is the newest report, nil before the first.
func (m *member) last() *core.View {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.reports) == 0 {
		return nil
	}
	return m.reports[len(m.reports)-1]
}

// await waits until the newest report is one that ok accepts, and returns it.
func (m *member) await(limit time.Duration, what string, ok func(*core.View) bool) *core.View {
	m.w.t.Helper()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for {
		m.mu.Lock()
		reported := m.reported
		m.mu.Unlock()
		v := m.last()
		if v != nil && ok(v) {
			return v
		}
		select {
		case <-reported:
		case <-timer.C:
			m.w.t.Fatalf("%s was not told within %v: %s; its last report is %s", m.id, limit, what, describe(v))
		}
	}
}

func describe(v *core.View) string {
	if v == nil {
		return "none"
	}
	text := fmt.Sprintf("epoch %d:", v.Epoch())
	for m := range v.All() {
		text += fmt.Sprintf(" %s %s", m.ID, m.Status)
	}
	return text
}

// join joins, and keeps the lease as the engine does.
func (m *member) join() {
	m.w.t.Helper()
	if err := m.provider.Join(suitetest.WithTimeout(m.w.t, m.w.h.Settle), m.env, m.self, m.report); err != nil {
		m.w.t.Fatalf("join of %s: %v", m.id, err)
	}
	m.keepLease()
}

// keepLease starts to renew the lease, if there are leases.
func (m *member) keepLease() {
	if l, ok := m.provider.(core.MemberLeases); ok {
		m.renewals.Go(func() { m.renew(l) })
	}
}

// renew renews each TTL×0.3 until the check ends or the member crashes.
func (m *member) renew(l core.MemberLeases) {
	tick := time.NewTicker(max(l.LeaseTTL()*3/10, time.Millisecond))
	defer tick.Stop()
	for {
		ctx, cancel := context.WithTimeout(m.renewing, m.w.h.Settle)
		_ = l.RenewLease(ctx) // leaseRows look at its error
		cancel()
		select {
		case <-tick.C:
		case <-m.renewing.Done():
			return
		}
	}
}

// leave leaves, and marks that no report may come any more.
func (m *member) leave() {
	m.w.t.Helper()
	m.stopRenew()
	m.renewals.Wait()
	if err := m.provider.Leave(suitetest.WithTimeout(m.w.t, m.w.h.Settle)); err != nil {
		m.w.t.Errorf("leave of %s: %v", m.id, err)
	}
	m.mu.Lock()
	m.left = true
	m.mu.Unlock()
}

// crash makes the process vanish.
func (m *member) crash() {
	m.stopRenew()
	m.renewals.Wait()
	m.w.Crash(m.provider)
}

// cluster makes n members that have joined and have seen each other.
func (w *world) cluster(n int) []*member {
	w.t.Helper()
	ms := make([]*member, n)
	for i := range ms {
		ms[i] = w.member()
		ms[i].join()
	}
	w.settle(ms...)
	return ms
}

// settle waits until each of ms has been told of exactly the rows of ms.
func (w *world) settle(ms ...*member) {
	w.t.Helper()
	for _, m := range ms {
		m.await(w.h.Settle, fmt.Sprintf("exactly %d members, each with its row", len(ms)), func(v *core.View) bool { return lists(v, ms...) })
	}
}

// lists tells whether v has exactly the rows of ms.
func lists(v *core.View, ms ...*member) bool {
	if v.Len() != len(ms) {
		return false
	}
	for _, m := range ms {
		row, ok := v.Member(m.id)
		if !ok || !sameRow(row, m.self) {
			return false
		}
	}
	return true
}

// sameRow compares everything but Joined, which the provider sets.
func sameRow(a, b core.Member) bool {
	return a.ID == b.ID && a.Address == b.Address && slices.Equal(a.Kinds, b.Kinds) && a.Status == b.Status &&
		weight(a) == weight(b) && a.Protocol == b.Protocol
}

func weight(m core.Member) uint16 {
	if m.Weight == 0 {
		return 100
	}
	return m.Weight
}

// update replaces the row of m.
func (m *member) update(change func(*core.Member)) {
	m.w.t.Helper()
	row := m.self
	row.Kinds = slices.Clone(row.Kinds)
	change(&row)
	if err := m.provider.Update(suitetest.WithTimeout(m.w.t, m.w.h.Settle), row); err != nil {
		m.w.t.Errorf("update of %s: %v", m.id, err)
	}
	m.self = row
}
