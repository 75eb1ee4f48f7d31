package actor

import (
	"hash/maphash"
	"sync"

	"github.com/granary-go/granary/engine/internal/index"
)

const registryShards = 128

// registry finds what runs here by name: actors, and raw processes of the engine.
type registry struct {
	seed   maphash.Seed
	shards [registryShards]registryShard
}

type registryShard struct {
	mu    sync.RWMutex
	cells index.Table[string, *cell]
	procs map[string]Process
	_     [64]byte // shards do not share cache lines
}

// Key is the name of the actor, for the registry.
func (c *cell) Key() string { return c.ref.id }

// shard is where id belongs, and its hash.
func (r *registry) shard(id string) (s *registryShard, hash uint64) {
	hash = maphash.String(r.seed, id)
	return &r.shards[hash%registryShards], hash
}

// get finds the actor or the process of this name; at most one of the two is set.
func (r *registry) get(id string) (*cell, Process) {
	s, hash := r.shard(id)
	s.mu.RLock()
	c, p := s.cells.Get(hash, id), s.procs[id]
	s.mu.RUnlock()
	return c, p
}

// takenLocked is called under the shard's lock.
func (s *registryShard) takenLocked(hash uint64, id string) bool {
	return s.cells.Get(hash, id) != nil || s.procs[id] != nil
}

// add enters c; false: the name is taken.
func (r *registry) add(c *cell) bool {
	s, hash := r.shard(c.ref.id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.takenLocked(hash, c.ref.id) {
		return false
	}
	s.cells.Put(hash, c)
	return true
}

func (r *registry) addProcess(id string, p Process) bool {
	s, hash := r.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.takenLocked(hash, id) {
		return false
	}
	if s.procs == nil {
		s.procs = make(map[string]Process)
	}
	s.procs[id] = p
	return true
}

// remove takes c's name back, if it still is c's.
func (r *registry) remove(c *cell) {
	s, hash := r.shard(c.ref.id)
	s.mu.Lock()
	s.cells.Delete(hash, c)
	s.mu.Unlock()
}

func (r *registry) removeProcess(id string) {
	s, _ := r.shard(id)
	s.mu.Lock()
	delete(s.procs, id)
	s.mu.Unlock()
}

// tops are the actors without a parent.
func (r *registry) tops() []*cell {
	return r.list(func(c *cell) bool { return c.parent == nil }, -1)
}

// list collects up to limit actors that want holds for; a negative limit is none.
func (r *registry) list(want func(*cell) bool, limit int) []*cell {
	var out []*cell
	for i := range r.shards {
		s := &r.shards[i]
		s.mu.RLock()
		for c := range s.cells.All() {
			if len(out) == limit {
				break
			}
			if want(c) {
				out = append(out, c)
			}
		}
		s.mu.RUnlock()
	}
	return out
}
