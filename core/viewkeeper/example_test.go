package viewkeeper_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/viewkeeper"
)

// table is a backend of one process: a record, and a count of renewals for each member.
type table struct {
	mu      sync.Mutex
	record  []byte
	writeID string
	leases  map[core.MemberID]uint64
}

func (t *table) Read(context.Context) (viewkeeper.Snapshot, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return viewkeeper.Snapshot{Record: t.record, Leases: maps.Clone(t.leases)}, nil
}

func (t *table) Write(_ context.Context, old string, next core.Topology, record []byte) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.writeID != old {
		return core.ErrConflict
	}
	t.record, t.writeID = record, next.View.Record().WriteID
	for _, m := range next.Joined {
		t.leases[m.ID] = 1
	}
	for _, m := range next.Left {
		delete(t.leases, m.ID)
	}
	return nil
}

func (t *table) Renew(_ context.Context, id core.MemberID) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.leases[id] == 0 {
		return core.ErrEvicted
	}
	t.leases[id]++
	return nil
}

func (t *table) Lease(context.Context, core.MemberID) error   { return nil } // Write makes it
func (t *table) Release(context.Context, core.MemberID) error { return nil } // Write ends it
func (t *table) Watches() bool                                { return false }

// Await tells of nothing here, so members see changes when they poll.
func (t *table) Await(ctx context.Context, _ viewkeeper.Snapshot) error {
	<-ctx.Done()
	return ctx.Err()
}

// Two members that share a table see each other.
func ExampleProvider() {
	ctx := context.Background()
	var running sync.WaitGroup
	env := core.Env{ // the engine lends it
		Logger: slog.New(slog.DiscardHandler), Clock: core.SystemClock{}, Rand: rand.New(rand.NewPCG(1, 2)), Hooks: &core.Hooks{},
		Go: func(_ string, f func()) { running.Go(f) },
	}
	shared := &table{leases: map[core.MemberID]uint64{}}
	cfg := viewkeeper.Config{Name: "table", Promises: core.Promises{Ordered: true, Linearizable: true}, TTL: time.Second}
	one, two := viewkeeper.New(cfg, shared), viewkeeper.New(cfg, shared)
	both := make(chan *core.View, 10)
	err := one.Join(ctx, env, core.Member{ID: "m1", Address: "10.0.0.1:7000", Status: core.Up}, func(v *core.View) {
		if v.Len() == 2 {
			both <- v
		}
	})
	fmt.Println(err)
	err = two.Join(ctx, env, core.Member{ID: "m2", Address: "10.0.0.2:7000", Status: core.Up}, func(*core.View) {})
	fmt.Println(err)
	for m := range (<-both).All() {
		fmt.Println(m.ID, m.Address)
	}
	fmt.Println(two.Leave(ctx), one.Leave(ctx))
	running.Wait()
	// Output:
	// <nil>
	// <nil>
	// m1 10.0.0.1:7000
	// m2 10.0.0.2:7000
	// <nil> <nil>
}
