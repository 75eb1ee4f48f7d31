// Command custom is the demonstration of examples/cluster with an application's own provider, lookup, store and
// strategy, which are in package parts:
//
//	go run . -for 20s
//
// The application is a module of its own, as its users' are. What it takes from the demonstration are the load
// and the checks.
package main

import (
	"log"
	"os"
	"time"

	"github.com/granary-go/granary/examples/cluster/app"
	"github.com/granary-go/granary/examples/cluster/wiring"

	"example.com/custom/parts"
)

// The injector takes and makes what those of the demonstration do.
type (
	config  = wiring.Config
	process = wiring.Process
)

// folderVariable tells the processes of a run where they meet.
const folderVariable = "CUSTOM_FOLDER"

func main() { os.Exit(run(os.Args[1:])) }

// run makes the folder of a run, in its first process, and goes on as the demonstration does.
func run(args []string) int {
	if os.Getenv(folderVariable) == "" {
		folder, err := os.MkdirTemp("", "custom-")
		if err == nil {
			defer os.RemoveAll(folder)
			err = os.Setenv(folderVariable, folder)
		}
		if err != nil {
			log.Print(err)
			return 2
		}
	}
	return app.Main(args, os.Stdout, os.Stderr, app.Parts{Own: &app.Own{
		Provider: "files", Lookup: "directory", Recovery: 10 * time.Second, Make: makeProcess,
	}})
}

// makeProcess makes a member, or a caller, of the run's cluster.
func makeProcess(cfg config) (process, func(), error) {
	for i := range cfg.Kinds {
		cfg.Kinds[i].Strategy = parts.ByTenant{}
	}
	return build(parts.Folder(os.Getenv(folderVariable)), "demo", cfg)
}
