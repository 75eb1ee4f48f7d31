package storetest

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/internal/suitetest"
)

// revisionRows are about one writer.
func revisionRows(h Harness) []suitetest.Row {
	return []suitetest.Row{
		{Promise: "what was put is what is got", Check: func(t testing.TB) { putGet(t, h) }},
		{Promise: "what is absent gives ErrNotFound", Check: func(t testing.TB) { absent(t, h) }},
		{Promise: "Put at Absent creates, and never replaces", Check: func(t testing.TB) { create(t, h) }},
		{Promise: "Put at a revision replaces that revision only", Check: func(t testing.TB) { replace(t, h) }},
		{Promise: "Put at Any is unconditional", Check: func(t testing.TB) { putAny(t, h) }},
		{Promise: "Delete removes the given revision only", Check: func(t testing.TB) { deletes(t, h) }},
		{Promise: "no revision is repeated, also not after Delete", Check: func(t testing.TB) { neverRepeated(t, h) }},
		{Promise: "values belong to the caller", Check: func(t testing.TB) { ownership(t, h) }},
		{Promise: "keys and values of any text are kept apart", Check: func(t testing.TB) { anyText(t, h) }},
	}
}

func putGet(t testing.TB, h Harness) {
	f := newFixture(t, h)
	k := f.key("a")
	r1 := f.put(f.store, k, "one", core.Absent)
	f.expect(f.store, k, "one", r1)
	r2 := f.put(f.store, k, "two", r1)
	f.expect(f.store, k, "two", r2)
	f.expect(f.open(), k, "two", r2) // another client sees it at once
}

func absent(t testing.TB, h Harness) {
	f := newFixture(t, h)
	if _, err := f.store.Get(f.ctx, f.key("nothing")); !errors.Is(err, core.ErrNotFound) {
		t.Errorf("get: %v, want ErrNotFound", err)
	}
	f.put(f.store, f.key("a"), "x", core.Absent)
	if _, err := f.store.Get(f.ctx, f.key("nothing")); !errors.Is(err, core.ErrNotFound) {
		t.Errorf("get beside another item: %v, want ErrNotFound", err)
	}
	if err := f.store.Delete(f.ctx, f.key("a"), core.Any); err != nil {
		t.Errorf("delete: %v", err)
	}
	if _, err := f.store.Get(f.ctx, f.key("a")); !errors.Is(err, core.ErrNotFound) {
		t.Errorf("get after delete: %v, want ErrNotFound", err)
	}
}

func (f *fixture) conflict(what string, err error) {
	f.t.Helper()
	if !errors.Is(err, core.ErrConflict) {
		f.t.Errorf("%s: %v, want ErrConflict", what, err)
	}
}

func create(t testing.TB, h Harness) {
	f := newFixture(t, h)
	k := f.key("a")
	r := f.put(f.store, k, "one", core.Absent)
	_, err := f.store.Put(f.ctx, k, []byte("two"), core.Absent)
	f.conflict("put at Absent over an item", err)
	f.expect(f.store, k, "one", r)
	if err := f.store.Delete(f.ctx, k, r); err != nil {
		t.Errorf("delete: %v", err)
	}
	f.put(f.store, k, "three", core.Absent)
}

func replace(t testing.TB, h Harness) {
	f := newFixture(t, h)
	k := f.key("a")
	_, err := f.store.Put(f.ctx, k, []byte("x"), 12345)
	f.conflict("put at a revision of what is absent", err)
	r1 := f.put(f.store, k, "one", core.Absent)
	r2 := f.put(f.store, k, "two", r1)
	_, err = f.store.Put(f.ctx, k, []byte("lost"), r1)
	f.conflict("put at an older revision", err)
	f.expect(f.store, k, "two", r2)
	if err := f.store.Delete(f.ctx, k, core.Any); err != nil {
		t.Errorf("delete: %v", err)
	}
	_, err = f.store.Put(f.ctx, k, []byte("lost"), r2)
	f.conflict("put at the revision of what was deleted", err)
}

