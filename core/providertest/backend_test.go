package providertest

import (
	"context"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/internal/suitetest"
	"github.com/granary-go/granary/core/viewkeeper"
)

// table is a backend that may be away and may be wiped, with one defect.
type table struct {
	defect string

	mu     sync.Mutex
	record []byte
	id     string
	leases map[core.MemberID]uint64
	away   bool
	wiped  bool
}

func (b *table) open() error {
	b.mu.Lock()
	if b.away && b.defect != "joins do not wait" {
		return core.ErrUnreachable
	}
	if b.away {
		return core.ErrInvalid
	}
	return nil
}

func (b *table) Read(context.Context) (viewkeeper.Snapshot, error) {
	defer b.mu.Unlock()
	if err := b.open(); err != nil {
		return viewkeeper.Snapshot{}, err
	}
	return viewkeeper.Snapshot{Record: b.record, Leases: maps.Clone(b.leases)}, nil
}

func (b *table) Write(_ context.Context, old string, next core.Topology, record []byte) error {
	defer b.mu.Unlock()
	if err := b.open(); err != nil {
		return err
	}
	if b.id != old || b.wiped && b.defect == "what is wiped stays so" {
		return core.ErrConflict
	}
	for _, m := range next.Joined {
		b.leases[m.ID] = 1
	}
	for _, m := range next.Left {
		delete(b.leases, m.ID)
	}
	b.record, b.id = record, next.View.Record().WriteID
	return nil
}

func (b *table) Renew(_ context.Context, id core.MemberID) error {
	defer b.mu.Unlock()
	if err := b.open(); err != nil {
		return err
	}
	if b.leases[id] == 0 {
		return core.ErrEvicted
	}
	b.leases[id]++
	return nil
}

func (b *table) Lease(context.Context, core.MemberID) error   { return nil }
func (b *table) Release(context.Context, core.MemberID) error { return nil }
func (b *table) Watches() bool                                { return b.defect == "silence is the end" }

func (b *table) Await(ctx context.Context, _ viewkeeper.Snapshot) error {
	<-ctx.Done()
	return ctx.Err()
}

func (b *table) outage() (back func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.away = true
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.away = false
		if b.defect == "silence is the end" {
			delete(b.leases, slices.Max(slices.Collect(maps.Keys(b.leases))))
		}
	}
}

func (b *table) wipe() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.record, b.id, b.wiped = nil, "", true
	clear(b.leases)
}

// lonely tells, in each new lineage, of itself alone at first.
type lonely struct {
	*viewkeeper.Provider
	defect string
}

func (l lonely) Join(ctx context.Context, env core.Env, self core.Member, report func(*core.View)) error {
	var lineage string
	return l.Provider.Join(ctx, env, self, func(v *core.View) {
		if l.defect == "views have gaps" && lineage != "" && lineage != v.Lineage() {
			r := v.Record()
			r.Members = slices.DeleteFunc(r.Members, func(m core.Member) bool { return m.ID != self.ID })
			r.Epoch--
			if alone, err := core.NewView(r); err == nil {
				report(alone)
			}
		}
		lineage = v.Lineage()
		report(v)
	})
}

// harnessOf has a table with a defect, if any, behind each check.
func harnessOf(defect string) Harness {
	return Harness{
		New: func(testing.TB) World {
			b := &table{defect: defect, leases: map[core.MemberID]uint64{}}
			cfg := viewkeeper.Config{Name: "table", Promises: core.Promises{Ordered: true, Linearizable: true}, TTL: time.Second}
			return World{
				Provider: func() core.Provider { return lonely{viewkeeper.New(cfg, b), defect} },
				Outage:   b.outage, Wipe: b.wipe,
			}
		},
		Settle: 5 * time.Second, Silent: 5 * time.Second, Bubble: true,
	}
}

// Each promise about the backend is found broken by a twin, and kept by a provider in order.
func TestDefectsOfBackendsAreFound(t *testing.T) {
	if broken := Broken(t, harnessOf("")); len(broken) > 0 {
		t.Errorf("broken without a defect: %q", broken)
	}
	for defect, promise := range map[string]string{
		"silence is the end":     "an outage of the backend takes nobody out",
		"joins do not wait":      "a join waits for the end of an outage",
		"what is wiped stays so": "wiped data are stored again, and nobody is missing for a moment",
		"views have gaps":        "wiped data are stored again, and nobody is missing for a moment",
	} {
		t.Run(defect, func(t *testing.T) {
			h := harnessOf(defect)
			all := rows(h, traitsOf(t, h))
			i := slices.IndexFunc(all, func(r suitetest.Row) bool { return r.Promise == promise })
			if i < 0 {
				t.Fatalf("no row %q", promise)
			}
			if broken := suitetest.Broken(t, true, all[i:i+1]); len(broken) == 0 {
				t.Errorf("%q was not found broken", promise)
			}
		})
	}
}
