// Package slab keeps values in numbered slots that are used again and again. A slot is addressed by
// index and generation in one 64-bit ID, so an ID of an earlier use never reaches a later one.
package slab

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
)

const (
	shardBits = 5 // 32 shards: takers on as many processors hardly meet
	shards    = 1 << shardBits
	slotBits  = 24 // of an ID: 16,777,216 slots in use at once
	blockSize = 64
	perShard  = 1 << (slotBits - shardBits)
)

// The phases of a slot, the low bits of its state; the rest is the generation.
const (
	free    = 0
	waiting = 1 // taken, nobody claimed it yet
	claimed = 2 // one claimant has it

	phaseBits = 2
)

// Slab is a set of slots. The zero value is empty and ready. It is safe for concurrent use.
type Slab[T any] struct {
	parts [shards]shard[T]
}

type shard[T any] struct {
	mu     sync.Mutex
	free   *Slot[T]
	blocks atomic.Pointer[[]*[blockSize]Slot[T]] // grows by copies; read without the lock
	n      uint32
	_      [64]byte // shards do not share cache lines
}

// Slot is one place of a Slab. Between Take and Release its Value is the taker's, but for the one who
// claimed it: they agree on whose it is by Claim and Abandon.
type Slot[T any] struct {
	Value T
	state atomic.Uint64
	index uint32
	next  *Slot[T]
}

// ID names the present use of the slot. It is never 0.
func (s *Slot[T]) ID() uint64 { return s.state.Load()>>phaseBits<<slotBits | uint64(s.index) }

// Take gives a slot to wait in, or nil when all 16,777,216 are in use.
func (s *Slab[T]) Take() *Slot[T] {
	first := rand.Uint32()
	for i := range uint32(shards) {
		if slot := s.parts[(first+i)%shards].take((first + i) % shards); slot != nil {
			return slot
		}
	}
	return nil
}

func (p *shard[T]) take(number uint32) *Slot[T] {
	p.mu.Lock()
	defer p.mu.Unlock()
	slot := p.free
	if slot == nil {
		if slot = p.grow(number); slot == nil {
			return nil
		}
	}
	p.free = slot.next
	slot.next = nil
	slot.state.Store(slot.state.Load() | waiting)
	return slot
}

// grow adds a block and returns its first slot; mu is held.
func (p *shard[T]) grow(number uint32) *Slot[T] {
	if p.n+blockSize > perShard {
		return nil
	}
	block := new([blockSize]Slot[T])
	for i := range block {
		slot := &block[i]
		slot.index = number | (p.n+uint32(i))<<shardBits
		slot.state.Store(1 << phaseBits)
		if i+1 < blockSize {
			slot.next = &block[i+1]
		}
	}
	var blocks []*[blockSize]Slot[T]
	if old := p.blocks.Load(); old != nil {
		blocks = append(blocks, *old...)
	}
	blocks = append(blocks, block)
	p.blocks.Store(&blocks)
	p.n += blockSize
	return &block[0]
}

// Claim gives the slot of id to its one claimant: nil if it was claimed, abandoned or released before,
// or if id never was one.
func (s *Slab[T]) Claim(id uint64) *Slot[T] {
	slot := s.find(id)
	generation := id >> slotBits << phaseBits
	if slot == nil || !slot.state.CompareAndSwap(generation|waiting, generation|claimed) {
		return nil
	}
	return slot
}

// Waiting reports whether Claim would give the slot of id now.
func (s *Slab[T]) Waiting(id uint64) bool {
	slot := s.find(id)
	return slot != nil && slot.state.Load() == id>>slotBits<<phaseBits|waiting
}

// find is the slot that id is or was one use of; nil: there is none.
func (s *Slab[T]) find(id uint64) *Slot[T] {
	index := uint32(id & (1<<slotBits - 1))
	blocks := s.parts[index%shards].blocks.Load()
	at := index >> shardBits
	if blocks == nil || at/blockSize >= uint32(len(*blocks)) {
		return nil
	}
	return &(*blocks)[at/blockSize][at%blockSize]
}

// Abandon gives back a slot that nobody claimed. False: it was claimed; the taker has to wait for the
// claimant and then Release it.
func (s *Slab[T]) Abandon(slot *Slot[T]) bool {
	old := slot.state.Load()
	if old&(1<<phaseBits-1) != waiting || !slot.state.CompareAndSwap(old, following(old)) {
		return false
	}
	s.giveBack(slot)
	return true
}

// Release gives back a slot that was claimed. Its Value stays as it is for the next taker.
func (s *Slab[T]) Release(slot *Slot[T]) {
	slot.state.Store(following(slot.state.Load()))
	s.giveBack(slot)
}

func (s *Slab[T]) giveBack(slot *Slot[T]) {
	p := &s.parts[slot.index%shards]
	p.mu.Lock()
	slot.next = p.free
	p.free = slot
	p.mu.Unlock()
}

// following is the free state of the next generation; 0 is left out, so that no ID is 0.
func following(state uint64) uint64 {
	generation := (state>>phaseBits + 1) & (1<<(64-slotBits) - 1)
	return max(generation, 1) << phaseBits
}
