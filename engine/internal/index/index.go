// Package index finds objects by a key that they hold themselves. It keeps a pointer and 32 bits of a
// hash for each, where a map of Go would keep the key once more: 16 to 22 bytes an object.
package index

import "iter"

// Keyed is an object that knows its key, which never changes while it is in a Table. The zero value stands
// for no object.
type Keyed[K comparable] interface {
	comparable
	Key() K
}

// Table is a set of objects with open addressing. The zero value is empty and ready. It has no lock of its
// own, and hashes nothing: its user has the hash anyway, to choose a shard by its low bits.
type Table[K comparable, V Keyed[K]] struct {
	hashes  []uint32 // the high bits of each object's; 0: the place is free
	objects []V
	n       int
}

// A table grows by half when five of six places are taken: so at least half of them are.
const (
	smallest = 8
	fullNum  = 5
	fullDen  = 6
)

// Len is the number of objects.
func (t *Table[K, V]) Len() int { return t.n }

// Get finds the object of key; the zero value if there is none. It does not allocate.
func (t *Table[K, V]) Get(hash uint64, key K) (found V) {
	if i := t.find(short(hash), key); i >= 0 {
		return t.objects[i]
	}
	return found
}

// Put enters v, whose key has this hash and must not be in the table yet.
func (t *Table[K, V]) Put(hash uint64, v V) {
	if (t.n+1)*fullDen > len(t.hashes)*fullNum {
		t.grow()
	}
	t.n++
	t.place(short(hash), v)
}

// Delete takes v out, if it is v that stands under its key.
func (t *Table[K, V]) Delete(hash uint64, v V) bool {
	i := t.find(short(hash), v.Key())
	if i < 0 || t.objects[i] != v {
		return false
	}
	t.n--
	var none V
	for hole := i; ; {
		t.hashes[hole], t.objects[hole] = 0, none
		next := t.movable(hole)
		if next < 0 {
			return true
		}
		t.hashes[hole], t.objects[hole] = t.hashes[next], t.objects[next]
		hole = next
	}
}

// All walks the objects, in no order. The table must not change meanwhile.
func (t *Table[K, V]) All() iter.Seq[V] {
	return func(yield func(V) bool) {
		for i, h := range t.hashes {
			if h != 0 && !yield(t.objects[i]) {
				return
			}
		}
	}
}

// short is the part of a hash that is kept; never 0.
func short(hash uint64) uint32 { return max(uint32(hash>>32), 1) }

// home is where the search for a hash begins.
func (t *Table[K, V]) home(h uint32) int { return int(uint64(h) * uint64(len(t.hashes)) >> 32) }

func (t *Table[K, V]) after(i int) int {
	if i++; i < len(t.hashes) {
		return i
	}
	return 0
}

// find is the place of key, or -1. There always is a free place, where the search ends.
func (t *Table[K, V]) find(h uint32, key K) int {
	if t.n == 0 {
		return -1
	}
	for i := t.home(h); t.hashes[i] != 0; i = t.after(i) {
		if t.hashes[i] == h && t.objects[i].Key() == key {
			return i
		}
	}
	return -1
}

func (t *Table[K, V]) place(h uint32, v V) {
	i := t.home(h)
	for t.hashes[i] != 0 {
		i = t.after(i)
	}
	t.hashes[i], t.objects[i] = h, v
}

// movable is the first object behind the hole, without a gap, that could not be found across the hole;
// -1: there is none.
func (t *Table[K, V]) movable(hole int) int {
	for i := t.after(hole); t.hashes[i] != 0; i = t.after(i) {
		if t.distance(t.home(t.hashes[i]), i) >= t.distance(hole, i) {
			return i
		}
	}
	return -1
}

// distance is the number of steps from one place to another.
func (t *Table[K, V]) distance(from, to int) int {
	if to >= from {
		return to - from
	}
	return to - from + len(t.hashes)
}

func (t *Table[K, V]) grow() {
	hashes, objects := t.hashes, t.objects
	size := max(smallest, len(hashes)+len(hashes)/2)
	t.hashes, t.objects = make([]uint32, size), make([]V, size)
	for i, h := range hashes {
		if h != 0 {
			t.place(h, objects[i])
		}
	}
}
