package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"google.golang.org/protobuf/cmd/protoc-gen-go/internal_gengo"
	"google.golang.org/protobuf/compiler/protogen"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/pluginpb"

	"github.com/granary-go/granary/engine/graingen"
)

// goCode is what protoc-gen-go and protoc-gen-go-grain make of a request.
func goCode(request *pluginpb.CodeGeneratorRequest) ([]*pluginpb.CodeGeneratorResponse_File, error) {
	// By way of its binary form, so that options arrive as the types that are linked here.
	data, err := proto.Marshal(request)
	if err != nil {
		return nil, fmt.Errorf("compile: %w", err)
	}
	var files []*pluginpb.CodeGeneratorResponse_File
	for _, plugin := range []func(*protogen.Plugin) error{messages, graingen.Generate} {
		parsed := new(pluginpb.CodeGeneratorRequest)
		if err := proto.Unmarshal(data, parsed); err != nil {
			return nil, fmt.Errorf("compile: %w", err)
		}
		gen, err := protogen.Options{}.New(parsed)
		if err != nil {
			return nil, err
		}
		if err := plugin(gen); err != nil {
			return nil, err
		}
		response := gen.Response()
		if response.Error != nil {
			return nil, errors.New(response.GetError())
		}
		files = append(files, response.File...)
	}
	return files, nil
}

// messages is protoc-gen-go.
func messages(gen *protogen.Plugin) error {
	gen.SupportedFeatures = internal_gengo.SupportedFeatures
	gen.SupportedEditionsMinimum = internal_gengo.SupportedEditionsMinimum
	gen.SupportedEditionsMaximum = internal_gengo.SupportedEditionsMaximum
	for _, f := range gen.Files {
		if f.Generate {
			internal_gengo.GenerateFile(gen, f)
		}
	}
	return nil
}

// write stores each file below out, or beside its source if out is empty. Files that are right
// already are not touched, so that builds stay cached.
func write(s *sources, out string, files []*pluginpb.CodeGeneratorResponse_File) error {
	content := make(map[string]string, len(files))
	for _, f := range files {
		target := s.target(out, f.GetName())
		if _, twice := content[target]; twice {
			return fmt.Errorf("%s would be written for two .proto files: rename one of them", target)
		}
		content[target] = f.GetContent()
	}
	for _, target := range slices.Sorted(maps.Keys(content)) {
		if old, err := os.ReadFile(target); err == nil && string(old) == content[target] {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(target, []byte(content[target]), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// target is where a generated file goes.
func (s *sources) target(out, generated string) string {
	if out != "" {
		return filepath.Join(out, filepath.FromSlash(generated))
	}
	source := strings.TrimSuffix(generated, ".pb.go")
	if s.shown[source+".proto"] == "" {
		source = strings.TrimSuffix(source, "_grain")
	}
	return filepath.Join(filepath.Dir(s.shown[source+".proto"]), path.Base(generated))
}
