package storetest

import (
	"context"
	"iter"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/internal/suitetest"
	"github.com/granary-go/granary/core/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// forgetful offers everything and keeps nothing: no revisions (one for writers, another for readers), no conditions, no copies, no groups,
// no fences, no end of a walk.
type forgetful struct {
	mu    sync.Mutex
	items map[string][]byte
}

func (f *forgetful) Get(_ context.Context, k core.Key) (core.Item, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return core.Item{Key: k, Value: f.items[k.Group+"/"+k.Name], Revision: 2}, nil
}

func (f *forgetful) Put(_ context.Context, k core.Key, value []byte, _ core.Revision) (core.Revision, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.items[k.Group+"/"+k.Name] = value
	return 1, nil
}

func (f *forgetful) Delete(_ context.Context, k core.Key, _ core.Revision) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.items, k.Group+"/"+k.Name)
	return nil
}

// List walks everything twice, and goes on although nobody listens.
func (f *forgetful) List(context.Context, string) iter.Seq2[core.Item, error] {
	return func(yield func(core.Item, error) bool) {
		f.mu.Lock()
		var all []core.Item
		for name, value := range f.items {
			all = append(all, core.Item{Key: core.Key{Name: name}, Value: value, Revision: 1})
		}
		f.mu.Unlock()
		for _, it := range slices.Concat(all, all) {
			if !yield(it, nil) {
				defer yield(it, nil) // the loop panics at it
			}
		}
	}
}

func (f *forgetful) Fence(context.Context, string, core.Token) (core.Store, error) { return f, nil }

func TestATwinThatKeepsNothingFailsEveryRow(t *testing.T) {
	h := Harness{
		New: func(testing.TB) func() core.Store {
			f := &forgetful{items: map[string][]byte{}}
			return func() core.Store { return f }
		},
		Limit: 5 * time.Second,
	}
	suitetest.MustFail(t, false, rows(h, true))
}

func TestAStoreWithoutFencerIsNotTestedForIt(t *testing.T) {
	skipped := 0
	for _, row := range rows(Harness{}, false) {
		if row.Skip != "" {
			skipped++
		}
	}
	if skipped != len(fenceRows(Harness{}, false)) || skipped == 0 {
		t.Errorf("%d rows are skipped", skipped)
	}
}
