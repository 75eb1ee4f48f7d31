// Release makes of a checkout what a release commit holds, and prints the tags to set on it:
//
//	go run ./release [-dir checkout] v0.2.0
//
// All modules are released at one version: the replaces of siblings are dropped, their requires get the
// version, and their sums are written. It changes go.mod and go.sum files and nothing else, and may be run
// again. The commit after a release takes the change back.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/granary-go/granary/tools/internal/modules"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("release", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { fmt.Fprintln(stderr, "usage: make release VERSION=v0.2.0 [DIR=checkout]") }
	dir := flags.String("dir", "..", "the `checkout`")
	if flags.Parse(args) != nil {
		return 2
	}
	if flags.NArg() != 1 {
		flags.Usage()
		return 2
	}
	version := flags.Arg(0)
	tags, err := modules.Release(*dir, version)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	fmt.Fprintf(stderr, "prepared %s: commit the go.mod and go.sum files, run make consumer RELEASED=%s, tag that commit, and revert it. Tags:\n", version, version)
	for _, tag := range tags {
		fmt.Fprintln(stdout, tag)
	}
	return 0
}
