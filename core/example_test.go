package core_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"sync"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/memory"
)

// static is a provider whose members are known beforehand: it reports them once and promises nothing.
type static struct {
	members []core.Member
	left    bool
}

func (s *static) Promises() core.Promises { return core.Promises{} }

func (s *static) Join(ctx context.Context, env core.Env, self core.Member, report func(*core.View)) error {
	s.members = core.NewMembers(append(s.members, self)...)
	return s.Watch(ctx, env, report)
}

func (s *static) Watch(_ context.Context, _ core.Env, report func(*core.View)) error {
	if s.left {
		return core.ErrStopped
	}
	v, err := core.NewView(core.ViewRecord{Members: s.members})
	if err == nil {
		report(v)
	}
	return err
}

func (s *static) Update(context.Context, core.Member) error { return nil }
func (s *static) Leave(context.Context) error               { s.left = true; return nil }

func ExampleProvider() {
	var p core.Provider = &static{members: []core.Member{{ID: "m2", Address: "10.0.0.2:7000", Kinds: []string{"Cart"}, Status: core.Up}}}
	self := core.Member{ID: "m1", Address: "10.0.0.1:7000", Kinds: []string{"Cart"}, Status: core.Up}
	err := p.Join(context.Background(), core.Env{}, self, func(v *core.View) {
		for m := range v.All() {
			fmt.Println(m.ID, m.Address, m.Status)
		}
	})
	fmt.Println(err, p.Leave(context.Background()), p.Watch(context.Background(), core.Env{}, nil))
	// Output:
	// m1 10.0.0.1:7000 up
	// m2 10.0.0.2:7000 up
	// <nil> <nil> stopped
}

// A strategy of one's own: members at the first address that answers to the key's region.
func ExampleStrategyFunc() {
	byRegion := core.StrategyFunc(func(id core.Identity, candidates []core.Member) (core.Member, bool) {
		for _, m := range candidates {
			if len(id.Key) > 1 && string(m.ID[:2]) == id.Key[:2] {
				return m, true
			}
		}
		if len(candidates) == 0 {
			return core.Member{}, false
		}
		return candidates[0], true
	})
	hosts := []core.Member{{ID: "eu-1"}, {ID: "us-1"}}
	for _, key := range []string{"us/alice", "eu/bob", "asia/carol"} {
		m, _ := byRegion.Pick(core.Identity{Kind: "Cart", Key: key}, hosts)
		fmt.Println(key, m.ID)
	}
	// Output:
	// us/alice us-1
	// eu/bob eu-1
	// asia/carol eu-1
}

// tiny is a store in a map, with one revision counter for all keys.
type tiny struct {
	mu    sync.Mutex
	items map[core.Key]core.Item
	last  core.Revision
}

func (s *tiny) Get(ctx context.Context, k core.Key) (core.Item, error) {
	if ctx.Err() != nil {
		return core.Item{}, ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	it, ok := s.items[k]
	if !ok {
		return it, core.ErrNotFound
	}
	it.Value = bytes.Clone(it.Value)
	return it, nil
}

func (s *tiny) Put(_ context.Context, k core.Key, value []byte, at core.Revision) (core.Revision, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if at != core.Any && at != s.items[k].Revision {
		return 0, core.ErrConflict
	}
	s.last++
	s.items[k] = core.Item{Key: k, Value: bytes.Clone(value), Revision: s.last}
	return s.last, nil
}

func (s *tiny) Delete(_ context.Context, k core.Key, at core.Revision) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if at != core.Any && at != s.items[k].Revision {
		return core.ErrConflict
	}
	delete(s.items, k)
	return nil
}

func (s *tiny) List(ctx context.Context, group string) iter.Seq2[core.Item, error] {
	return func(yield func(core.Item, error) bool) {
		s.mu.Lock()
		var keys []core.Key
		for k := range s.items {
			if k.Group == group {
				keys = append(keys, k)
			}
		}
		s.mu.Unlock()
		for _, k := range keys {
			it, err := s.Get(ctx, k)
			if errors.Is(err, core.ErrNotFound) {
				continue // deleted meanwhile
			}
			if !yield(it, err) || err != nil {
				return
			}
		}
	}
}

