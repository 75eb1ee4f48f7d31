package graingen_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

// TestFilesOfOnePackageShareNoName generates two files of one Go package, two services each, and looks
// that no name is declared twice. It is named in docs/differences.md.
func TestFilesOfOnePackageShareNoName(t *testing.T) {
	file := func(name string, services ...string) *descriptorpb.FileDescriptorProto {
		f := &descriptorpb.FileDescriptorProto{
			Name: proto.String(name + ".proto"), Package: proto.String(name), Syntax: proto.String("proto3"),
			Options:     &descriptorpb.FileOptions{GoPackage: proto.String("example.com/own/ownpb")},
			MessageType: []*descriptorpb.DescriptorProto{{Name: proto.String("M" + name)}},
		}
		for _, s := range services {
			method := &descriptorpb.MethodDescriptorProto{Name: proto.String("Do"), InputType: proto.String("." + name + ".M" + name), OutputType: proto.String("." + name + ".M" + name)}
			f.Service = append(f.Service, &descriptorpb.ServiceDescriptorProto{Name: proto.String(s), Method: []*descriptorpb.MethodDescriptorProto{method}})
		}
		return f
	}
	response, err := generate(t, &pluginpb.CodeGeneratorRequest{
		FileToGenerate: []string{"a.proto", "b.proto"},
		ProtoFile:      []*descriptorpb.FileDescriptorProto{file("a", "Cart", "Basket"), file("b", "Shelf", "Store")},
	})
	if err != nil || len(response.File) != 2 {
		t.Fatal(response.GetFile(), err)
	}
	declared := map[string]string{}
	for _, out := range response.File {
		parsed, err := parser.ParseFile(token.NewFileSet(), out.GetName(), out.GetContent(), parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range topLevel(parsed) {
			if before := declared[name]; before != "" {
				t.Errorf("%s is declared in %s and in %s", name, before, out.GetName())
			}
			declared[name] = out.GetName()
		}
	}
	for _, want := range []string{"CartKind", "BasketKind", "ShelfKind", "StoreKind"} {
		if declared[want] == "" {
			t.Errorf("%s is not declared: %v", want, declared)
		}
	}
}

// topLevel are the names that a file declares for its package.
func topLevel(f *ast.File) []string {
	var names []string
	add := func(id *ast.Ident) {
		if id.Name != "_" {
			names = append(names, id.Name)
		}
	}
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Recv == nil {
				add(d.Name)
			}
		case *ast.GenDecl:
			for _, s := range d.Specs {
				switch s := s.(type) {
				case *ast.TypeSpec:
					add(s.Name)
				case *ast.ValueSpec:
					for _, id := range s.Names {
						add(id)
					}
				}
			}
		}
	}
	return names
}
