package providertest

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/internal/suitetest"
)

// leaseRows are about leases.
func leaseRows(h Harness, tr traits) []suitetest.Row {
	leases := skipUnless(tr.leases, noLeases)
	kept := leases
	if kept == "" {
		kept = skipUnless(tr.Leases, notLeases)
	}
	evicting := kept
	if evicting == "" {
		evicting = skipUnless(tr.store, noStore)
	}
	return []suitetest.Row{
		{Promise: "who renews stays", Skip: leases, Check: func(t testing.TB) { renewerStays(t, h) }},
		{Promise: "who stops renewing is taken out", Skip: leases, Check: func(t testing.TB) { lapses(t, h) }},
		{Promise: "renewal gives ErrEvicted once the lease has lapsed, for good", Skip: kept, Check: func(t testing.TB) { lapsedIsFinal(t, h) }},
		{Promise: "renewal gives ErrEvicted once the row was swapped out", Skip: evicting, Check: func(t testing.TB) { evictedCannotRenew(t, h) }},
	}
}

func (m *member) lease() core.MemberLeases {
	m.w.t.Helper()
	l, ok := m.provider.(core.MemberLeases)
	if !ok {
		m.w.t.Fatalf("%s has no MemberLeases", m.id)
	}
	return l
}

func renewerStays(t testing.TB, h Harness) {
	w := newWorld(t, h)
	ms := w.cluster(h.Members)
	ttl := ms[0].lease().LeaseTTL()
	if ttl <= 0 || ttl != ms[1].lease().LeaseTTL() {
		t.Fatalf("LeaseTTL is %v and %v", ttl, ms[1].lease().LeaseTTL())
	}
	timer := time.NewTimer(2 * ttl)
	<-timer.C
	w.settle(ms...)
	for _, m := range ms {
		if err := m.lease().RenewLease(suitetest.WithTimeout(t, h.Settle)); err != nil {
			t.Errorf("%s: renewal after 2 × TTL: %v", m.id, err)
		}
	}
}

// lapse lets the lease of a member run out while its provider lives, and waits for its removal.
func lapse(t testing.TB, h Harness) (gone *member, living []*member, took time.Duration) {
	t.Helper()
	w := newWorld(t, h)
	ms := w.cluster(h.Members)
	gone = ms[1]
	gone.stopRenew()
	gone.renewals.Wait()
	if err := gone.lease().RenewLease(suitetest.WithTimeout(t, h.Settle)); err != nil {
		t.Errorf("renewal: %v", err)
	}
	begin := time.Now()
	living = slices.Delete(slices.Clone(ms), 1, 2)
	for _, m := range living {
		m.await(h.Silent, "the end of "+string(gone.id), func(v *core.View) bool { return lists(v, living...) })
		if took == 0 {
			took = time.Since(begin)
		}
	}
	return gone, living, took
}

func lapses(t testing.TB, h Harness) {
	gone, _, took := lapse(t, h)
	if ttl := gone.lease().LeaseTTL(); took < ttl*9/10 {
		t.Errorf("taken out %v after the last renewal, the TTL is %v", took, ttl)
	}
}

func lapsedIsFinal(t testing.TB, h Harness) {
	gone, living, _ := lapse(t, h)
	for range 2 {
		if err := gone.lease().RenewLease(suitetest.WithTimeout(t, h.Settle)); !errors.Is(err, core.ErrEvicted) {
			t.Errorf("renewal after the lease has lapsed: %v, want ErrEvicted", err)
		}
	}
	living[0].w.settle(living...)
}

func evictedCannotRenew(t testing.TB, h Harness) {
	w := newWorld(t, h)
	ms := w.cluster(h.Members)
	gone := ms[1]
	gone.stopRenew()
	gone.renewals.Wait()
	ms[0].swap(evict(gone.id))
	for range 2 {
		if err := gone.lease().RenewLease(suitetest.WithTimeout(t, h.Settle)); !errors.Is(err, core.ErrEvicted) {
			t.Errorf("renewal by the evicted: %v, want ErrEvicted", err)
		}
	}
	w.settle(slices.Delete(slices.Clone(ms), 1, 2)...)
}
