// Command granary runs the rows of the benchmark on Granary.
package main

import "github.com/granary-go/granary/bench/kit"

func main() { kit.Main(subject{}) }

// subject is Granary with its documented defaults.
type subject struct{}

// Note implements [kit.Subject].
func (subject) Note(row string) string {
	switch row {
	case "tell1", "tell4":
		return "granary: mailbox of kind Blocking, since the producers flood it: the default one of that size refuses"
	case "roneway", "roneway1k":
		return "granary: unbounded mailbox of the receiver, as the peer's; the sender waits when the link is full"
	case "form3", "form10", "grainlocal1", "grainlocal64", "grainremote1", "grainremote64", "grainact":
		return "granary: memberlist provider, disthash lookup"
	case "grainkill":
		return "granary: memberlist provider with its preset Local, which is meant for processes of one machine, disthash lookup"
	default:
		return ""
	}
}