func ExampleStore() {
	ctx := context.Background()
	var s core.Store = &tiny{items: map[core.Key]core.Item{}}
	k := core.Key{Group: "Cart/alice", Name: "lines"}
	r1, err := s.Put(ctx, k, []byte("tea"), core.Absent)
	fmt.Println(err)
	_, err = s.Put(ctx, k, []byte("tea, milk"), r1)
	fmt.Println(err)
	_, err = s.Put(ctx, k, []byte("lost update"), r1)
	fmt.Println(errors.Is(err, core.ErrConflict))
	for it, err := range s.List(ctx, "Cart/alice") {
		fmt.Printf("%s: %s %v\n", it.Key.Name, it.Value, err)
	}
	// Output:
	// <nil>
	// <nil>
	// true
	// lines: tea, milk <nil>
}

func ExampleFencer() {
	ctx := context.Background()
	var s core.Fencer = memory.NewStore()
	group := core.Identity{Kind: "Cart", Key: "alice"}.String()
	older, _ := s.Fence(ctx, group, core.Token{Epoch: 7, Seq: 1})
	newer, _ := s.Fence(ctx, group, core.Token{Epoch: 8, Seq: 1}) // another activation took over
	k := core.Key{Group: group, Name: "lines"}
	_, err := older.Put(ctx, k, []byte("from a zombie"), core.Any)
	fmt.Println(errors.Is(err, core.ErrFenced))
	_, err = newer.Put(ctx, k, []byte("tea"), core.Any)
	fmt.Println(err)
	// Output:
	// true
	// <nil>
}

func ExampleParseIdentity() {
	id, err := core.ParseIdentity("Cart@2/europe/alice")
	fmt.Println(id.Kind, id.Key, err)
	_, err = core.ParseIdentity("Cart/two\nlines")
	fmt.Println(err)
	// Output:
	// Cart@2 europe/alice <nil>
	// identity "Cart"/"two\nlines": the key must be UTF-8 without control characters: invalid
}

func ExampleDiff() {
	old, _ := core.NewView(core.ViewRecord{Epoch: 1, Members: []core.Member{{ID: "m1", Address: "a:1", Status: core.Up}, {ID: "m2", Address: "b:1", Status: core.Up}}})
	next, _ := core.NewView(core.ViewRecord{Epoch: 2, Members: []core.Member{{ID: "m1", Address: "a:1", Status: core.Leaving}, {ID: "m3", Address: "c:1", Status: core.Up}}})
	t := core.Diff(old, next)
	fmt.Println(t.Joined[0].ID, t.Left[0].ID, t.Changed[0].ID, t.Changed[0].Status)
	// Output: m3 m2 m1 leaving
}

func ExampleWithDelivery() {
	err := core.WithDelivery(fmt.Errorf("call 10.0.0.1:7000: %w", core.ErrUnreachable), core.Undelivered)
	fmt.Println(err, errors.Is(err, core.ErrUnreachable), core.DeliveryOf(err))
	// Output: call 10.0.0.1:7000: unreachable true undelivered
}

func ExampleViewRecord_MarshalJSON() {
	r := core.ViewRecord{Format: core.RecordFormat, Lineage: "l", Epoch: 5, Revision: 1, WriteID: "w", Extra: []byte(`{"zone":"b"}`)}
	data, err := r.MarshalJSON()
	fmt.Println(string(data), err)
	// Output: {"format":1,"lineage":"l","epoch":5,"revision":1,"write_id":"w","zone":"b"} <nil>
}

func ExampleJoinHooks() {
	log := slog.New(slog.DiscardHandler)
	total := int64(0)
	hooks := core.JoinHooks(
		core.Hooks{Counted: func(name string, n int64) { log.Info(name, "n", n) }},
		core.Hooks{Counted: func(_ string, n int64) { total += n }},
	)
	hooks.Counted("grain.activations", 2)
	fmt.Println(total)
	// Output: 2
}