func putAny(t testing.TB, h Harness) {
	f := newFixture(t, h)
	k := f.key("a")
	f.expect(f.store, k, "one", f.put(f.store, k, "one", core.Any))
	f.expect(f.store, k, "two", f.put(f.store, k, "two", core.Any))
}

func deletes(t testing.TB, h Harness) {
	f := newFixture(t, h)
	k := f.key("a")
	if err := f.store.Delete(f.ctx, k, core.Any); err != nil {
		t.Errorf("delete at Any of what is absent: %v, want nil", err)
	}
	f.conflict("delete at a revision of what is absent", f.store.Delete(f.ctx, k, 12345))
	r1 := f.put(f.store, k, "one", core.Absent)
	r2 := f.put(f.store, k, "two", r1)
	f.conflict("delete at an older revision", f.store.Delete(f.ctx, k, r1))
	f.expect(f.store, k, "two", r2)
	if err := f.store.Delete(f.ctx, k, r2); err != nil {
		t.Errorf("delete at the present revision: %v", err)
	}
	if _, err := f.store.Get(f.ctx, k); !errors.Is(err, core.ErrNotFound) {
		t.Errorf("get after delete: %v, want ErrNotFound", err)
	}
}

func neverRepeated(t testing.TB, h Harness) {
	f := newFixture(t, h)
	k := f.key("a")
	seen := map[core.Revision]bool{core.Absent: true, core.Any: true}
	note := func(r core.Revision) {
		if seen[r] {
			t.Errorf("revision %d was given before, or means Absent or Any", r)
		}
		seen[r] = true
	}
	for range 10 {
		r := f.put(f.store, k, "same", core.Absent)
		note(r)
		r = f.put(f.store, k, "same", r)
		note(r)
		note(f.put(f.store, k, "same", core.Any))
		if err := f.store.Delete(f.ctx, k, core.Any); err != nil {
			t.Errorf("delete: %v", err)
		}
	}
}

func ownership(t testing.TB, h Harness) {
	f := newFixture(t, h)
	k := f.key("a")
	value := []byte("before")
	r, err := f.store.Put(f.ctx, k, value, core.Absent)
	if err != nil {
		t.Fatalf("put: %v", err)
	}
	copy(value, "AFTER!")
	f.expect(f.store, k, "before", r)
	it, err := f.store.Get(f.ctx, k)
	if err != nil {
		t.Fatalf("get: %v", err)
	}
	copy(it.Value, "AFTER!")
	f.expect(f.store, k, "before", r)
	for it, err := range f.store.List(f.ctx, f.group) {
		if err != nil {
			t.Errorf("list: %v", err)
		}
		copy(it.Value, "AFTER!")
	}
	f.expect(f.store, k, "before", r)
}

func anyText(t testing.TB, h Harness) {
	f := newFixture(t, h)
	names := []string{"a", "A", "a/b", "a b", "Grüße", "日本", "{a}", "*", "a:b", "%2F", "..", strings.Repeat("n", 200)}
	for i, name := range names {
		f.put(f.store, f.key(name), string(rune('a'+i)), core.Absent)
	}
	for i, name := range names {
		if it, err := f.store.Get(f.ctx, f.key(name)); err != nil || string(it.Value) != string(rune('a'+i)) {
			t.Errorf("%q: %q, %v, want %q", name, it.Value, err, string(rune('a'+i)))
		}
	}
	left, right := core.Key{Group: f.group + "/x", Name: "y/z"}, core.Key{Group: f.group + "/x/y", Name: "z"}
	f.put(f.store, left, "left", core.Absent)
	f.expect(f.store, right, "right", f.put(f.store, right, "right", core.Absent))
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	for _, value := range []string{"", string(all), string(bytes.Repeat(all, 256))} {
		k := f.key("value")
		f.expect(f.store, k, value, f.put(f.store, k, value, core.Any))
	}
}
