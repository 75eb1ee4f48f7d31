package protos_test

import (
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/granary-go/granary/protos/optionspb"
	"github.com/granary-go/granary/protos/remotepb"
)

// ownFields is the lowest number of a field of ours in an inherited message.
const ownFields = 100

// schema is what schema.json holds: the descriptors of a live Proto.Actor node.
type schema struct {
	Messages []schemaMessage `json:"messages"`
	Enums    []schemaEnum    `json:"enums"`
}

type schemaMessage struct {
	Full   string
	Fields []schemaField
}

type schemaField struct {
	Num               protoreflect.FieldNumber
	Name, Type, Label string
	Oneof             string
}

type schemaEnum struct {
	Name   string                             `json:"name"`
	Values map[string]protoreflect.EnumNumber `json:"values"`
}

func TestInheritedMessages(t *testing.T) {
	for _, path := range vectorFiles(t, "schema*.json") {
		var s schema
		readJSON(t, path, &s)
		for _, m := range s.Messages {
			t.Run(m.Full, func(t *testing.T) {
				d, ok := find(t, m.Full).(protoreflect.MessageDescriptor)
				if !ok {
					t.Fatal("not a message")
				}
				for _, want := range m.Fields {
					hasField(t, d, want)
				}
				oursAreOwn(t, d, m.Fields)
			})
		}
	}
}

func hasField(t *testing.T, d protoreflect.MessageDescriptor, want schemaField) {
	t.Helper()
	f := d.Fields().ByNumber(want.Num)
	if f == nil {
		t.Errorf("field %d (%s) is missing", want.Num, want.Name)
		return
	}
	got := schemaField{Num: f.Number(), Name: string(f.Name()), Type: typeOf(f), Label: labelOf(f)}
	if o := f.ContainingOneof(); o != nil {
		got.Oneof = string(o.Name())
	}
	if got != want {
		t.Errorf("field %d:\n got %+v\nwant %+v", want.Num, got, want)
	}
}

// oursAreOwn wants every field that is not inherited to have a number of our own range.
func oursAreOwn(t *testing.T, d protoreflect.MessageDescriptor, inherited []schemaField) {
	t.Helper()
	for i := range d.Fields().Len() {
		f := d.Fields().Get(i)
		known := slices.ContainsFunc(inherited, func(s schemaField) bool { return s.Num == f.Number() })
		if !known && f.Number() < ownFields {
			t.Errorf("own field %s has number %d, want %d or more", f.Name(), f.Number(), ownFields)
		}
		if known && f.Number() >= ownFields {
			t.Errorf("inherited field %s has number %d of our own range", f.Name(), f.Number())
		}
	}
}

// typeOf writes the type of a field as schema.json does.
func typeOf(f protoreflect.FieldDescriptor) string {
	if f.IsMap() {
		return "map<" + typeOf(f.MapKey()) + "," + typeOf(f.MapValue()) + ">"
	}
	switch f.Kind() {
	case protoreflect.MessageKind:
		return string(f.Message().FullName())
	case protoreflect.EnumKind:
		return string(f.Enum().FullName())
	}
	return f.Kind().String()
}

func labelOf(f protoreflect.FieldDescriptor) string {
	if f.IsMap() {
		return "map"
	}
	return f.Cardinality().String()
}

func TestInheritedEnums(t *testing.T) {
	for _, path := range vectorFiles(t, "schema*.json") {
		var s schema
		readJSON(t, path, &s)
		for _, e := range s.Enums {
			t.Run(e.Name, func(t *testing.T) {
				d, ok := find(t, e.Name).(protoreflect.EnumDescriptor)
				if !ok {
					t.Fatal("not an enum")
				}
				for name, number := range e.Values {
					if v := d.Values().ByName(protoreflect.Name(name)); v == nil || v.Number() != number {
						t.Errorf("value %s: got %v, want %d", name, v, number)
					}
				}
				if got := d.Values().Len(); got != len(e.Values) {
					t.Errorf("%d values, want %d", got, len(e.Values))
				}
			})
		}
	}
}

// Own messages stand in packages of their own: a root message that a Proto.Actor process does not
// know ends it, so nothing of ours may look like one of its.
func TestNothingOwnInInheritedPackages(t *testing.T) {
	var s schema
	for _, path := range vectorFiles(t, "schema*.json") {
		var more schema
		readJSON(t, path, &more)
		s.Messages = append(s.Messages, more.Messages...)
		s.Enums = append(s.Enums, more.Enums...)
	}
	known := make(map[string]bool)
	for _, m := range s.Messages {
		known[m.Full] = true
	}
	for _, e := range s.Enums {
		known[e.Name] = true
	}
	eachFile(func(f protoreflect.FileDescriptor) {
		if !inherited(f.FullName().Append("x")) {
			return
		}
		for _, name := range declared(f) {
			if !known[string(name)] {
				t.Errorf("%s is not inherited but stands in an inherited package", name)
			}
		}
	})
}

