package actor

import (
	"hash/maphash"
	"sync"
)

const registryShards = 128

// registry finds what runs here by name: actors, and raw processes of the engine.
type registry struct {
	seed   maphash.Seed
	shards [registryShards]registryShard
}

type registryShard struct {
	mu    sync.RWMutex
	cells map[string]*cell
	procs map[string]Process
	_     [64]byte // shards do not share cache lines
}

func (r *registry) shard(id string) *registryShard {
	return &r.shards[maphash.String(r.seed, id)%registryShards]
}

// get finds the actor or the process of this name; at most one of the two is set.
func (r *registry) get(id string) (*cell, Process) {
	s := r.shard(id)
	s.mu.RLock()
	c, p := s.cells[id], s.procs[id]
	s.mu.RUnlock()
	return c, p
}

// add enters c; false: the name is taken.
func (r *registry) add(c *cell) bool {
	s := r.shard(c.ref.id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cells[c.ref.id] != nil || s.procs[c.ref.id] != nil {
		return false
	}
	if s.cells == nil {
		s.cells = make(map[string]*cell)
	}
	s.cells[c.ref.id] = c
	return true
}

func (r *registry) addProcess(id string, p Process) bool {
	s := r.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cells[id] != nil || s.procs[id] != nil {
		return false
	}
	if s.procs == nil {
		s.procs = make(map[string]Process)
	}
	s.procs[id] = p
	return true
}

// remove takes c's name back, if it still is c's.
func (r *registry) remove(id string, c *cell) {
	s := r.shard(id)
	s.mu.Lock()
	if s.cells[id] == c {
		delete(s.cells, id)
	}
	s.mu.Unlock()
}

func (r *registry) removeProcess(id string) {
	s := r.shard(id)
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
		for _, c := range s.cells {
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
