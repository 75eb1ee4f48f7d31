package rendezvous

import (
	"fmt"
	"math"
	"testing"
)

// The tests of this file are named in docs/differences.md: each shows that a known weakness of another
// library is none here.

// TestEveryHashHasAnOwner asks for the owner of hashes at both ends, where scores are smallest.
func TestEveryHashHasAnOwner(t *testing.T) {
	for _, weight := range []uint16{1, 100, math.MaxUint16} {
		for n := 1; n <= 20; n++ {
			var es []Entry
			for i := range n {
				es = append(es, Entry{fmt.Sprint("m", i), weight})
			}
			r := NewRing(es)
			for shift := range 64 {
				for _, h := range []uint64{0, 1 << shift, 1<<shift - 1, ^uint64(0) << shift} {
					if _, ok := r.Owner(h); !ok {
						t.Fatalf("%d members of weight %d: nobody owns %x", n, weight, h)
					}
				}
			}
		}
	}
}

// TestSpreadOfNearNames has members whose IDs differ in the last digits only, as addresses of one
// network do.
func TestSpreadOfNearNames(t *testing.T) {
	for name, format := range map[string]string{"ports": "10.0.0.1:%d", "addresses": "10.0.0.%d:7000", "names": "server-%d.example.org"} {
		for _, n := range []int{5, 20} {
			var es []Entry
			for i := range n {
				es = append(es, Entry{fmt.Sprintf(format, 8000+i), 100})
			}
			r := NewRing(es)
			const ids = 100_000
			count := make([]int, n)
			for i := range ids {
				at, _ := r.Owner(Identity("Cart", fmt.Sprint(i)))
				count[at]++
			}
			for i, got := range count {
				if share := float64(got) * float64(n) / ids; share < 0.93 || share > 1.07 {
					t.Errorf("%d %s: %s has %.2f of a fair share", n, name, es[i].ID, share)
				}
			}
		}
	}
}
