package disthash

import "github.com/granary-go/granary/core"

// FNV-1a with 32 bits (Fowler, Noll, Vo).
const (
	fnvBasis = 2166136261
	fnvPrime = 16777619
)

func fnv1a(h uint32, s string) uint32 {
	for i := range len(s) {
		h = (h ^ uint32(s[i])) * fnvPrime
	}
	return h
}

// compatOwner is the index of the owner as Proto.Actor Go chooses it, or -1: of one member, that
// one; of several, in ascending order of ID, the first with the greatest hash of key and address, if
// that is not zero. The kind takes no part.
func compatOwner(members []core.Member, key string) int {
	if len(members) == 1 {
		return 0
	}
	best, owner := uint32(0), -1
	start := fnv1a(fnvBasis, key)
	for i := range members {
		if score := fnv1a(start, members[i].Address); score > best {
			best, owner = score, i
		}
	}
	return owner
}
