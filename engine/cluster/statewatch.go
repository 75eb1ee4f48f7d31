package cluster

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/internal/gossip"
)

// maxWatches bounds the StateWatches of one node.
const maxWatches = 1_024

// StateUpdate is one thing that a StateWatch tells.
type StateUpdate[T any] struct {
	Member  core.MemberID
	Value   T
	Version uint64 // it orders all writes of the member
	// Gone says that the member is in the view no more, or is blocked: it says nothing any longer.
	Gone bool
}

// StateWatch follows one key of all members. It is made by WatchState. It is safe for concurrent use;
// what one call of Next returns no other does.
type StateWatch[T any] struct{ w *watch }

// WatchState follows key: first comes what each member says now, then every change. For each member only
// its latest value waits, so a slow reader misses what was overtaken and never the last; what waits is
// bounded by the number of members. It may be called before Start. End it with Stop. The error is
// core.ErrOverloaded (1,024 of them are open) or core.ErrStopped.
func WatchState[T any](n *Node, key string) (*StateWatch[T], error) {
	w := newWatch(n, key)
	if err := w.open(); err != nil {
		return nil, fmt.Errorf("cluster: watch state %.80q: %w", key, err)
	}
	return &StateWatch[T]{w}, nil
}

// Next waits for the next update. An error that is core.ErrInvalid tells of a value that is no T; Member
// and Version of the update are set, and Next may be called again. The others are core.ErrStopped, once
// the watch or the node has stopped and all that waited was told, and the cause of ctx.
func (w *StateWatch[T]) Next(ctx context.Context) (StateUpdate[T], error) {
	u, err := w.w.next(ctx)
	out := StateUpdate[T]{Member: u.member, Version: u.value.Version, Gone: u.gone}
	if err == nil && !u.gone {
		out.Value, err = DecodeState[T](u.value.Message)
	}
	if err != nil {
		err = fmt.Errorf("cluster: state %.80q: %w", w.w.key, err)
	}
	return out, err
}

// Stop ends the watch, any number of times.
func (w *StateWatch[T]) Stop() { w.w.stop() }

// update is what waits for one reader about one member.
type update struct {
	member core.MemberID
	value  gossip.Value
	gone   bool
}

// watch follows one key. Its lock is below that of states.
type watch struct {
	s    *states
	key  string
	wake chan struct{}
	over chan struct{}
	dead <-chan struct{} // the node has stopped, maybe without having been started

	mu      sync.Mutex
	waiting map[core.MemberID]update
	order   []core.MemberID            // of waiting, as they came
	told    map[core.MemberID]struct{} // whom the reader takes for there
	ended   bool
}

func newWatch(n *Node, key string) *watch {
	return &watch{s: &n.gossip.states, dead: n.life.over, key: key, wake: make(chan struct{}, 1), over: make(chan struct{}), waiting: map[core.MemberID]update{}, told: map[core.MemberID]struct{}{}}
}

// open begins with what is known.
func (w *watch) open() error {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	switch {
	case w.s.closed:
		return fmt.Errorf("the node has stopped: %w", core.ErrStopped)
	case len(w.s.watches) >= maxWatches:
		return fmt.Errorf("%d watches are open; stop some: %w", maxWatches, core.ErrOverloaded)
	case w.s.watches == nil:
		w.s.watches = map[*watch]struct{}{}
	}
	w.s.watches[w] = struct{}{}
	for _, member := range slices.Sorted(maps.Keys(w.s.by)) {
		if v, ok := w.s.by[member][w.key]; ok {
			w.offer(member, v)
		}
	}
	return nil
}

// offer has the reader told of a value.
func (w *watch) offer(member core.MemberID, v gossip.Value) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.put(update{member: member, value: v})
}

// drop has the reader told that a member is gone, if the reader knows of it.
func (w *watch) drop(member core.MemberID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, told := w.told[member]; told {
		w.put(update{member: member, gone: true})
		return
	}
	w.take(member)
}

// put has u wait in the place of an earlier one; mu is held, here and below.
func (w *watch) put(u update) {
	if _, there := w.waiting[u.member]; !there {
		w.order = append(w.order, u.member)
	}
	w.waiting[u.member] = u
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *watch) take(member core.MemberID) {
	if _, there := w.waiting[member]; there {
		delete(w.waiting, member)
		w.order = slices.DeleteFunc(w.order, func(m core.MemberID) bool { return m == member })
	}
}

// first takes the oldest that waits.
func (w *watch) first() (update, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.order) == 0 {
		return update{}, false
	}
	u := w.waiting[w.order[0]]
	delete(w.waiting, u.member)
	w.order = w.order[1:]
	if u.gone {
		delete(w.told, u.member)
	} else {
		w.told[u.member] = struct{}{}
	}
	if len(w.order) > 0 { // another reader may have been woken for the same
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
	return u, true
}

func (w *watch) next(ctx context.Context) (update, error) {
	for {
		if u, ok := w.first(); ok {
			return u, nil
		}
		select {
		case <-w.wake:
			continue
		case <-w.over:
		case <-w.dead:
		case <-ctx.Done():
			return update{}, context.Cause(ctx)
		}
		if u, ok := w.first(); ok { // it came before the end
			return u, nil
		}
		return update{}, fmt.Errorf("the watch has ended: %w", core.ErrStopped)
	}
}

func (w *watch) stop() {
	w.s.mu.Lock()
	delete(w.s.watches, w)
	w.s.mu.Unlock()
	w.end()
}

func (w *watch) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.ended {
		w.ended = true
		close(w.over)
	}
}

// close ends all watches.
func (s *states) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for w := range s.watches {
		w.end()
	}
	s.watches = nil
}
