package slab_test

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/granary-go/granary/core/leaktest"
	"github.com/granary-go/granary/engine/internal/slab"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

func TestOneUse(t *testing.T) {
	var s slab.Slab[int]
	slot := s.Take()
	id := slot.ID()
	if id == 0 {
		t.Fatal("the ID is 0")
	}
	if got := s.Claim(id); got != slot {
		t.Fatalf("Claim = %p; want the slot", got)
	}
	if s.Claim(id) != nil {
		t.Error("a second Claim succeeded")
	}
	if s.Abandon(slot) {
		t.Error("Abandon after Claim succeeded")
	}
	s.Release(slot)
	if s.Claim(id) != nil {
		t.Error("Claim after Release succeeded")
	}
}

func TestLateClaimNeverMeetsALaterUse(t *testing.T) {
	var s slab.Slab[int]
	old := make(map[uint64]bool)
	for range 10_000 {
		slot := s.Take()
		id := slot.ID()
		if old[id] {
			t.Fatalf("ID %d came twice", id)
		}
		old[id] = true
		if !s.Abandon(slot) {
			t.Fatal("Abandon of an unclaimed slot failed")
		}
		if s.Claim(id) != nil {
			t.Fatal("Claim of an abandoned use succeeded")
		}
	}
}

func TestClaimOfNonsense(t *testing.T) {
	var s slab.Slab[int]
	for _, id := range []uint64{0, 1, 1 << 24, 1<<64 - 1, 1<<63 + 77} {
		if s.Claim(id) != nil {
			t.Errorf("Claim(%d) of an empty slab succeeded", id)
		}
	}
	slot := s.Take()
	for _, id := range []uint64{0, slot.ID() + 1<<24, slot.ID() + 1, slot.ID() &^ (1<<24 - 1), 1<<64 - 1} {
		if id != slot.ID() && s.Claim(id) != nil {
			t.Errorf("Claim(%d) succeeded; taken is %d", id, slot.ID())
		}
	}
}

// Every use has exactly one end, whoever is first: its claimant or its taker.
func TestClaimAgainstAbandon(t *testing.T) {
	var s slab.Slab[chan int]
	var claims, abandons atomic.Int64
	var wg sync.WaitGroup
	ids := make(chan uint64, 64)
	wg.Go(func() {
		for id := range ids {
			if slot := s.Claim(id); slot != nil {
				slot.Value <- 1
				claims.Add(1)
			}
		}
	})
	const uses = 20_000
	for i := range uses {
		slot := s.Take()
		if slot.Value == nil {
			slot.Value = make(chan int, 1)
		}
		ids <- slot.ID()
		if i%3 == 0 && s.Abandon(slot) {
			abandons.Add(1)
			continue
		}
		<-slot.Value
		s.Release(slot)
	}
	close(ids)
	wg.Wait()
	if claims.Load()+abandons.Load() != uses {
		t.Errorf("%d claims and %d abandons of %d uses", claims.Load(), abandons.Load(), uses)
	}
}

func TestManyAtOnce(t *testing.T) {
	var s slab.Slab[int]
	slots := make(map[*slab.Slot[int]]bool)
	for range 5_000 {
		slot := s.Take()
		if slots[slot] {
			t.Fatal("a slot was given twice")
		}
		slots[slot] = true
	}
	for slot := range slots {
		if got := s.Claim(slot.ID()); got != slot {
			t.Fatal("Claim found another slot")
		}
		s.Release(slot)
	}
}

func TestNoAllocations(t *testing.T) {
	var s slab.Slab[int]
	for range 5_000 {
		defer s.Abandon(s.Take())
	}
	var warm []*slab.Slot[int]
	for range 4_000 {
		warm = append(warm, s.Take())
	}
	for _, slot := range warm {
		s.Abandon(slot)
	}
	if got := testing.AllocsPerRun(1000, func() { s.Release(s.Claim(s.Take().ID())) }); got != 0 {
		t.Errorf("a use costs %v allocations; want 0", got)
	}
}

func BenchmarkUse(b *testing.B) {
	var s slab.Slab[int]
	b.ReportAllocs()
	for b.Loop() {
		s.Release(s.Claim(s.Take().ID()))
	}
}

func TestWaiting(t *testing.T) {
	var s slab.Slab[int]
	slot := s.Take()
	id := slot.ID()
	if !s.Waiting(id) || s.Waiting(0) || s.Waiting(id+1) || s.Waiting(id+1<<24) {
		t.Error("only the ID that was taken waits")
	}
	if s.Claim(id) == nil || s.Waiting(id) {
		t.Error("a claimed slot waits")
	}
	s.Release(slot)
	if s.Waiting(id) {
		t.Error("a released slot waits")
	}
}
