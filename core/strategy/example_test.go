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
