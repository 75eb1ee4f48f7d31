package convert

import (
	"slices"

	"github.com/granary-go/granary/core"
)

// TopologyHash is Proto.Actor's hash of a set of members, in any order: IDs in ascending order of
// bytes, joined without a separator. Addresses and kinds take no part, so within a cluster of
// Granary members View.Hash is what counts. The empty set has hash 0.
func TopologyHash(ids []core.MemberID) uint64 {
	var joined []byte
	for _, id := range slices.Sorted(slices.Values(ids)) {
		joined = append(joined, id...)
	}
	return murmur3(joined)
}
