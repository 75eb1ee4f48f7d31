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
