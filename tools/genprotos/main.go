// Command genprotos generates the Go packages of the protos module from its .proto files, without
// protoc: the compiler and the generator of messages run in this process, the generator of gRPC
// services as the pinned plug-in. The same sources give the same bytes on every machine.
//
// Run it outside the workspace, in the folder of the tools module:
//
//	GOWORK=off go run ./genprotos          # write
//	GOWORK=off go run ./genprotos -check   # write nothing, fail on a difference
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
)

func main() {
	dir := flag.String("protos", "../protos", "folder of the protos module")
	tools := flag.String("tools", ".", "folder of the tools module")
	check := flag.Bool("check", false, "write nothing and fail where the committed files differ")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *dir, *tools, *check); err != nil {
		fmt.Fprintln(os.Stderr, "genprotos:", err)
		os.Exit(1)
	}
}

// run generates the files of the module at dir and writes them, or compares them with what is there.
func run(ctx context.Context, dir, tools string, check bool) error {
	files, err := generate(ctx, dir, tools)
	if err != nil {
		return err
	}
	if check {
		return compare(dir, files)
	}
	return write(dir, files)
}
