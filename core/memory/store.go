package memory

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync"

	"github.com/granary-go/granary/core"
)

// Bounds of a Store.
const (
	// MaxStored is how many bytes of groups, names and values a Store holds, with 128 for each item
	// and each group that was ever fenced. A write beyond it gives core.ErrOverloaded.
	MaxStored = 4 << 30

	itemCost = 128
)

// Store keeps items in memory. It offers core.Fencer. Safe for concurrent use.
//
// A write through the Store itself carries no token and is not compared with claims; from Level 3 on
// the engine writes through Fence only.
type Store struct {
	limit int64

	mu     sync.RWMutex // guards what follows
	groups map[string]map[string]stored
	claims map[string]core.Token // the greatest token ever claimed for a group
	last   core.Revision         // of all keys, so none is repeated, also not after Delete
	used   int64
}

// stored is an item. Its value is never modified.
type stored struct {
	value    []byte
	revision core.Revision
}

// NewStore makes an empty store.
func NewStore() *Store {
	return &Store{limit: MaxStored, groups: map[string]map[string]stored{}, claims: map[string]core.Token{}}
}

// Get returns a copy of the item at k.
func (s *Store) Get(ctx context.Context, k core.Key) (core.Item, error) {
	if err := ctx.Err(); err != nil {
		return core.Item{}, fmt.Errorf("memory: get %q/%q: %w", k.Group, k.Name, err)
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	it, ok := s.groups[k.Group][k.Name]
	if !ok {
		return core.Item{}, fmt.Errorf("memory: get %q/%q: %w", k.Group, k.Name, core.ErrNotFound)
	}
	return core.Item{Key: k, Value: bytes.Clone(it.value), Revision: it.revision}, nil
}

// Put writes a copy of value if the item is at revision at.
func (s *Store) Put(ctx context.Context, k core.Key, value []byte, at core.Revision) (core.Revision, error) {
	return s.put(ctx, k, value, at, nil)
}

// Delete removes the item if it is at revision at.
func (s *Store) Delete(ctx context.Context, k core.Key, at core.Revision) error {
	return s.remove(ctx, k, at, nil)
}

// put writes under a claim, if there is one.
func (s *Store) put(ctx context.Context, k core.Key, value []byte, at core.Revision, under *fenced) (core.Revision, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	it, err := s.check(ctx, k, at, under)
	if err != nil {
		return 0, fmt.Errorf("memory: put %q/%q: %w", k.Group, k.Name, err)
	}
	grown := cost(k, value)
	if it.revision != core.Absent {
		grown -= cost(k, it.value)
	}
	if s.used+grown > s.limit {
		return 0, fmt.Errorf("memory: put %q/%q: the store holds %d of %d bytes: %w", k.Group, k.Name, s.used, s.limit, core.ErrOverloaded)
	}
	s.used += grown
	s.last++
	group, ok := s.groups[k.Group]
	if !ok {
		group = map[string]stored{}
		s.groups[k.Group] = group
	}
	group[k.Name] = stored{value: bytes.Clone(value), revision: s.last}
	return s.last, nil
}

func cost(k core.Key, value []byte) int64 {
	return int64(len(k.Group) + len(k.Name) + len(value) + itemCost)
}

// remove deletes under a claim, if there is one.
func (s *Store) remove(ctx context.Context, k core.Key, at core.Revision, under *fenced) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	it, err := s.check(ctx, k, at, under)
	if err != nil {
		return fmt.Errorf("memory: delete %q/%q: %w", k.Group, k.Name, err)
	}
	if it.revision == core.Absent {
		return nil
	}
	s.used -= cost(k, it.value)
	delete(s.groups[k.Group], k.Name)
	if len(s.groups[k.Group]) == 0 {
		delete(s.groups, k.Group)
	}
	return nil
}

// check is the item at k, if it may be written. s.mu is held.
func (s *Store) check(ctx context.Context, k core.Key, at core.Revision, under *fenced) (stored, error) {
	it := s.groups[k.Group][k.Name]
	switch {
	case ctx.Err() != nil:
		return it, ctx.Err()
	case under != nil && k.Group == under.group && under.token.Compare(s.claims[k.Group]) < 0:
		return it, fmt.Errorf("token %s is below %s: %w", under.token, s.claims[k.Group], core.ErrFenced)
	case at != core.Any && at != it.revision:
		return it, fmt.Errorf("it is at revision %d, not %d: %w", it.revision, at, core.ErrConflict)
	}
	return it, nil
}

// List walks the names that the group has now; items that are deleted before their turn are left out.
func (s *Store) List(ctx context.Context, group string) iter.Seq2[core.Item, error] {
	return func(yield func(core.Item, error) bool) {
		for _, name := range s.names(group) {
			if err := ctx.Err(); err != nil {
				yield(core.Item{}, fmt.Errorf("memory: list %q: %w", group, err))
				return
			}
			s.mu.RLock()
			it, ok := s.groups[group][name]
			s.mu.RUnlock()
			if ok && !yield(core.Item{Key: core.Key{Group: group, Name: name}, Value: bytes.Clone(it.value), Revision: it.revision}, nil) {
				return
			}
		}
	}
}

func (s *Store) names(group string) []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Sorted(maps.Keys(s.groups[group]))
}

// Fence claims group for t.
func (s *Store) Fence(ctx context.Context, group string, t core.Token) (core.Store, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("memory: fence %q: %w", group, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	greatest, claimed := s.claims[group]
	if t.Compare(greatest) < 0 {
		return nil, fmt.Errorf("memory: fence %q: token %s is below %s: %w", group, t, greatest, core.ErrFenced)
	}
	if !claimed {
		if s.used+itemCost+int64(len(group)) > s.limit {
			return nil, fmt.Errorf("memory: fence %q: the store holds %d of %d bytes: %w", group, s.used, s.limit, core.ErrOverloaded)
		}
		s.used += itemCost + int64(len(group))
	}
	s.claims[group] = t
	return &fenced{store: s, group: group, token: t}, nil
}

// fenced is the Store whose writes to one group carry a token.
type fenced struct {
	store *Store
	group string
	token core.Token
}

func (f *fenced) Get(ctx context.Context, k core.Key) (core.Item, error) { return f.store.Get(ctx, k) }

func (f *fenced) Put(ctx context.Context, k core.Key, value []byte, at core.Revision) (core.Revision, error) {
	return f.store.put(ctx, k, value, at, f)
}

func (f *fenced) Delete(ctx context.Context, k core.Key, at core.Revision) error {
	return f.store.remove(ctx, k, at, f)
}

func (f *fenced) List(ctx context.Context, group string) iter.Seq2[core.Item, error] {
	return f.store.List(ctx, group)
}

var (
	_ core.Store  = (*Store)(nil)
	_ core.Fencer = (*Store)(nil)
	_ core.Store  = (*fenced)(nil)
)
