package rendezvous

import (
	"cmp"
	"math/bits"
	"slices"
	"strings"
)

// defaultWeight is the share of a member whose weight is 0.
const defaultWeight = 100

// The seeds keep member IDs, kinds and keys of equal text apart.
const (
	seedMember = 2
	seedKind   = 3
	seedKey    = 4
)

// Member is the hash of a member ID, which whoever chooses often computes once.
func Member(id string) uint64 { return String(seedMember, id) }

// Identity is the hash of a grain's identity. Kind and key both take part, apart from each other.
func Identity(kind, key string) uint64 {
	return Combine(String(seedKind, kind), String(seedKey, key))
}

// Choice finds the best of the members that are offered to it, in any order, for one identity: the
// one with the highest random weight. It allocates nothing. Not safe for concurrent use; the zero
// value has been offered nobody.
//
// A member's score is weight / -log2(draw), where draw is a number between 0 and 1 that depends on
// member and identity alone; so a member is best as often as its share of the weights, and the best
// of a set stays best when others leave. The logarithm has 32 binary digits after the point and
// scores are compared as whole numbers, so every architecture decides the same. Equal scores go to
// the greater draw, equal draws to the smaller ID.
type Choice struct {
	id     string
	draw   uint64
	log    uint64 // of draw; 0: not computed yet
	weight uint64
	index  int
	some   bool
}

// Offer lets a member compete: its index for the caller's use, its ID, Member of the ID, its weight
// (0 means 100), and Identity of what is placed, the same in all calls.
func (c *Choice) Offer(index int, id string, member uint64, weight uint16, identity uint64) {
	o := Choice{id: id, draw: Combine(member, identity), weight: uint64(cmp.Or(weight, defaultWeight)), index: index, some: true}
	if !c.some || o.beats(c) {
		*c = o
	}
}

// Best is the index of the best member offered so far; false if there was none.
func (c *Choice) Best() (index int, ok bool) { return c.index, c.some }

// beats compares o with c; it computes logarithms only where weights differ.
func (o *Choice) beats(c *Choice) bool {
	if o.weight != c.weight {
		mine, theirs := o.weight*c.logarithm(), c.weight*o.logarithm()
		if mine != theirs {
			return mine > theirs
		}
	}
	if o.draw != c.draw {
		return o.draw > c.draw
	}
	return o.id < c.id
}

func (c *Choice) logarithm() uint64 {
	if c.log == 0 {
		c.log = minusLog2(c.draw)
	}
	return c.log
}

// minusLog2 is -log2(draw / 2^64) with 32 binary digits after the point, at least 1 and below 2^38.
// It never grows with draw: digit by digit, by squaring.
func minusLog2(draw uint64) uint64 {
	draw |= 1
	whole := bits.Len64(draw) - 1
	x := draw << (63 - whole) // in [1, 2), 63 binary digits after the point
	log := uint64(whole)
	for range 32 {
		hi, lo := bits.Mul64(x, x) // in [1, 4), 126 digits
		digit := hi >> 63
		log = log<<1 | digit
		x = hi<<(1-digit) | lo>>(63+digit)
	}
	return 64<<32 - log
}

// Entry is a member in a Ring.
type Entry struct {
	ID     string
	Weight uint16 // 0 means 100
}

// Ring chooses among a fixed set of members, whose hashes it keeps. It is immutable and safe for
// concurrent use; the zero value has no members.
type Ring struct {
	entries []Entry // ascending by ID
	hashes  []uint64
}

// NewRing makes a ring of a copy of entries, in any order. Of several with one ID the last stays.
func NewRing(entries []Entry) *Ring {
	sorted := slices.Clone(entries)
	slices.SortStableFunc(sorted, func(a, b Entry) int { return strings.Compare(a.ID, b.ID) })
	r := &Ring{}
	for i, e := range sorted {
		if i+1 < len(sorted) && sorted[i+1].ID == e.ID {
			continue
		}
		r.entries = append(r.entries, e)
		r.hashes = append(r.hashes, Member(e.ID))
	}
	return r
}

// Len is the number of members.
func (r *Ring) Len() int { return len(r.entries) }

// At is the member with the i-th smallest ID.
func (r *Ring) At(i int) Entry { return r.entries[i] }

// Owner is the position, for At, of the member that owns identity, a value of Identity; false if the
// ring has no members. O(Len), without allocation.
func (r *Ring) Owner(identity uint64) (i int, ok bool) {
	var c Choice
	for i := range r.entries {
		e := &r.entries[i]
		c.Offer(i, e.ID, r.hashes[i], e.Weight, identity)
	}
	return c.Best()
}
