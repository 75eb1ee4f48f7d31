package strategy_test

import (
	"fmt"
	"maps"
	"slices"
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
		"least activations": {
			New:  func() core.Strategy { return strategy.LeastActivations{} },
			Pure: true, Spread: 0.10, Stable: true, Balanced: 0.15,
		},
		"avoiding nobody": {
			New:  func() core.Strategy { return strategy.Avoid{Strategy: strategy.Rendezvous{}} },
			Pure: true, Spread: 0.10, Stable: true,
		},
		"avoiding one": {
			New: func() core.Strategy {
				return strategy.Avoid{Strategy: strategy.Rendezvous{}, Suspected: suspects("018f3c1e-0068")}
			},
			Pure: true,
		},
	}
	for name, h := range harnesses {
		t.Run(name, func(t *testing.T) { strategytest.Run(t, h) })
	}
}

func suspects(ids ...core.MemberID) func(core.MemberID) bool {
	return func(id core.MemberID) bool { return slices.Contains(ids, id) }
}

// table is what members run; who is not in it is not known.
type table map[core.MemberID]int64

func (l table) Load(m core.MemberID, kind string) (activations int64, ok bool) {
	activations, ok = l[m]
	return activations, ok && kind == "K"
}

// chosen are the members that get some of many identities, in ascending order.
func chosen(s core.Strategy, from []core.Member) (out []core.MemberID) {
	got := map[core.MemberID]bool{}
	for i := range 500 {
		m, _ := s.Pick(core.Identity{Kind: "K", Key: fmt.Sprint(i)}, from)
		got[m.ID] = true
	}
	return slices.Sorted(maps.Keys(got))
}

func TestLeastActivations(t *testing.T) {
	tests := []struct {
		name  string
		loads table
		heavy map[int]uint16 // weights
		want  []core.MemberID
	}{
		{"nothing is known", table{}, nil, []core.MemberID{"a", "b", "c"}},
		{"all are the same", table{"a": 5, "b": 5, "c": 5}, nil, []core.MemberID{"a", "b", "c"}},
		{"one has fewer", table{"a": 5, "b": 4, "c": 5}, nil, []core.MemberID{"b"}},
		{"none at all", table{"a": 1, "b": 1, "c": 0}, nil, []core.MemberID{"c"}},
		{"within an eighth", table{"a": 900, "b": 800, "c": 901}, nil, []core.MemberID{"a", "b"}},
		{"one is not known", table{"a": 9, "b": 1}, nil, []core.MemberID{"b", "c"}},
		{"for its weight", table{"a": 10, "b": 10, "c": 20}, map[int]uint16{2: 300}, []core.MemberID{"c"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			from := members("a", "b", "c")
			for i, w := range test.heavy {
				from[i].Weight = w
			}
			if got := chosen(strategy.LeastActivations{}.Under(test.loads), from); !slices.Equal(got, test.want) {
				t.Errorf("%v, want %v", got, test.want)
			}
		})
	}
}

func TestAvoid(t *testing.T) {
	from := members("a", "b", "c")
	for _, test := range []struct{ suspected, want []core.MemberID }{
		{nil, []core.MemberID{"a", "b", "c"}},
		{[]core.MemberID{"x"}, []core.MemberID{"a", "b", "c"}},
		{[]core.MemberID{"a"}, []core.MemberID{"b", "c"}},
		{[]core.MemberID{"b", "c"}, []core.MemberID{"a"}},
		{[]core.MemberID{"a", "b", "c"}, []core.MemberID{"a", "b", "c"}},
	} {
		s := strategy.Avoid{Strategy: strategy.Rendezvous{}, Suspected: suspects(test.suspected...)}
		if got := chosen(s, from); !slices.Equal(got, test.want) {
			t.Errorf("suspected %v: %v, want %v", test.suspected, got, test.want)
		}
	}
	if !slices.EqualFunc(from, members("a", "b", "c"), func(a, b core.Member) bool { return a.ID == b.ID }) {
		t.Errorf("the candidates were changed: %v", from)
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
	for _, s := range []core.Strategy{strategy.Rendezvous{}, &strategy.RoundRobin{}, strategy.LocalFirst{Self: "b"}, strategy.LocalFirst{Self: "x"}, strategy.LeastActivations{}.Under(table{"a": 1}), strategy.Avoid{Strategy: strategy.Rendezvous{}, Suspected: suspects("x")}} {
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
