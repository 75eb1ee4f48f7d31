package main

import (
	"context"
	"errors"
	"fmt"
	"go/token"
	"io"
	"strings"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/linker"
	"github.com/bufbuild/protocompile/reporter"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

// compile makes of the sources what protoc would hand to a plug-in. The error tells all that is
// wrong, a line each, with its place; warnings go to log.
func compile(ctx context.Context, s *sources, log io.Writer) (*pluginpb.CodeGeneratorRequest, error) {
	var wrong []error
	place := func(e reporter.ErrorWithPos) error {
		p := e.GetPosition()
		if shown, ok := s.shown[p.Filename]; ok {
			p.Filename = shown
		}
		return fmt.Errorf("%s: %w", p, e.Unwrap())
	}
	compiler := protocompile.Compiler{
		Resolver:       protocompile.WithStandardImports(s),
		MaxParallelism: 1, // so that complaints come in the same order each time
		SourceInfoMode: protocompile.SourceInfoStandard,
		Reporter: reporter.NewReporter(
			func(e reporter.ErrorWithPos) error {
				wrong = append(wrong, place(e))
				return nil
			},
			func(e reporter.ErrorWithPos) { say(log, "warning: "+place(e).Error()) },
		),
	}
	compiled, err := compiler.Compile(ctx, s.names...)
	if len(wrong) > 0 {
		return nil, errors.Join(wrong...)
	}
	if err != nil {
		return nil, s.readable(err)
	}
	request := &pluginpb.CodeGeneratorRequest{FileToGenerate: s.names, ProtoFile: inOrder(compiled)}
	for _, f := range request.ProtoFile {
		if s.edition2024[f.GetName()] {
			f.Edition = descriptorpb.Edition_EDITION_2024.Enum()
		}
	}
	parameter, err := s.parameter(request.ProtoFile)
	if err != nil {
		return nil, err
	}
	request.Parameter = proto.String(parameter)
	return request, nil
}

// parameter has the output beside the source, and gives files without go_package the import path of
// their directory.
func (s *sources) parameter(files []*descriptorpb.FileDescriptorProto) (string, error) {
	out := "paths=source_relative"
	for _, f := range files {
		path, pkg, _ := strings.Cut(f.GetOptions().GetGoPackage(), ";")
		if token.IsKeyword(pkg) {
			return "", fmt.Errorf("%s: go_package names the package %s, which is a word of Go: use another", s.shown[f.GetName()], pkg)
		}
		if path != "" {
			if !strings.ContainsAny(path, "./") {
				return "", fmt.Errorf("%s: go_package %q is not an import path: write it in full, or leave the option out", s.shown[f.GetName()], path)
			}
			continue
		}
		if path = s.importPath(f.GetName()); path == "" {
			return "", fmt.Errorf("%s: it has no option go_package and is in no Go module: add\n\toption go_package = \"example.com/module/package\";", s.shown[f.GetName()])
		}
		out += ",M" + f.GetName() + "=" + path
	}
	return out, nil
}

// inOrder lists files and what they import, each after its imports.
func inOrder(compiled linker.Files) []*descriptorpb.FileDescriptorProto {
	var out []*descriptorpb.FileDescriptorProto
	seen := make(map[string]bool)
	var add func(f protoreflect.FileDescriptor)
	add = func(f protoreflect.FileDescriptor) {
		if seen[f.Path()] {
			return
		}
		seen[f.Path()] = true
		for i := range f.Imports().Len() {
			add(f.Imports().Get(i).FileDescriptor)
		}
		out = append(out, protodesc.ToFileDescriptorProto(f))
	}
	for _, f := range compiled {
		add(f)
	}
	return out
}