// A user's own actor.proto or options.proto must not collide with ours.
func TestFilesLieUnderTheirOwnPath(t *testing.T) {
	var n int
	eachFile(func(f protoreflect.FileDescriptor) {
		n++
		if !strings.HasPrefix(f.Path(), "granary/") {
			t.Errorf("%s is not compiled under granary/", f.Path())
		}
	})
	if n < 9 {
		t.Errorf("%d files of ours are registered, want 9 or more", n)
	}
}

func TestServiceIsInherited(t *testing.T) {
	want := []string{
		"Receive remote.RemoteMessage remote.RemoteMessage both",
		"ListProcesses remote.ListProcessesRequest remote.ListProcessesResponse unary",
		"GetProcessDiagnostics remote.GetProcessDiagnosticsRequest remote.GetProcessDiagnosticsResponse unary",
	}
	d, ok := find(t, "remote.Remoting").(protoreflect.ServiceDescriptor)
	if !ok {
		t.Fatal("remote.Remoting is not a service")
	}
	var got []string
	for i := range d.Methods().Len() {
		m := d.Methods().Get(i)
		shape := "unary"
		if m.IsStreamingClient() && m.IsStreamingServer() {
			shape = "both"
		}
		got = append(got, strings.Join([]string{string(m.Name()), string(m.Input().FullName()), string(m.Output().FullName()), shape}, " "))
	}
	if !slices.Equal(got, want) {
		t.Errorf("methods:\n got %q\nwant %q", got, want)
	}
	if remotepb.Remoting_Receive_FullMethodName != "/remote.Remoting/Receive" {
		t.Errorf("full method = %q", remotepb.Remoting_Receive_FullMethodName)
	}
}

// The inherited option number 50000 stands in every tutorial; registering it would collide with
// users' own options.
func TestMethodOptionHasANumberOfItsOwn(t *testing.T) {
	d := optionspb.E_Method.TypeDescriptor()
	if d.FullName() != "granary.options.method" || d.ContainingMessage().FullName() != "google.protobuf.MethodOptions" {
		t.Errorf("option = %s of %s", d.FullName(), d.ContainingMessage().FullName())
	}
	if d.Number() <= 90_000 {
		t.Errorf("number = %d, want above 90,000", d.Number())
	}
	options := protoreflect.FullName("google.protobuf.MethodOptions")
	if x, err := protoregistry.GlobalTypes.FindExtensionByNumber(options, 50_000); err == nil {
		t.Errorf("50000 is registered as %s", x.TypeDescriptor().FullName())
	}
}

func find(t *testing.T, name string) protoreflect.Descriptor {
	t.Helper()
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(name))
	if err != nil {
		t.Fatalf("find %s: %v", name, err)
	}
	return d
}

// inherited reports whether name stands in a package of Proto.Actor.
func inherited(name protoreflect.FullName) bool {
	root, _, _ := strings.Cut(string(name), ".")
	return slices.Contains([]string{"actor", "remote", "cluster"}, root)
}

// eachFile calls f with every registered file of ours.
func eachFile(f func(protoreflect.FileDescriptor)) {
	protoregistry.GlobalFiles.RangeFiles(func(d protoreflect.FileDescriptor) bool {
		options, _ := d.Options().(*descriptorpb.FileOptions)
		if strings.HasPrefix(options.GetGoPackage(), "github.com/granary-go/granary/") {
			f(d)
		}
		return true
	})
}

// declared lists the messages and enums of a file, nested ones too, without map entries.
func declared(f protoreflect.FileDescriptor) []protoreflect.FullName {
	var names []protoreflect.FullName
	var walk func(protoreflect.MessageDescriptors, protoreflect.EnumDescriptors)
	walk = func(ms protoreflect.MessageDescriptors, es protoreflect.EnumDescriptors) {
		for i := range es.Len() {
			names = append(names, es.Get(i).FullName())
		}
		for i := range ms.Len() {
			if m := ms.Get(i); !m.IsMapEntry() {
				names = append(names, m.FullName())
				walk(m.Messages(), m.Enums())
			}
		}
	}
	walk(f.Messages(), f.Enums())
	return names
}
