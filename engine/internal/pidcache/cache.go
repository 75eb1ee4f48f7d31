// Package pidcache remembers where identities live: a sharded, bounded map from an identity to its
// placement and the reference by which it is reached. In the steady state a call finds its target
// here and nobody is asked.
//
// It is a cache and no truth: an entry is dropped as soon as a call finds nobody there, a notice says
// that the activation ended, or its member is gone.
package pidcache

import (
	"hash/maphash"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/simbug"
	"github.com/granary-go/granary/engine/actor"
)

// shards is a power of two; 64 keep callers on many cores apart.
const shards = 64

// maxGone bounds the memory of members that are gone. It only has to outlast the calls that were
// under way when a member went.
const maxGone = 1024

// Entry is where one identity lives.
type Entry struct {
	core.Placement
	Ref *actor.Ref
}

// Cache is safe for concurrent use. New makes one.
type Cache struct {
	seed   maphash.Seed
	shards [shards]shard

	mu    sync.Mutex // guards writes of gone
	order []core.MemberID
	gone  atomic.Pointer[map[core.MemberID]bool]
}

type shard struct {
	mu    sync.RWMutex
	index map[core.Identity]int32
	slots []slot
	free  []int32
	hand  int // of the clock: the next slot to look at when one has to go
	limit int
	_     [16]byte // keeps the locks of neighbours off one cache line
}

type slot struct {
	id    core.Identity
	entry Entry
	used  atomic.Bool // since the hand last passed
}

// New makes a cache of at most limit entries, rounded up to a multiple of 64.
func New(limit int) *Cache {
	c := &Cache{seed: maphash.MakeSeed()}
	for i := range c.shards {
		c.shards[i].index = map[core.Identity]int32{}
		c.shards[i].limit = max(1, (limit+shards-1)/shards)
	}
	c.gone.Store(&map[core.MemberID]bool{})
	return c
}

func (c *Cache) shard(id core.Identity) *shard { return &c.shards[c.Hash(id)%shards] }

// Hash is what the cache sorts identities by, for others who need one of the same identity.
func (c *Cache) Hash(id core.Identity) uint64 { return maphash.Comparable(c.seed, id) }

// Get finds the entry of id. It does not allocate.
func (c *Cache) Get(id core.Identity) (Entry, bool) { return c.Find(c.Hash(id), id) }

// Find is Get for who has the Hash of id.
func (c *Cache) Find(hash uint64, id core.Identity) (Entry, bool) {
	s := &c.shards[hash%shards]
	s.mu.RLock()
	defer s.mu.RUnlock()
	i, ok := s.index[id]
	if !ok {
		return Entry{}, false
	}
	sl := &s.slots[i]
	if !sl.used.Load() { // a load first, so that readers share the line
		sl.used.Store(true)
	}
	return sl.entry, true
}

// Put remembers where id lives, and returns false if it does not: the member is known to be gone, or
// an entry with a greater token is here.
func (c *Cache) Put(id core.Identity, e Entry) bool {
	s := c.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	// Read under the lock: DropMember marks first and walks the shards then, so that either this
	// sees the mark or the walk sees the entry.
	if (*c.gone.Load())[e.PID.Member] {
		return false
	}
	if i, ok := s.index[id]; ok {
		if s.slots[i].entry.Token.Compare(e.Token) > 0 {
			return false
		}
		s.slots[i].entry = e
		return true
	}
	i := s.take()
	s.slots[i].id, s.slots[i].entry = id, e
	s.slots[i].used.Store(false) // a first use has to come: a scan does not drive out what is in use
	s.index[id] = i
	return true
}

// take finds a slot: an empty one, a new one while there is room, or that of the entry which was not
// used for longest, as far as a clock with one bit can tell.
func (s *shard) take() int32 {
	if n := len(s.free); n > 0 {
		i := s.free[n-1]
		s.free = s.free[:n-1]
		return i
	}
	if len(s.slots) < s.limit {
		if len(s.slots) == cap(s.slots) {
			s.grow()
		}
		s.slots = s.slots[:len(s.slots)+1]
		return int32(len(s.slots) - 1)
	}
	for s.slots[s.hand].used.Swap(false) {
		s.hand = (s.hand + 1) % len(s.slots)
	}
	i := s.hand
	s.hand = (s.hand + 1) % len(s.slots)
	delete(s.index, s.slots[i].id)
	return int32(i)
}

// grow doubles the slots. They are copied field by field, since a slot holds an atomic.
func (s *shard) grow() {
	bigger := make([]slot, len(s.slots), min(s.limit, max(8, 2*len(s.slots))))
	for i := range s.slots {
		bigger[i].id, bigger[i].entry = s.slots[i].id, s.slots[i].entry
		bigger[i].used.Store(s.slots[i].used.Load())
	}
	s.slots = bigger
}

// Drop removes the entry of id if it names exactly pid; a newer placement is left alone.
func (c *Cache) Drop(id core.Identity, pid core.PID) bool {
	s := c.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	i, ok := s.index[id]
	if !ok || s.slots[i].entry.PID != pid {
		return false
	}
	s.remove(i)
	return true
}

// DropMember removes what lives on the member, and refuses later entries for it until Readmit: a call
// that began before may still bring one.
func (c *Cache) DropMember(member core.MemberID) int {
	c.mark(member)
	return c.dropIf(func(e *Entry) bool { return e.PID.Member == member && !simbug.On("cache-keeps-departed") })
}

// Forget removes what lives on the member, as it may not be there any more; later entries for it are taken.
func (c *Cache) Forget(member core.MemberID) int {
	return c.dropIf(func(e *Entry) bool { return e.PID.Member == member })
}

// Clear removes everything.
func (c *Cache) Clear() { c.dropIf(func(*Entry) bool { return true }) }

func (c *Cache) dropIf(gone func(*Entry) bool) int {
	n := 0
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		for _, j := range s.index {
			if gone(&s.slots[j].entry) {
				s.remove(j)
				n++
			}
		}
		s.mu.Unlock()
	}
	return n
}

func (s *shard) remove(i int32) {
	delete(s.index, s.slots[i].id)
	s.slots[i].id, s.slots[i].entry = core.Identity{}, Entry{}
	s.slots[i].used.Store(false)
	s.free = append(s.free, i)
}

// Readmit takes entries for the member again: a provider without an order may lose a member from
// sight and find it again.
func (c *Cache) Readmit(member core.MemberID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := *c.gone.Load()
	if !old[member] {
		return
	}
	c.order = slices.DeleteFunc(c.order, func(id core.MemberID) bool { return id == member })
	next := maps.Clone(old)
	delete(next, member)
	c.gone.Store(&next)
}

func (c *Cache) mark(member core.MemberID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := *c.gone.Load()
	if old[member] {
		return
	}
	c.order = append(c.order, member)
	if len(c.order) > maxGone {
		c.order = c.order[1:]
	}
	next := make(map[core.MemberID]bool, len(c.order))
	for _, id := range c.order {
		next[id] = true
	}
	c.gone.Store(&next)
}

// Len is the number of entries.
func (c *Cache) Len() int {
	n := 0
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.RLock()
		n += len(s.index)
		s.mu.RUnlock()
	}
	return n
}
