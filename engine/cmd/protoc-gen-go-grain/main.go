// Command protoc-gen-go-grain is the plug-in of protoc and buf that writes the Go code of grains,
// beside the messages that protoc-gen-go writes:
//
//	protoc --go_out=. --go-grain_out=. cart.proto
//
// It takes the parameters that protoc-gen-go takes: paths, module and M. What it writes is told by
// package graingen. Those who have no protoc use granary-gen instead.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"

	"google.golang.org/protobuf/compiler/protogen"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/pluginpb"

	"github.com/granary-go/granary/engine/graingen"
)

func main() {
	if len(os.Args) > 1 {
		fmt.Fprintln(os.Stderr, "protoc-gen-go-grain is run by protoc or buf and takes no arguments; without them use granary-gen")
		os.Exit(2)
	}
	if err := run(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "protoc-gen-go-grain:", err)
		os.Exit(1)
	}
}

// run answers one request of a compiler. What is wrong with the .proto files is part of the answer;
// an error is about the request itself.
func run(in io.Reader, out io.Writer) error {
	data, err := io.ReadAll(in)
	if err != nil {
		return fmt.Errorf("read the request: %w", err)
	}
	request := new(pluginpb.CodeGeneratorRequest)
	if err := proto.Unmarshal(data, request); err != nil {
		return fmt.Errorf("read the request: %w", err)
	}
	var parameters flag.FlagSet // none of our own
	gen, err := protogen.Options{ParamFunc: parameters.Set}.New(request)
	if err != nil {
		return err
	}
	if err := graingen.Generate(gen); err != nil {
		gen.Error(err)
	}
	answer, err := proto.Marshal(gen.Response())
	if err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	if _, err := out.Write(answer); err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	return nil
}
