package ratelimit

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

func TestLimiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := New(core.SystemClock{})
		for i := range 5 {
			if ok, _ := r.Take("a", "K", 5); !ok {
				t.Fatalf("token %d", i)
			}
		}
		ok, wait := r.Take("a", "K", 5)
		if ok || wait != 200*time.Millisecond {
			t.Fatalf("%v, %v", ok, wait)
		}
		if ok, _ := r.Take("b", "K", 5); !ok {
			t.Error("another peer has to wait")
		}
		if ok, _ := r.Take("a", "Other", 5); !ok {
			t.Error("another kind has to wait")
		}
		if ok, _ := r.Take("a", "K", 0); !ok {
			t.Error("without a limit one has to wait")
		}
		time.Sleep(wait)
		if ok, _ := r.Take("a", "K", 5); !ok {
			t.Error("after the time told one has to wait")
		}
		time.Sleep(time.Hour)
		n := 0
		for ok := true; ok; n++ {
			ok, _ = r.Take("a", "K", 5)
		}
		if n != 6 {
			t.Errorf("%d at once after a pause, want 5", n-1)
		}
		for i := range 2 * maxBuckets {
			r.Take(core.MemberID(core.Token{Seq: uint64(i)}.String()), "K", 5)
			time.Sleep(time.Nanosecond)
		}
		if len(r.buckets) > maxBuckets {
			t.Errorf("%d buckets", len(r.buckets))
		}
		r.Forget("b")
		for k := range r.buckets {
			if k.peer == "b" {
				t.Error("b is not forgotten")
			}
		}
	})
}

// Whoever has not asked for longest loses its bucket, and nobody else: a peer that is out of tokens must
// not get new ones since others came.
func TestEvictsWhoeverAskedLongestAgo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const rarely = 1e-6 // tokens a second: who has spent one waits for days
		r := New(core.SystemClock{})
		peer := func(i int) core.MemberID { return core.MemberID(core.Token{Seq: uint64(i)}.String()) }
		take := func(i int) bool {
			time.Sleep(time.Nanosecond)
			ok, _ := r.Take(peer(i), "K", rarely)
			return ok
		}
		for i := range maxBuckets {
			if !take(i) {
				t.Fatalf("peer %d has no first token", i)
			}
		}
		const again = 10 // these ask once more, in vain, so the next one is the oldest
		for i := range again {
			if take(i) {
				t.Fatalf("peer %d has a second token", i)
			}
		}
		for i := range 3 {
			take(maxBuckets + i)
			for j := range maxBuckets + i + 1 {
				_, kept := r.buckets[key{peer(j), "K"}]
				if gone := j >= again && j <= again+i; kept == gone {
					t.Fatalf("after %d newcomers the bucket of peer %d is kept: %v", i+1, j, kept)
				}
			}
		}
	})
}
