// Command granary-gen compiles .proto files into the Go code of messages and grains, without protoc:
//
//	go run github.com/granary-go/granary/cmd/granary-gen cart.proto
//
// writes cart.pb.go, which is what protoc-gen-go writes, and cart_grain.pb.go, which is what
// protoc-gen-go-grain writes, beside cart.proto.
//
//	-I DIR    where imports are looked for; may be given several times. Default: the root of the Go
//	          module that a file is in, or the file's own directory where there is none.
//	-out DIR  write below DIR, at the path of each file under its import directory.
//
// A file is compiled under its path below the import directory, which protobuf registers for the
// whole program, so it should be one that no other module uses. A file without go_package gets the
// import path of its directory in the Go module. The imports granary/options.proto and those of
// google/protobuf are built in. Syntax: proto2, proto3, edition 2023, and of edition 2024 what 2023
// has as well.
//
// It exits with 0 if all is written, 1 if the files are wrong or would overwrite what was made of another
// .proto file (each complaint with its place, nothing written), 2 if the arguments are wrong.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stderr))
}

const (
	exitOK    = 0
	exitFiles = 1
	exitUsage = 2
)

// arguments are what the command line says.
type arguments struct {
	imports directories
	out     string // empty: beside each file
	files   []string
}

// directories is a flag that may be given several times.
type directories []string

func (d *directories) String() string { return fmt.Sprint(*d) }

func (d *directories) Set(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return errors.New("not a directory")
	}
	*d = append(*d, dir)
	return nil
}

func run(ctx context.Context, args []string, log io.Writer) int {
	var a arguments
	flags := flag.NewFlagSet("granary-gen", flag.ContinueOnError)
	flags.SetOutput(log)
	flags.Var(&a.imports, "I", "look for imports in `DIR`; may be repeated (default: the root of the Go module)")
	flags.StringVar(&a.out, "out", "", "write below `DIR` (default: beside each file)")
	flags.Usage = func() {
		say(log, "usage: granary-gen [-I DIR]... [-out DIR] FILE.proto...")
		flags.PrintDefaults()
	}
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		return exitUsage
	}
	a.files = flags.Args()
	if len(a.files) == 0 {
		flags.Usage()
		return exitUsage
	}
	if err := generate(ctx, a, log); err != nil {
		say(log, err.Error())
		return exitFiles
	}
	return exitOK
}

// say prints a line; there is nobody to tell if that fails.
func say(w io.Writer, line string) { _, _ = fmt.Fprintln(w, line) }

// generate does all the work and writes only once nothing is wrong.
func generate(ctx context.Context, a arguments, log io.Writer) error {
	sources, err := locate(a.imports, a.files)
	if err != nil {
		return err
	}
	request, err := compile(ctx, sources, log)
	if err != nil {
		return err
	}
	files, err := goCode(request)
	if err != nil {
		return sources.readable(err)
	}
	return write(sources, a.out, files)
}
