package pidcache

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

func identity(n int) core.Identity { return core.Identity{Kind: "K", Key: fmt.Sprint(n)} }

func entry(member string, n int, seq uint64) Entry {
	pid := core.PID{Address: "h:1", ID: fmt.Sprintf("g/%d", n), Member: core.MemberID(member)}
	return Entry{Placement: core.Placement{PID: pid, Token: core.Token{Seq: seq}}}
}

func TestGetPutDrop(t *testing.T) {
	c := New(1000)
	id := identity(1)
	if _, ok := c.Get(id); ok {
		t.Fatal("an empty cache has an entry")
	}
	old, next := entry("a", 1, 1), entry("b", 2, 2)
	if !c.Put(id, old) || !c.Put(id, next) {
		t.Fatal("refused")
	}
	if c.Put(id, old) {
		t.Error("an entry with a smaller token was taken")
	}
	if c.Drop(id, old.PID) {
		t.Error("dropped what does not equal the stale one")
	}
	if got, ok := c.Get(id); !ok || got != next {
		t.Fatalf("got %v, %v", got, ok)
	}
	if !c.Drop(id, next.PID) || c.Len() != 0 {
		t.Fatalf("%d entries left", c.Len())
	}
}

func TestDropMember(t *testing.T) {
	c := New(10_000)
	for i := range 1000 {
		c.Put(identity(i), entry([]string{"a", "b"}[i%2], i, 0))
	}
	if n := c.DropMember("a"); n != 500 {
		t.Fatalf("dropped %d", n)
	}
	if c.Len() != 500 {
		t.Fatalf("%d left", c.Len())
	}
	if c.Put(identity(1), entry("a", 1, 9)) {
		t.Error("an entry for a member that is gone was taken")
	}
	c.Readmit("a")
	if !c.Put(identity(1), entry("a", 1, 9)) {
		t.Error("an entry for a member that is back was refused")
	}
	c.Clear()
	if c.Len() != 0 {
		t.Errorf("%d left", c.Len())
	}
}

func TestBoundKeepsWhatIsUsed(t *testing.T) {
	const limit = 64 * 16
	c := New(limit)
	hot := identity(-1)
	c.Put(hot, entry("a", -1, 0))
	for i := range 20 * limit {
		if _, ok := c.Get(hot); !ok {
			t.Fatalf("the entry in use was evicted after %d others", i)
		}
		c.Put(identity(i), entry("a", i, 0))
	}
	if c.Len() > limit {
		t.Fatalf("%d entries, the limit is %d", c.Len(), limit)
	}
	if c.Len() < limit/2 {
		t.Fatalf("%d entries of %d: room is wasted", c.Len(), limit)
	}
}

// TestAgainstMap tries random schedules against the plainest possible model.
func TestAgainstMap(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 7))
		c, model := New(100_000), map[core.Identity]Entry{}
		gone := map[core.MemberID]bool{}
		for step := range 300 {
			id := identity(r.IntN(40))
			e := entry(fmt.Sprint("m", r.IntN(5)), r.IntN(60), uint64(r.IntN(4)))
			switch r.IntN(10) {
			case 0, 1, 2, 3:
				old, had := model[id]
				want := !gone[e.PID.Member] && !(had && old.Token.Compare(e.Token) > 0)
				if got := c.Put(id, e); got != want {
					t.Fatalf("seed %d step %d: Put is %v", seed, step, got)
				}
				if want {
					model[id] = e
				}
			case 4, 5:
				want := model[id].PID == e.PID
				if got := c.Drop(id, e.PID); got != want {
					t.Fatalf("seed %d step %d: Drop is %v", seed, step, got)
				}
				if want {
					delete(model, id)
				}
			case 6:
				if r.IntN(8) == 0 {
					gone[e.PID.Member] = true
					c.DropMember(e.PID.Member)
					for k, v := range model {
						if v.PID.Member == e.PID.Member {
							delete(model, k)
						}
					}
				}
			default:
				got, ok := c.Get(id)
				if want, had := model[id]; ok != had || got != want {
					t.Fatalf("seed %d step %d: Get is %v, %v", seed, step, got, ok)
				}
			}
			if c.Len() != len(model) {
				t.Fatalf("seed %d step %d: %d entries, want %d", seed, step, c.Len(), len(model))
			}
		}
	}
}

// TestNoEntryOfADepartedMemberStays races Put with DropMember: whatever the order, nothing is left.
func TestNoEntryOfADepartedMemberStays(t *testing.T) {
	for round := range 200 {
		c := New(1000)
		member := fmt.Sprint("m", round)
		var wg sync.WaitGroup
		wg.Go(func() {
			for i := range 50 {
				c.Put(identity(i), entry(member, i, 0))
			}
		})
		wg.Go(func() { c.DropMember(core.MemberID(member)) })
		wg.Wait()
		if c.Len() != 0 {
			t.Fatalf("round %d: %d entries of a departed member", round, c.Len())
		}
	}
}

func TestGoneIsBounded(t *testing.T) {
	c := New(1000)
	for i := range 3 * maxGone {
		c.DropMember(core.MemberID(fmt.Sprint(i)))
	}
	if n := len(*c.gone.Load()); n != maxGone {
		t.Fatalf("%d members remembered, want %d", n, maxGone)
	}
	if c.Put(identity(1), entry(fmt.Sprint(3*maxGone-1), 1, 0)) {
		t.Error("the member that went last is forgotten")
	}
}

func TestGetDoesNotAllocate(t *testing.T) {
	c := New(1000)
	id := identity(1)
	c.Put(id, entry("a", 1, 0))
	if n := testing.AllocsPerRun(100, func() { c.Get(id) }); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

func BenchmarkGet(b *testing.B) {
	c := New(1000)
	id := identity(1)
	c.Put(id, entry("a", 1, 0))
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			c.Get(id)
		}
	})
}
