package storetest

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/internal/suitetest"
)

// listed is how many items a group of a check has: more than a page of common backends.
const listed = 250

// listRows are about List.
func listRows(h Harness) []suitetest.Row {
	return []suitetest.Row{
		{Promise: "List walks the whole group and nothing else", Check: func(t testing.TB) { walks(t, h) }},
		{Promise: "List ends when the caller has enough", Check: func(t testing.TB) { breaks(t, h) }},
		{Promise: "List ends with its context, by an error", Check: func(t testing.TB) { listEnds(t, h) }},
		{Promise: "List sees no item twice while others write", Check: func(t testing.TB) { neverTwice(t, h) }},
	}
}

// fill puts n items and returns them by key.
func (f *fixture) fill(n int) map[core.Key]core.Item {
	f.t.Helper()
	want := map[core.Key]core.Item{}
	for i := range n {
		k := f.key(fmt.Sprintf("item-%03d", i))
		value := fmt.Sprintf("value-%03d", i)
		want[k] = core.Item{Key: k, Value: []byte(value), Revision: f.put(f.store, k, value, core.Absent)}
	}
	return want
}

func walks(t testing.TB, h Harness) {
	f := newFixture(t, h)
	want := f.fill(listed)
	f.put(f.store, core.Key{Group: f.group + "x", Name: "item-000"}, "another group", core.Absent)
	f.put(f.store, core.Key{Group: f.group + "/item-000", Name: ""}, "another group", core.Absent)
	gone := f.key("item-007")
	if err := f.store.Delete(f.ctx, gone, core.Any); err != nil {
		t.Errorf("delete: %v", err)
	}
	delete(want, gone)
	for it, err := range f.store.List(f.ctx, f.group) {
		if err != nil {
			t.Fatalf("list: %v", err)
		}
		w, ok := want[it.Key]
		if !ok || string(it.Value) != string(w.Value) || it.Revision != w.Revision {
			t.Errorf("%v: %q at revision %d, want %q at %d, once", it.Key, it.Value, it.Revision, w.Value, w.Revision)
		}
		delete(want, it.Key)
	}
	if len(want) > 0 {
		t.Errorf("%d items were not listed", len(want))
	}
	for it, err := range f.store.List(f.ctx, f.group+"/nothing") {
		t.Errorf("an empty group lists %v, %v", it, err)
	}
}

func breaks(t testing.TB, h Harness) {
	f := newFixture(t, h)
	f.fill(20)
	seen := 0
	for _, err := range f.store.List(f.ctx, f.group) {
		if err != nil {
			t.Errorf("list: %v", err)
		}
		if seen++; seen == 3 {
			break
		}
	}
	if seen != 3 {
		t.Errorf("%d items were walked, want 3", seen)
	}
	f.put(f.store, f.key("item-000"), "the walk holds no lock", core.Any)
	for range f.store.List(f.ctx, f.group) {
		f.put(f.store, f.key("item-001"), "also not while it goes on", core.Any)
		break
	}
}

func listEnds(t testing.TB, h Harness) {
	f := newFixture(t, h)
	f.fill(20)
	ctx, cancel := context.WithCancel(f.ctx)
	cancel()
	failed := false
	for it, err := range f.store.List(ctx, f.group) {
		if failed {
			t.Errorf("after an error came %v, %v", it, err)
		}
		failed = failed || err != nil
	}
	if !failed {
		t.Error("a walk under a context that had ended gave no error")
	}
}

func neverTwice(t testing.TB, h Harness) {
	f := newFixture(t, h)
	steady := f.fill(50)
	ctx, stop := context.WithCancel(f.ctx)
	var others sync.WaitGroup
	defer others.Wait()
	defer stop()
	for i := range 3 {
		s := f.open()
		others.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				k := f.key(fmt.Sprintf("item-%03d-new-%d-%d", n%50, i, n%20)) // between the steady ones
				if n/20%2 == 0 {
					_, _ = s.Put(ctx, k, []byte("x"), core.Any) // cancelled at the end
				} else {
					_ = s.Delete(ctx, k, core.Any)
				}
			}
		})
	}
	for range 10 {
		seen := map[core.Key]bool{}
		for it, err := range f.store.List(f.ctx, f.group) {
			if err != nil {
				t.Fatalf("list: %v", err)
			}
			if seen[it.Key] {
				t.Errorf("%v was listed twice", it.Key)
			}
			seen[it.Key] = true
		}
		for k := range steady {
			if !seen[k] {
				t.Errorf("%v, which nobody touched, was not listed", k)
			}
		}
	}
}
