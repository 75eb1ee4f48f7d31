package rendezvous_test

import (
	"fmt"

	"github.com/granary-go/granary/core/rendezvous"
)

// Removing a member moves only what it owned.
func ExampleRing() {
	three := rendezvous.NewRing([]rendezvous.Entry{{ID: "m1"}, {ID: "m2"}, {ID: "m3"}})
	two := rendezvous.NewRing([]rendezvous.Entry{{ID: "m1"}, {ID: "m3"}})
	for _, key := range []string{"alice", "bob", "carol"} {
		id := rendezvous.Identity("Cart", key)
		before, _ := three.Owner(id)
		after, _ := two.Owner(id)
		fmt.Println(key, three.At(before).ID, two.At(after).ID)
	}
	// Output:
	// alice m2 m1
	// bob m1 m1
	// carol m2 m3
}
