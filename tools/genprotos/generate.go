package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/linker"
	"google.golang.org/protobuf/cmd/protoc-gen-go/internal_gengo"
	"google.golang.org/protobuf/compiler/protogen"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"

	"github.com/granary-go/granary/tools/internal/pinned"
)

const (
	modulePath = "github.com/granary-go/granary/protos"
	sourceDir  = "granary" // also the path that files are compiled under
	grpcPlugin = "google.golang.org/grpc/cmd/protoc-gen-go-grpc"
)

var errNoSources = errors.New("no .proto files")

// generate returns the content of every generated file by its slash path inside the module at dir.
func generate(ctx context.Context, dir, tools string) (map[string]string, error) {
	sources, err := sourcesOf(dir)
	if err != nil {
		return nil, err
	}
	request, err := compile(ctx, dir, sources)
	if err != nil {
		return nil, err
	}
	messages, err := generateMessages(request)
	if err != nil {
		return nil, err
	}
	services, err := generateServices(ctx, tools, request)
	if err != nil {
		return nil, err
	}
	files := make(map[string]string)
	for _, response := range []*pluginpb.CodeGeneratorResponse{messages, services} {
		if response.Error != nil {
			return nil, fmt.Errorf("generate: %s", response.GetError())
		}
		for _, f := range response.File {
			files[f.GetName()] = f.GetContent()
		}
	}
	return files, nil
}

// sourcesOf lists the .proto files of the module at dir by the path that they are compiled under.
func sourcesOf(dir string) ([]string, error) {
	found, err := filepath.Glob(filepath.Join(dir, sourceDir, "*.proto"))
	if err != nil {
		return nil, fmt.Errorf("list sources in %s: %w", dir, err)
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("list sources in %s: %w", filepath.Join(dir, sourceDir), errNoSources)
	}
	names := make([]string, 0, len(found))
	for _, f := range found {
		names = append(names, sourceDir+"/"+filepath.Base(f))
	}
	slices.Sort(names)
	return names, nil
}

// compile makes of sources what protoc would hand to a plug-in.
func compile(ctx context.Context, dir string, sources []string) (*pluginpb.CodeGeneratorRequest, error) {
	compiler := protocompile.Compiler{
		Resolver:       protocompile.WithStandardImports(&protocompile.SourceResolver{ImportPaths: []string{dir}}),
		SourceInfoMode: protocompile.SourceInfoStandard,
	}
	compiled, err := compiler.Compile(ctx, sources...)
	if err != nil {
		return nil, fmt.Errorf("compile: %w", err)
	}
	return &pluginpb.CodeGeneratorRequest{
		FileToGenerate: sources,
		Parameter:      proto.String("module=" + modulePath),
		ProtoFile:      inOrder(compiled),
	}, nil
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

// generateMessages is protoc-gen-go.
func generateMessages(request *pluginpb.CodeGeneratorRequest) (*pluginpb.CodeGeneratorResponse, error) {
	plugin, err := protogen.Options{}.New(request)
	if err != nil {
		return nil, fmt.Errorf("generate messages: %w", err)
	}
	for _, f := range plugin.Files {
		if f.Generate {
			internal_gengo.GenerateFile(plugin, f)
		}
	}
	return plugin.Response(), nil
}

// generateServices is protoc-gen-go-grpc, which can only be run.
func generateServices(ctx context.Context, tools string, request *pluginpb.CodeGeneratorRequest) (*pluginpb.CodeGeneratorResponse, error) {
	bin, err := pinned.Build(ctx, tools, grpcPlugin)
	if err != nil {
		return nil, err
	}
	in, err := proto.Marshal(request)
	if err != nil {
		return nil, fmt.Errorf("generate services: %w", err)
	}
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, bin)
	cmd.Stdin, cmd.Stderr = bytes.NewReader(in), &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("generate services: %w\n%s", err, stderr.Bytes())
	}
	response := new(pluginpb.CodeGeneratorResponse)
	if err := proto.Unmarshal(out, response); err != nil {
		return nil, fmt.Errorf("generate services: read the answer of the plug-in: %w", err)
	}
	return response, nil
}
