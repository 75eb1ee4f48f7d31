package main

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/clustertest"
	"github.com/granary-go/granary/engine/grain"
	"github.com/granary-go/granary/engine/remote"
	"github.com/granary-go/granary/lookups/disthash"
)

// ledger knows which instances of each grain are alive, on all members together.
type ledger struct {
	mu       sync.Mutex
	alive    map[string]int
	overlaps int
	made     int
}

func (l *ledger) note(key string, d int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.alive[key] += d; l.alive[key] > 1 {
		l.overlaps++
	}
	if d > 0 {
		l.made++
	}
}

// worker is a grain whose calls take their time, so that they queue.
type worker struct {
	key    string
	ledger *ledger
}

func (w *worker) Work(context.Context, int) (int, error) {
	time.Sleep(10 * time.Millisecond)
	return 1, nil
}

func (w *worker) Deactivate(context.Context, core.StopReason) error {
	w.ledger.note(w.key, -1)
	return nil
}

// TestQueuedWorkMovesWithoutOverlap has grains with 400 ms of queued calls each while a member joins and
// takes half of them over: no two instances of one grain are alive at once, and every
// call is answered. It is named in docs/differences.md.
func TestQueuedWorkMovesWithoutOverlap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const grains, each = 60, 40
		l := &ledger{alive: map[string]int{}}
		kind := grain.KindOf("Worker", func(self grain.Self) (*worker, error) {
			l.note(self.Identity().Key, 1)
			return &worker{self.Identity().Key, l}, nil
		}, grain.Method("Work", (*worker).Work))
		c := clustertest.Start(t, clustertest.Config{
			Members: 1, Kinds: grain.Kinds{kind}, Network: remote.MemoryConfig{Delay: 100 * time.Microsecond},
			Lookup: func() (core.Lookup, error) { return disthash.New(disthash.Config{}) },
		})
		ids := clustertest.Identities("Worker", grains)
		var wg sync.WaitGroup
		for _, id := range ids {
			for range each {
				wg.Go(func() {
					ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
					defer cancel()
					if _, err := grain.Call[int](ctx, c.Node(0), id, "Work", 1); err != nil {
						t.Errorf("%s: %v", id, err)
					}
				})
			}
		}
		time.Sleep(50 * time.Millisecond) // the queues stand
		c.Add()
		for _, id := range ids {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				defer cancel()
				if _, err := grain.Call[int](ctx, c.Node(1), id, "Work", 1); err != nil {
					t.Errorf("%s from the joiner: %v", id, err)
				}
			})
		}
		wg.Wait()
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.overlaps > 0 {
			t.Errorf("%d times two instances of one grain were alive", l.overlaps)
		}
		if l.made < grains+grains/4 {
			t.Errorf("%d instances of %d grains: the join moved too little for this test", l.made, grains)
		}
	})
}
