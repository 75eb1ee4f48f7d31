package rendezvous

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/granary-go/granary/core/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

const identities = 10_000

func entries(n int) []Entry {
	out := make([]Entry, n)
	for i := range out {
		out[i].ID = fmt.Sprintf("018f3c1e-7b7a-7b3c-9b0a-%012x", i)
	}
	return out
}

// owners places identities of three kinds with short, counting keys, as applications use.
func owners(r *Ring) []string {
	out := make([]string, identities)
	for i := range out {
		if at, ok := r.Owner(identityOf(i)); ok {
			out[i] = r.At(at).ID
		}
	}
	return out
}

func identityOf(i int) uint64 {
	kinds := [...]string{"Cart", "User", "Device@2"}
	return Identity(kinds[i%3], fmt.Sprint(i/3))
}

func TestSpread(t *testing.T) {
	for _, n := range []int{2, 3, 5, 10} {
		count := map[string]int{}
		for _, id := range owners(NewRing(entries(n))) {
			count[id]++
		}
		want := float64(identities) / float64(n)
		for id, got := range count {
			if off := math.Abs(float64(got)-want) / want; off > 0.10 {
				t.Errorf("%d members: %s owns %d, %.1f %% off %.0f", n, id, got, 100*off, want)
			}
		}
	}
}

func TestSpreadByWeight(t *testing.T) {
	es := []Entry{{"m1", 50}, {"m2", 0}, {"m3", 200}, {"m4", 400}}
	count := map[string]int{}
	for _, id := range owners(NewRing(es)) {
		count[id]++
	}
	for i, share := range []float64{50, 100, 200, 400} {
		want := identities * share / 750
		if got := float64(count[es[i].ID]); math.Abs(got-want)/want > 0.10 {
			t.Errorf("%s owns %.0f, want %.0f within 10 %%", es[i].ID, got, want)
		}
	}
}

// TestMovement adds and removes one of n members, with equal and with different weights.
func TestMovement(t *testing.T) {
	for _, n := range []int{2, 5, 10} {
		for _, weighted := range []bool{false, true} {
			all := entries(n)
			if weighted {
				for i := range all {
					all[i].Weight = uint16(80 + 40*(i%2))
				}
			}
			share := 1 / float64(n)
			if weighted {
				share *= 1.2
			}
			last := all[n-1].ID
			more, fewer := owners(NewRing(all)), owners(NewRing(all[:n-1]))
			moved := 0
			for i := range more {
				switch {
				case more[i] == fewer[i]:
				case more[i] != last:
					t.Fatalf("%d members: identity %d moved from %s to %s when %s left", n, i, more[i], fewer[i], last)
				default:
					moved++
				}
			}
			if got := float64(moved) / identities; got > share+0.03 || moved == 0 {
				t.Errorf("%d members, weighted %v: %.1f %% moved, want ≤ %.1f %%", n, weighted, 100*got, 100*share+3)
			}
		}
	}
}

func TestOrderDoesNotMatter(t *testing.T) {
	es := entries(9)
	for i := range es {
		es[i].Weight = uint16(i * 50)
	}
	want := owners(NewRing(es))
	random := rand.New(rand.NewPCG(1, 2))
	for range 4 {
		random.Shuffle(len(es), func(i, j int) { es[i], es[j] = es[j], es[i] })
		if !slices.Equal(owners(NewRing(es)), want) {
			t.Fatalf("other owners in the order %v", es)
		}
		// Choice sees them unsorted.
		for i := range 1000 {
			var c Choice
			for at, e := range es {
				c.Offer(at, e.ID, Member(e.ID), e.Weight, identityOf(i))
			}
			if at, ok := c.Best(); !ok || es[at].ID != want[i] {
				t.Fatalf("identity %d: %s, want %s", i, es[at].ID, want[i])
			}
		}
	}
}

func TestTiesGoToTheSmallerID(t *testing.T) {
	for _, weights := range [][2]uint16{{100, 100}, {0, 100}} {
		for _, order := range [][2]string{{"a", "b"}, {"b", "a"}} {
			var c Choice
			c.Offer(0, order[0], 7, weights[0], 9)
			c.Offer(1, order[1], 7, weights[1], 9) // the same hash, so the same draw
			if at, _ := c.Best(); order[at] != "a" {
				t.Errorf("weights %v, order %v: %s", weights, order, order[at])
			}
		}
	}
}

func TestEmptyAndDoubled(t *testing.T) {
	if _, ok := NewRing(nil).Owner(1); ok {
		t.Error("an empty ring has an owner")
	}
	var c Choice
	if _, ok := c.Best(); ok {
		t.Error("nobody was offered, and somebody is best")
	}
	r := NewRing([]Entry{{"a", 1}, {"b", 1}, {"a", 9}})
	if r.Len() != 2 || r.At(0) != (Entry{"a", 9}) {
		t.Errorf("%v", r.entries)
	}
}

func TestMinusLog2(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 10_000 {
		d := random.Uint64() >> (random.Uint64() % 64)
		want := 64 - math.Log2(float64(d|1))
		if got := float64(minusLog2(d)) / (1 << 32); math.Abs(got-want) > 1e-6 {
			t.Fatalf("minusLog2(%x) = %v, want %v", d, got, want)
		}
		if e := d + 1 + random.Uint64N(1+d/1000); e > d && minusLog2(e) > minusLog2(d) {
			t.Fatalf("minusLog2 grows from %x to %x", d, e)
		}
	}
}

func TestIdentityKeepsKindAndKeyApart(t *testing.T) {
	same := [][2][2]string{{{"ab", "c"}, {"a", "bc"}}, {{"a", "b"}, {"b", "a"}}, {{"a", "a"}, {"", "aa"}}, {{"a", ""}, {"", "a"}}}
	for _, p := range same {
		if Identity(p[0][0], p[0][1]) == Identity(p[1][0], p[1][1]) {
			t.Errorf("%v and %v have one hash", p[0], p[1])
		}
	}
}

func TestNoAllocation(t *testing.T) {
	es := entries(5)
	es[0].Weight = 7
	r := NewRing(es)
	kind, key := "Cart", "alice"
	if n := testing.AllocsPerRun(100, func() { _, _ = r.Owner(Identity(kind, key)) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkOwner(b *testing.B) {
	for _, weight := range []uint16{0, 50} {
		es := entries(10)
		for i := range es {
			es[i].Weight = weight * uint16(i)
		}
		r := NewRing(es)
		b.Run(fmt.Sprintf("members=10/weighted=%v", weight > 0), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = r.Owner(Identity("Cart", "alice"))
			}
		})
	}
}
