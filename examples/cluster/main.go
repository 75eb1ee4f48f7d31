// Cluster is the demonstration: it forms a cluster of processes on this machine, puts load on typed
// grains, kills a member, takes one in, and ends with a summary that is computed from the records of
// all processes.
//
//	go run ./examples/cluster [-for 30s] [-members 3] [-json] …
package main

import (
	"os"

	"github.com/granary-go/granary/examples/cluster/app"
)

func main() { os.Exit(app.Main(os.Args[1:], os.Stdout, os.Stderr, app.Parts{})) }
