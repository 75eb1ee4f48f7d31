package bbolt

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/leaktest"
	"github.com/granary-go/granary/core/storetest"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childVariable); dir != "" {
		os.Exit(child(dir))
	}
	leaktest.Main(m)
}

func open(t testing.TB, path string) *Store {
	t.Helper()
	s, cleanup, err := Open(Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cleanup)
	return s
}

func put(t testing.TB, s core.Store, k core.Key, value string) core.Revision {
	t.Helper()
	r, err := s.Put(t.Context(), k, []byte(value), core.Any)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func expect(t testing.TB, s core.Store, k core.Key, value string) {
	t.Helper()
	if it, err := s.Get(t.Context(), k); err != nil || string(it.Value) != value {
		t.Errorf("%v: %.20q, %v, want %.20q", k, it.Value, err, value)
	}
}

func TestConformance(t *testing.T) {
	storetest.Run(t, storetest.Harness{
		New: func(t testing.TB) func() core.Store {
			s := open(t, filepath.Join(t.TempDir(), "store.db"))
			return func() core.Store { return s }
		},
	})
}

// TestEverythingIsThereAfterARestart: items, revisions that go on, and claims.
func TestEverythingIsThereAfterARestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	k := core.Key{Group: "Cart/alice", Name: "state"}
	first, cleanup, err := Open(Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := first.Fence(t.Context(), k.Group, core.Token{Epoch: 7, Seq: 1 << 63}); err != nil {
		t.Fatal(err)
	}
	gone := put(t, first, core.Key{Group: "Cart/bob", Name: "state"}, "b")
	last := put(t, first, k, "one")
	if err := first.Delete(t.Context(), core.Key{Group: "Cart/bob", Name: "state"}, gone); err != nil {
		t.Fatal(err)
	}
	cleanup()
	cleanup()

	second := open(t, path)
	it, err := second.Get(t.Context(), k)
	if err != nil || string(it.Value) != "one" || it.Revision != last {
		t.Errorf("%+v, %v, want revision %d", it, err, last)
	}
	if r := put(t, second, core.Key{Group: "Cart/bob", Name: "state"}, "again"); r <= last || r == gone {
		t.Errorf("revision %d after %d: it is repeated", r, last)
	}
	if _, err := second.Fence(t.Context(), k.Group, core.Token{Epoch: 7, Seq: 1}); !errors.Is(err, core.ErrFenced) {
		t.Errorf("an older claim after the restart: %v", err)
	}
}

func TestAfterClose(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "store.db"))
	f, err := s.Fence(t.Context(), "g", core.Token{Seq: 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	k := core.Key{Group: "g", Name: "n"}
	_, get := s.Get(t.Context(), k)
	_, put := f.Put(t.Context(), k, nil, core.Any)
	_, fence := s.Fence(t.Context(), "g", core.Token{Seq: 2})
	var list error
	for _, list = range s.List(t.Context(), "g") {
	}
	for what, err := range map[string]error{"get": get, "put": put, "delete": s.Delete(t.Context(), k, core.Any), "fence": fence, "list": list} {
		if !errors.Is(err, core.ErrStopped) {
			t.Errorf("%s: %v, want ErrStopped", what, err)
		}
	}
}

// TestContextThatEndsInTheQueue: a write that waits for others is not made once its caller has given up.
func TestContextThatEndsInTheQueue(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "store.db"))
	ctx, cancel := context.WithCancel(t.Context())
	entered, leave := make(chan struct{}), make(chan struct{})
	var others sync.WaitGroup
	others.Go(func() {
		_ = s.update(t.Context(), func(*bolt.Tx) error { close(entered); <-leave; return nil })
	})
	<-entered
	others.Go(func() {
		if _, err := s.Put(ctx, core.Key{Group: "g", Name: "late"}, nil, core.Any); !errors.Is(err, context.Canceled) {
			t.Errorf("put: %v", err)
		}
	})
	cancel()
	close(leave)
	others.Wait()
	if _, err := s.Get(t.Context(), core.Key{Group: "g", Name: "late"}); !errors.Is(err, core.ErrNotFound) {
		t.Errorf("the item of a caller that had given up: %v", err)
	}
}

