package gossip_test

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/internal/gossip"
)

// Two members, without a network: what one step asks for is handed to the other.
func Example() {
	machines := map[core.MemberID]*gossip.Machine{}
	for _, id := range []core.MemberID{"a", "b"} {
		machines[id], _ = gossip.New(gossip.Config{Self: id, Rand: rand.New(rand.NewPCG(1, 1))})
		machines[id].Step(time.Time{}, gossip.Installed{IDs: []core.MemberID{"a", "b"}}, nil)
	}
	color := gossip.NewCheck("color", "color", func(m core.Message) (string, bool) { return string(m.Data), true })
	_ = machines["b"].AddCheck(color)
	for _, m := range machines {
		m.Step(time.Time{}, gossip.Set{Key: "color", Value: core.Message{Type: "example.Color", Data: []byte("green")}}, nil)
	}
	for _, e := range machines["a"].Step(time.Time{}, gossip.Tick{}, nil) {
		if send, ok := e.(gossip.Send); ok {
			for _, e := range machines[send.To].Step(time.Time{}, gossip.Received{From: "a", Request: send.Request}, nil) {
				fmt.Printf("%T\n", e)
			}
		}
	}
	fmt.Println(machines["b"].Agreed("color"))
	// Output:
	// gossip.Changed
	// gossip.Reply
	// gossip.Agreement
	// green true
}
