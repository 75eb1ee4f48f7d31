// Command protoactor runs the rows of the benchmark on Proto.Actor Go. It is a module and a process
// of its own, because its protobuf packages cannot be linked together with Granary's.
package main

import "github.com/granary-go/granary/bench/kit"

func main() { kit.Main(subject{}) }

// subject is Proto.Actor with its documented defaults.
type subject struct{}

// Note implements [kit.Subject].
func (subject) Note(row string) string {
	switch row {
	case "form3", "form10", "grainlocal1", "grainlocal64", "grainremote1", "grainremote64", "grainact":
		return "peer: in-memory provider of its own test package"
	case "grainkill":
		return "peer: automanaged provider; both with their default time limit of calls"
	default:
		return ""
	}
}