func TestBounds(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "store.db"))
	for _, tt := range []struct {
		name  string
		key   core.Key
		value int
		ok    bool
	}{
		{"longest names", core.Key{Group: strings.Repeat("g", MaxName), Name: strings.Repeat("n", MaxName)}, 1, true},
		{"group one longer", core.Key{Group: strings.Repeat("g", MaxName+1)}, 1, false},
		{"name one longer", core.Key{Name: strings.Repeat("n", MaxName+1)}, 1, false},
		{"largest value", core.Key{Group: "v"}, MaxValue, true},
		{"value one larger", core.Key{Group: "w"}, MaxValue + 1, false},
	} {
		_, err := s.Put(t.Context(), tt.key, make([]byte, tt.value), core.Absent)
		if tt.ok != (err == nil) || !tt.ok && !errors.Is(err, core.ErrInvalid) {
			t.Errorf("%s: %v", tt.name, err)
		}
		if it, err := s.Get(t.Context(), tt.key); tt.ok && len(it.Value) != tt.value || !tt.ok && !errors.Is(err, core.ErrNotFound) {
			t.Errorf("%s, read: %d bytes, %v", tt.name, len(it.Value), err)
		}
	}
	if _, err := s.Fence(t.Context(), strings.Repeat("g", MaxName+1), core.Token{}); !errors.Is(err, core.ErrInvalid) {
		t.Errorf("fence: %v", err)
	}
}

func TestNamesThatDifferInCase(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "store.db"))
	for _, k := range []core.Key{{Group: "Cart/alice", Name: "a"}, {Group: "cart/alice", Name: "a"}, {Group: "Cart/alice", Name: "A"}} {
		put(t, s, k, k.Group+k.Name)
	}
	for _, k := range []core.Key{{Group: "Cart/alice", Name: "a"}, {Group: "cart/alice", Name: "a"}, {Group: "Cart/alice", Name: "A"}} {
		expect(t, s, k, k.Group+k.Name)
	}
}

func TestListOfLargeItemsIsPaged(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "store.db"))
	for _, name := range []string{"", "a", "b", "c", "d"} {
		put(t, s, core.Key{Group: "g", Name: name}, strings.Repeat(name+"x", pageBytes/2))
	}
	var names []string
	for it, err := range s.List(t.Context(), "g") {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, it.Key.Name)
		put(t, s, core.Key{Group: "g", Name: "d"}, strings.Repeat("grown", 8<<20)) // remaps the file
	}
	if got := strings.Join(names, "|"); got != "|a|b|c|d" {
		t.Errorf("listed %s", got)
	}
}

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	open(t, filepath.Join(dir, "locked"))
	foreign, err := bolt.Open(filepath.Join(dir, "foreign"), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = foreign.Update(func(tx *bolt.Tx) error {
		_, err := tx.CreateBucket([]byte("theirs"))
		return err
	})
	if err := errors.Join(err, foreign.Close()); err != nil {
		t.Fatal(err)
	}
	later := open(t, filepath.Join(dir, "later"))
	err = later.db.Update(func(tx *bolt.Tx) error { return tx.Bucket(bucketFile).Put(keyFormat, []byte("2")) })
	if err := errors.Join(err, later.Close()); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		path string
		is   error
		says string
	}{
		"no path":              {"", core.ErrInvalid, "Config.Path is empty"},
		"no folder":            {filepath.Join(dir, "no", "file"), fs.ErrNotExist, "make its folder first"},
		"a folder":             {dir, nil, dir},
		"open elsewhere":       {filepath.Join(dir, "locked"), core.ErrBusy, "end that one, or name another file"},
		"text":                 {write("text", strings.Repeat("hello ", 5000)), core.ErrInvalid, "put back a copy"},
		"a few bytes":          {write("short", "x"), core.ErrInvalid, "put back a copy"},
		"of another program":   {filepath.Join(dir, "foreign"), core.ErrInvalid, "of another program"},
		"of a later version":   {filepath.Join(dir, "later"), core.ErrInvalid, `format "2"`},
		"a file as the folder": {filepath.Join(write("file", "x"), "store.db"), nil, "file"},
	} {
		s, cleanup, err := Open(Config{Path: tt.path, LockTimeout: 100 * time.Millisecond})
		if err == nil || s != nil || cleanup != nil || tt.is != nil && !errors.Is(err, tt.is) || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v, want %v with %q", name, err, tt.is, tt.says)
		}
	}
}
