// History computes the summary of a run of examples/cluster again, from the records that -history
// kept, and from them alone:
//
//	go run ./tools/history DIR
//
// Standard output is one line, one JSON object. The exit code is 0 if every condition held, 1 if one
// did not, 2 if DIR cannot be judged.
//
// It is a module of its own, required as a tool by module examples, so that the command runs from the
// root, and so that it links the judge and nothing of Granary.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/granary-go/granary/examples/cluster/history"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, out, errs io.Writer) int {
	if len(args) != 1 {
		_, _ = fmt.Fprintln(errs, "usage: history DIR, the folder that -history of examples/cluster named")
		return 2
	}
	summary, err := history.Judge(args[0])
	if err != nil {
		_, _ = fmt.Fprintln(errs, err)
		return 2
	}
	if err := json.NewEncoder(out).Encode(summary); err != nil {
		_, _ = fmt.Fprintln(errs, "history: write the summary:", err)
		return 2
	}
	for _, reason := range summary.Reasons {
		_, _ = fmt.Fprintln(errs, "failed:", reason)
	}
	if !summary.OK {
		return 1
	}
	return 0
}
