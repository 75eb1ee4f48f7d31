package strategy

import (
	"math"
	"testing"

	"github.com/granary-go/granary/core"
)

// TestTurnsBeyondTheCounter: when the counter of turns begins anew, members still have turns.
func TestTurnsBeyondTheCounter(t *testing.T) {
	candidates := []core.Member{{ID: "a"}, {ID: "b"}, {ID: "c"}}
	for _, at := range []uint64{math.MaxInt32, math.MaxUint32, math.MaxInt64, math.MaxUint64} {
		var r RoundRobin
		r.next.Store(at - 6)
		seen := map[core.MemberID]int{}
		for range 12 {
			m, ok := r.Pick(core.Identity{Kind: "K", Key: "k"}, candidates)
			if !ok {
				t.Fatalf("nobody's turn at %d", at)
			}
			seen[m.ID]++
		}
		for _, c := range candidates {
			if seen[c.ID] < 3 {
				t.Errorf("around %d: turns %v", at, seen)
			}
		}
	}
}
