package storetest

import (
	"errors"
	"strconv"
	"sync"
	"testing"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/internal/suitetest"
)

// fenceRows are about Fencer.
func fenceRows(h Harness, fences bool) []suitetest.Row {
	skip := "no Fencer"
	if fences {
		skip = ""
	}
	return []suitetest.Row{
		{Promise: "a claim writes until a greater one is made", Skip: skip, Check: func(t testing.TB) { claims(t, h) }},
		{Promise: "a claim below the greatest is refused, an equal one is not", Skip: skip, Check: func(t testing.TB) { claimOrder(t, h) }},
		{Promise: "a refused write changes nothing", Skip: skip, Check: func(t testing.TB) { refusedChangesNothing(t, h) }},
		{Promise: "a claim binds its group alone, and outlives its items", Skip: skip, Check: func(t testing.TB) { claimBindsGroup(t, h) }},
		{Promise: "under a claim, revisions still count", Skip: skip, Check: func(t testing.TB) { claimKeepsRevisions(t, h) }},
		{Promise: "once a claim is made, no older write gets through", Skip: skip, Check: func(t testing.TB) { claimIsAtomic(t, h) }},
	}
}

// fence claims by a client of its own, as another node would.
func (f *fixture) fence(group string, t core.Token) core.Store {
	f.t.Helper()
	fencer, ok := f.open().(core.Fencer)
	if !ok {
		f.t.Fatal("the store is no Fencer")
	}
	s, err := fencer.Fence(f.ctx, group, t)
	if err != nil || s == nil {
		f.t.Fatalf("fence under %s: %v, %v", t, s, err)
	}
	return s
}

func (f *fixture) fenced(what string, err error) {
	f.t.Helper()
	if !errors.Is(err, core.ErrFenced) {
		f.t.Errorf("%s: %v, want ErrFenced", what, err)
	}
}

func claims(t testing.TB, h Harness) {
	f := newFixture(t, h)
	k := f.key("state")
	older := f.fence(f.group, core.Token{Epoch: 5, Seq: 1})
	r := f.put(older, k, "one", core.Absent)
	f.expect(older, k, "one", r)
	newer := f.fence(f.group, core.Token{Epoch: 5, Seq: 2})
	f.expect(newer, k, "one", r)
	_, err := older.Put(f.ctx, k, []byte("stale"), core.Any)
	f.fenced("put under the older token", err)
	f.fenced("delete under the older token", older.Delete(f.ctx, k, core.Any))
	f.expect(newer, k, "two", f.put(newer, k, "two", r))
	n := 0
	for it, err := range newer.List(f.ctx, f.group) {
		if err != nil || it.Key != k {
			t.Errorf("list under a claim: %v, %v", it.Key, err)
		}
		n++
	}
	if n != 1 {
		t.Errorf("list under a claim gave %d items, want 1", n)
	}
}

func claimOrder(t testing.TB, h Harness) {
	f := newFixture(t, h)
	ascending := []core.Token{
		{}, {Seq: 1}, {Seq: 9}, {Seq: 10}, {Seq: 1 << 53}, {Seq: 1<<53 + 1}, {Seq: 1<<63 - 1}, {Seq: 1 << 63}, {Seq: 1<<64 - 1},
		{Epoch: 1}, {Epoch: 9, Seq: 5}, {Epoch: 10}, {Epoch: 1<<53 + 1}, {Epoch: 1<<64 - 1, Seq: 1<<64 - 1},
	}
	fencer, ok := f.store.(core.Fencer)
	if !ok {
		t.Fatal("the store is no Fencer")
	}
	for i, token := range ascending {
		f.fence(f.group, token)
		f.fence(f.group, token) // an equal one is not below
		if i == 0 {
			continue
		}
		_, err := fencer.Fence(f.ctx, f.group, ascending[i-1])
		f.fenced("claim of "+ascending[i-1].String()+" after "+token.String(), err)
	}
}

func refusedChangesNothing(t testing.TB, h Harness) {
	f := newFixture(t, h)
	k := f.key("state")
	older := f.fence(f.group, core.Token{Seq: 1})
	r := f.put(older, k, "one", core.Absent)
	newer := f.fence(f.group, core.Token{Seq: 2})
	_, err := older.Put(f.ctx, k, []byte("stale"), r)
	f.fenced("put at the present revision", err)
	_, err = older.Put(f.ctx, f.key("fresh"), []byte("stale"), core.Absent)
	f.fenced("put of a new item", err)
	f.fenced("delete at the present revision", older.Delete(f.ctx, k, r))
	f.expect(newer, k, "one", r)
	if _, err := newer.Get(f.ctx, f.key("fresh")); !errors.Is(err, core.ErrNotFound) {
		t.Errorf("get of what a refused put would have made: %v, want ErrNotFound", err)
	}
	// A refused claim has not lowered the bar.
	if fencer, ok := f.store.(core.Fencer); ok {
		_, err = fencer.Fence(f.ctx, f.group, core.Token{Seq: 1})
		f.fenced("claim of the older token", err)
	}
	f.put(newer, k, "two", r)
}

func claimBindsGroup(t testing.TB, h Harness) {
	f := newFixture(t, h)
	f.fence(f.group, core.Token{Seq: 9})
	other := f.fence(f.group+"/other", core.Token{Seq: 1})
	f.put(other, core.Key{Group: f.group + "/other", Name: "a"}, "free", core.Absent)
	low := f.fence(f.group+"/third", core.Token{Seq: 5})
	k := core.Key{Group: f.group + "/third", Name: "a"}
	f.put(low, k, "one", core.Absent)
	if err := low.Delete(f.ctx, k, core.Any); err != nil {
		t.Errorf("delete: %v", err)
	}
	if fencer, ok := f.store.(core.Fencer); ok {
		_, err := fencer.Fence(f.ctx, f.group+"/third", core.Token{Seq: 4})
		f.fenced("claim below one whose items were all deleted", err)
	}
}

func claimKeepsRevisions(t testing.TB, h Harness) {
	f := newFixture(t, h)
	k := f.key("state")
	s := f.fence(f.group, core.Token{Seq: 1})
	r1 := f.put(s, k, "one", core.Absent)
	r2 := f.put(s, k, "two", r1)
	_, err := s.Put(f.ctx, k, []byte("lost"), r1)
	f.conflict("put at an older revision", err)
	f.conflict("delete at an older revision", s.Delete(f.ctx, k, r1))
	f.expect(s, k, "two", r2)
	if err := s.Delete(f.ctx, k, r2); err != nil {
		t.Errorf("delete: %v", err)
	}
}

// claimIsAtomic lets an older claim write without pause while a newer one is made.
func claimIsAtomic(t testing.TB, h Harness) {
	f := newFixture(t, h)
	k := f.key("state")
	for round := range uint64(each) {
		older := f.fence(f.group, core.Token{Epoch: round, Seq: 1})
		started := make(chan struct{})
		var writer sync.WaitGroup
		writer.Go(func() {
			for n := 0; ; n++ {
				_, err := older.Put(f.ctx, k, []byte(strconv.Itoa(n)), core.Any)
				if n == 0 {
					close(started)
				}
				if err != nil {
					f.fenced("put by the older claim", err)
					return
				}
				if n > 100_000 {
					t.Error("the older claim still writes")
					return
				}
			}
		})
		<-started
		newer := f.fence(f.group, core.Token{Epoch: round, Seq: 2})
		before, err := newer.Get(f.ctx, k)
		if err != nil {
			t.Errorf("get: %v", err)
		}
		writer.Wait()
		f.expect(newer, k, string(before.Value), before.Revision)
	}
}
