package strategy

import (
	"sync/atomic"

	"github.com/granary-go/granary/core"
)

// RoundRobin picks the candidates in turn, whatever the identity. It fits kinds whose activations
// are costly and few, under a lookup that keeps a directory. Each member counts for itself. The zero
// value is ready; it is used by pointer.
type RoundRobin struct{ next atomic.Uint64 }

// Pick is the candidate after the one picked before.
func (r *RoundRobin) Pick(_ core.Identity, candidates []core.Member) (core.Member, bool) {
	if len(candidates) == 0 {
		return core.Member{}, false
	}
	turn := r.next.Add(1) - 1
	return candidates[turn%uint64(len(candidates))], true
}

var _ core.Strategy = (*RoundRobin)(nil)
