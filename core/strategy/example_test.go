package strategy_test

import (
	"fmt"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/strategy"
)

func ExampleRoundRobin() {
	var turns strategy.RoundRobin
	for _, key := range []string{"alice", "bob", "carol"} {
		m, _ := turns.Pick(core.Identity{Kind: "Job", Key: key}, members("m1", "m2"))
		fmt.Println(key, m.ID)
	}
	// Output:
	// alice m1
	// bob m2
	// carol m1
}

// What a kind is given is LeastActivations{}; the engine fills in the loads.
func ExampleLeastActivations() {
	s := strategy.LeastActivations{}.Under(table{"m1": 120, "m2": 7, "m3": 80})
	m, _ := s.Pick(core.Identity{Kind: "K", Key: "alice"}, members("m1", "m2", "m3"))
	fmt.Println(m.ID)
	// Output: m2
}

func ExampleAvoid() {
	s := strategy.Avoid{Strategy: &strategy.RoundRobin{}, Suspected: suspects("m2")}
	for _, key := range []string{"alice", "bob", "carol"} {
		m, _ := s.Pick(core.Identity{Kind: "Job", Key: key}, members("m1", "m2", "m3"))
		fmt.Println(key, m.ID)
	}
	// Output:
	// alice m1
	// bob m3
	// carol m1
}
