package strategy_test

import (
	"fmt"
	"testing"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/leaktest"
	"github.com/granary-go/granary/core/strategy"
	"github.com/granary-go/granary/core/strategytest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

func TestConformance(t *testing.T) {
	harnesses := map[string]strategytest.Harness{
		"rendezvous":  {New: func() core.Strategy { return strategy.Rendezvous{} }, Pure: true, Spread: 0.10, Stable: true},
		"round robin": {New: func() core.Strategy { return &strategy.RoundRobin{} }, Spread: 0.001},
		"local first": {New: func() core.Strategy { return strategy.LocalFirst{Self: "018f3c1e-0017"} }, Pure: true},
		"local first, elsewhere": {
			New:  func() core.Strategy { return strategy.LocalFirst{Self: "no candidate"} },
			Pure: true, Spread: 0.10, Stable: true,
		},
	}
	for name, h := range harnesses {
		t.Run(name, func(t *testing.T) { strategytest.Run(t, h) })
	}
}

func members(ids ...core.MemberID) []core.Member {
	var out []core.Member
	for _, id := range ids {
		out = append(out, core.Member{ID: id, Address: string(id) + ":1", Status: core.Up})
	}
	return out
}

func TestLocalFirst(t *testing.T) {
	from := members("a", "b", "c", "d")
	for _, self := range []core.MemberID{"a", "b", "c", "d"} {
		for i := range 20 {
			id := core.Identity{Kind: "K", Key: fmt.Sprint(i)}
			if m, ok := (strategy.LocalFirst{}).For(self).Pick(id, from); !ok || m.ID != self {
				t.Errorf("on %s: %s", self, m.ID)
			}
			away, _ := strategy.LocalFirst{Self: "bb"}.Pick(id, from)
			if want, _ := (strategy.Rendezvous{}).Pick(id, from); away.ID != want.ID {
				t.Errorf("elsewhere: %s, want %s as Rendezvous", away.ID, want.ID)
			}
		}
	}
}

func TestRoundRobinTakesTurns(t *testing.T) {
	var r strategy.RoundRobin
	from := members("a", "b", "c")
	for i := range 9 {
		if m, _ := r.Pick(core.Identity{}, from); m.ID != from[i%3].ID {
			t.Errorf("turn %d: %s, want %s", i, m.ID, from[i%3].ID)
		}
	}
}

func TestRendezvousHeedsWeight(t *testing.T) {
	from := members("a", "b")
	from[1].Weight = 300
	heavy := 0
	for i := range 10_000 {
		if m, _ := (strategy.Rendezvous{}).Pick(core.Identity{Kind: "K", Key: fmt.Sprint(i)}, from); m.ID == "b" {
			heavy++
		}
	}
	if heavy < 7_300 || heavy > 7_700 {
		t.Errorf("weight 300 of 400 got %d of 10,000", heavy)
	}
}

func TestNoAllocation(t *testing.T) {
	from := members("a", "b", "c")
	id := core.Identity{Kind: "K", Key: "key"}
	for _, s := range []core.Strategy{strategy.Rendezvous{}, &strategy.RoundRobin{}, strategy.LocalFirst{Self: "b"}, strategy.LocalFirst{Self: "x"}} {
		if n := testing.AllocsPerRun(100, func() { _, _ = s.Pick(id, from) }); n != 0 {
			t.Errorf("%T: %v allocations", s, n)
		}
	}
}

func ExampleLocalFirst() {
	s := strategy.LocalFirst{Self: "m2"}
	m, _ := s.Pick(core.Identity{Kind: "Session", Key: "alice"}, members("m1", "m2", "m3"))
	fmt.Println(m.ID)
	// Output: m2
}

func ExampleRendezvous() {
	for _, key := range []string{"alice", "bob", "carol"} {
		m, _ := strategy.Rendezvous{}.Pick(core.Identity{Kind: "Cart", Key: key}, members("m1", "m2", "m3"))
		fmt.Println(key, m.ID)
	}
	// Output:
	// alice m2
	// bob m1
	// carol m2
}
