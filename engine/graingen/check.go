package graingen

import (
	"errors"
	"slices"
	"strings"

	"google.golang.org/protobuf/compiler/protogen"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// reserved are the proto packages of Granary's own messages: protobuf refuses, when the program
// starts, a second message of one full name.
var reserved = []protoreflect.FullName{"actor", "remote", "cluster", "granary", "granary.options"}

func checkPackage(f *protogen.File) error {
	if !slices.Contains(reserved, f.Desc.Package()) {
		return nil
	}
	return errorAt(f.Desc, "package %s: the name belongs to messages of Granary itself, and a program cannot have both: use another name", f.Desc.Package())
}

const emptyMessage protoreflect.FullName = "google.protobuf.Empty"

// hooks are the methods that the engine looks for in a grain.
var hooks = []string{"Activate", "Deactivate"}

func checkMethod(m *protogen.Method, o options) error {
	var errs []error
	wrong := func(format string, args ...any) {
		args = append([]any{m.Parent.Desc.Name(), m.Desc.Name()}, args...)
		errs = append(errs, errorAt(m.Desc, "service %s: method %s: "+format, args...))
	}
	if m.Desc.IsStreamingClient() || m.Desc.IsStreamingServer() {
		wrong("streaming is not possible: a call of a grain is one message and one answer. Take the word stream away, or call several times")
	}
	if slices.Contains(hooks, m.GoName) {
		wrong("a grain's own hook has this name: use another")
	}
	if m.GoName == "With" {
		wrong("the client's own method has this name: use another")
	}
	if o.oneWay && m.Output.Desc.FullName() != emptyMessage {
		wrong("one_way: nobody gets the %s: return google.protobuf.Empty", m.Output.Desc.FullName())
	}
	if o.oneWay && o.reentrant {
		wrong("one_way: nobody waits for it, so it cannot be reentrant")
	}
	if o.timeout < 0 {
		wrong("timeout %v is negative", o.timeout)
	}
	return errors.Join(errs...)
}

// checkNames tells which names of the code for f's grains are taken in its Go package.
func checkNames(gen *protogen.Plugin, f *protogen.File) error {
	taken := make(map[string]protoreflect.Descriptor)
	addImports(taken, gen, f.GoImportPath)
	for _, other := range gen.Files {
		if other.GoImportPath == f.GoImportPath {
			addMessages(taken, other.Messages)
			addEnums(taken, other.Enums)
			addExtensions(taken, other.Extensions)
		}
	}
	for _, other := range gen.Files { // of two services in two files, the later one is in the wrong
		if other == f {
			break
		}
		if other.Generate && other.GoImportPath == f.GoImportPath {
			_ = addGrains(taken, other)
		}
	}
	return addGrains(taken, f)
}

// addImports adds the names by which the files of a Go package import others, which are those of the folders: Go
// lets no package declare a name that one of its files imports, and protoc-gen-go imports by these too.
func addImports(taken map[string]protoreflect.Descriptor, gen *protogen.Plugin, own protogen.GoImportPath) {
	naming := gen.NewGeneratedFile("names", own)
	naming.Skip()
	var add func(d protoreflect.FileDescriptor, public bool)
	add = func(d protoreflect.FileDescriptor, public bool) {
		for i := range d.Imports().Len() {
			i := d.Imports().Get(i)
			of := gen.FilesByPath[i.Path()]
			if of == nil || public && !i.IsPublic {
				continue
			}
			if name, _, qualified := strings.Cut(naming.QualifiedGoIdent(of.GoImportPath.Ident("X")), "."); qualified {
				taken[name] = of.Desc
			}
			add(of.Desc, true)
		}
	}
	for _, f := range gen.Files {
		if f.GoImportPath == own {
			add(f.Desc, false)
		}
	}
}

func addMessages(taken map[string]protoreflect.Descriptor, messages []*protogen.Message) {
	for _, m := range messages {
		taken[m.GoIdent.GoName] = m.Desc
		addMessages(taken, m.Messages)
		addEnums(taken, m.Enums)
		addExtensions(taken, m.Extensions)
		for _, f := range m.Fields {
			if f.Oneof != nil && !f.Oneof.Desc.IsSynthetic() {
				taken[f.GoIdent.GoName] = f.Desc
			}
			if f.Desc.HasDefault() {
				taken["Default_"+m.GoIdent.GoName+"_"+f.GoName] = f.Desc
			}
		}
	}
}

func addExtensions(taken map[string]protoreflect.Descriptor, extensions []*protogen.Extension) {
	for _, x := range extensions {
		name := "E_"
		if x.Parent != nil {
			name += x.Parent.GoIdent.GoName + "_"
		}
		taken[name+x.GoName] = x.Desc
	}
}

func addEnums(taken map[string]protoreflect.Descriptor, enums []*protogen.Enum) {
	for _, e := range enums {
		taken[e.GoIdent.GoName] = e.Desc
		for _, v := range e.Values {
			taken[v.GoIdent.GoName] = v.Desc
		}
	}
}

// addGrains adds the names that the code for f's grains declares, and tells which were taken.
func addGrains(taken map[string]protoreflect.Descriptor, f *protogen.File) error {
	var errs []error
	add := func(d protoreflect.Descriptor, names ...string) {
		for _, n := range names {
			by, ok := taken[n]
			if file, is := by.(protoreflect.FileDescriptor); is {
				errs = append(errs, errorAt(d, "%s: the Go name %s is needed for it, and the Go package of %s is imported by it: rename one of them", d.FullName(), n, file.Path()))
				continue
			}
			if ok {
				errs = append(errs, errorAt(d, "%s: the Go name %s is needed for it and taken by %s: rename one of them", d.FullName(), n, by.FullName()))
				continue
			}
			taken[n] = d
		}
	}
	for _, s := range f.Services {
		add(s.Desc, namesOf(s.GoName).all()...)
		errs = append(errs, checkMethodNames(s))
	}
	if e := reasonsOf(f); e != nil {
		for _, v := range reasonValues(e) {
			add(v.Desc, "Err"+reasonName(v), "Is"+reasonName(v))
		}
	}
	return errors.Join(errs...)
}

// checkMethodNames tells which methods of s have the Go name of another one, or of a field of the fake.
func checkMethodNames(s *protogen.Service) error {
	var errs []error
	methods := make(map[string]protoreflect.Descriptor)
	for _, m := range s.Methods {
		if by, ok := methods[m.GoName]; ok {
			errs = append(errs, errorAt(m.Desc, "%s: its Go name %s is that of %s too: rename one of them", m.Desc.FullName(), m.GoName, by.FullName()))
			continue
		}
		methods[m.GoName] = m.Desc
	}
	for _, m := range s.Methods {
		if by, ok := methods[m.GoName+"Func"]; ok {
			errs = append(errs, errorAt(m.Desc, "%s: the Go name %sFunc is needed for its fake and taken by %s: rename one of them", m.Desc.FullName(), m.GoName, by.FullName()))
		}
	}
	return errors.Join(errs...)
}
