package storetest

import (
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/internal/suitetest"
)

// The writers of a check, and what each does.
const (
	writers = 8
	each    = 20
)

// concurrentRows are about several clients of one backend.
func concurrentRows(h Harness) []suitetest.Row {
	return []suitetest.Row{
		{Promise: "of simultaneous creations one succeeds", Check: func(t testing.TB) { oneCreates(t, h) }},
		{Promise: "simultaneous conditional writes lose nothing", Check: func(t testing.TB) { nothingLost(t, h) }},
	}
}

// together runs f in writers goroutines, each with a client of its own.
func (f *fixture) together(do func(i int, s core.Store)) {
	var all sync.WaitGroup
	for i := range writers {
		s := f.open()
		all.Go(func() { do(i, s) })
	}
	all.Wait()
}

func oneCreates(t testing.TB, h Harness) {
	f := newFixture(t, h)
	for round := range each {
		var mu sync.Mutex
		var winner string
		k := f.key(strconv.Itoa(round))
		f.together(func(i int, s core.Store) {
			_, err := s.Put(f.ctx, k, []byte(strconv.Itoa(i)), core.Absent)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil && winner != "":
				t.Errorf("%s and %d have both created %v", winner, i, k)
			case err == nil:
				winner = strconv.Itoa(i)
			case !errors.Is(err, core.ErrConflict):
				t.Errorf("put: %v, want ErrConflict", err)
			}
		})
		if it, err := f.store.Get(f.ctx, k); err != nil || string(it.Value) != winner {
			t.Errorf("the item is %q (%v), the creator %q", it.Value, err, winner)
		}
	}
}

// nothingLost has all writers read the same revision, and then all of them write at it.
func nothingLost(t testing.TB, h Harness) {
	f := newFixture(t, h)
	k := f.key("counter")
	f.put(f.store, k, "0", core.Absent)
	for round := range each {
		var haveRead sync.WaitGroup
		haveRead.Add(writers)
		var written atomic.Int64
		f.together(func(_ int, s core.Store) {
			it, err := s.Get(f.ctx, k)
			haveRead.Done()
			if err != nil || string(it.Value) != strconv.Itoa(round) {
				t.Errorf("after %d increments the counter is %q (%v)", round, it.Value, err)
				return
			}
			haveRead.Wait()
			switch _, err := s.Put(f.ctx, k, []byte(strconv.Itoa(round+1)), it.Revision); {
			case err == nil:
				written.Add(1)
			case !errors.Is(err, core.ErrConflict):
				t.Errorf("put: %v, want ErrConflict", err)
			}
		})
		if n := written.Load(); n != 1 {
			t.Fatalf("%d of %d writes at one revision succeeded, want 1", n, writers)
		}
	}
}
