package gossip

import (
	"slices"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/simbug"
)

// entry is all that is known of one member.
type entry struct {
	id   core.MemberID
	slot int // index of the member in lines and in the caches of checks
	gone bool
	// upto is the line: every write of the owner up to it is here, unless a later one has taken its
	// place. Values above it are known by chance and are not passed on yet.
	upto uint64
	news uint64 // the round in which upto rose last
	// values ascends by version. A change makes a new slice, so that messages may share the old one.
	values  []Value
	listing listing
}

// find is the index of the value under key.
func (e *entry) find(key string) (int, bool) {
	for i := range e.values {
		if e.values[i].Key == key {
			return i, true
		}
	}
	return 0, false
}

// newer reports whether version follows what is known of key.
func (e *entry) newer(key string, version uint64) bool {
	i, found := e.find(key)
	if !found {
		return !e.listing.ended(key, version)
	}
	return version > e.values[i].Version || simbug.On("gossip-merges-by-arrival") && version != e.values[i].Version
}

// count is the number of keys, without KeyKeys.
func (e *entry) count() int {
	if e.listing.at > 0 {
		return len(e.values) - 1
	}
	return len(e.values)
}

// full reports whether key would be one too many.
func (e *entry) full(key string) bool {
	if e.count() < MaxKeys || key == KeyKeys {
		return false
	}
	_, found := e.find(key)
	return !found
}

// put makes v the value of its key.
func (e *entry) put(v Value) {
	next := make([]Value, 0, len(e.values)+1)
	for _, old := range e.values {
		if old.Key != v.Key {
			next = append(next, old)
		}
	}
	i := len(next)
	for i > 0 && next[i-1].Version > v.Version {
		i--
	}
	e.values = slices.Insert(next, i, v)
}

// highest is the highest version that is known.
func (e *entry) highest() uint64 {
	if len(e.values) == 0 {
		return e.upto
	}
	return max(e.upto, e.values[len(e.values)-1].Version)
}

// since lists the values above line that may be passed on.
func (e *entry) since(line uint64) []Value {
	if e.upto <= line {
		return nil
	}
	from := e.above(line)
	return slices.Clip(e.values[from:max(from, e.above(e.upto))])
}

// above is the index of the first value above version.
func (e *entry) above(version uint64) int {
	i := len(e.values)
	for i > 0 && e.values[i-1].Version > version {
		i--
	}
	return i
}

// restamp gives every value but the listing a new version above the highest that others claim to have seen, and
// returns the last one.
func (e *entry) restamp(above uint64) (last uint64) {
	next := slices.Clone(e.values)
	for i := range next {
		if next[i].Key != KeyKeys {
			above++
			next[i].Version = above
		}
	}
	e.values = next
	return above
}
