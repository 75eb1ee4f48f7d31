package graingen_test

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/pluginpb"

	"github.com/granary-go/granary/protos/optionspb"
)

// Each of these is refused, with its place and the way out. The file is that of proto3, changed.
func TestRefusals(t *testing.T) {
	const at = "graingen/internal/golden/proto3pb/shop.proto"
	option := func(m *descriptorpb.MethodDescriptorProto, o *optionspb.MethodOptions) {
		m.Options = new(descriptorpb.MethodOptions)
		proto.SetExtension(m.Options, optionspb.E_Method, o)
	}
	type change func(f *descriptorpb.FileDescriptorProto, add *descriptorpb.MethodDescriptorProto)
	for name, row := range map[string]struct {
		change change
		want   string // beginning of a line of the error
	}{
		"server streaming": {func(_ *descriptorpb.FileDescriptorProto, add *descriptorpb.MethodDescriptorProto) {
			add.ServerStreaming = proto.Bool(true)
		}, at + ":17:3: service Cart: method Add: streaming is not possible"},
		"client streaming": {func(_ *descriptorpb.FileDescriptorProto, add *descriptorpb.MethodDescriptorProto) {
			add.ClientStreaming = proto.Bool(true)
		}, at + ":17:3: service Cart: method Add: streaming is not possible"},
		"hook": {func(_ *descriptorpb.FileDescriptorProto, add *descriptorpb.MethodDescriptorProto) {
			add.Name = proto.String("Deactivate")
		}, at + ":17:3: service Cart: method Deactivate: a grain's own hook has this name"},
		"With": {func(_ *descriptorpb.FileDescriptorProto, add *descriptorpb.MethodDescriptorProto) {
			add.Name = proto.String("with")
		}, at + ":17:3: service Cart: method with: the client's own method has this name"},
		"one way with an answer": {func(_ *descriptorpb.FileDescriptorProto, add *descriptorpb.MethodDescriptorProto) {
			option(add, &optionspb.MethodOptions{OneWay: true})
		}, at + ":17:3: service Cart: method Add: one_way: nobody gets the golden.proto3.AddReply"},
		"one way and reentrant": {func(_ *descriptorpb.FileDescriptorProto, add *descriptorpb.MethodDescriptorProto) {
			add.OutputType = proto.String(".google.protobuf.Empty")
			option(add, &optionspb.MethodOptions{OneWay: true, Reentrant: true})
		}, at + ":17:3: service Cart: method Add: one_way: nobody waits for it"},
		"negative timeout": {func(_ *descriptorpb.FileDescriptorProto, add *descriptorpb.MethodDescriptorProto) {
			option(add, &optionspb.MethodOptions{Timeout: durationpb.New(-time.Second)})
		}, at + ":17:3: service Cart: method Add: timeout -1s is negative"},
		"broken timeout": {func(_ *descriptorpb.FileDescriptorProto, add *descriptorpb.MethodDescriptorProto) {
			option(add, &optionspb.MethodOptions{Timeout: &durationpb.Duration{Nanos: 2e9}})
		}, at + ":17:3: service Cart: method Add: timeout: "},
		"name of a message": {func(f *descriptorpb.FileDescriptorProto, _ *descriptorpb.MethodDescriptorProto) {
			f.MessageType = append(f.MessageType, &descriptorpb.DescriptorProto{Name: proto.String("CartKind")})
		}, at + ":13:1: golden.proto3.Cart: the Go name CartKind is needed for it and taken by golden.proto3.CartKind"},
		"name of an enum": {func(f *descriptorpb.FileDescriptorProto, _ *descriptorpb.MethodDescriptorProto) {
			f.EnumType = append(f.EnumType, &descriptorpb.EnumDescriptorProto{
				Name: proto.String("FakeCart"), Value: []*descriptorpb.EnumValueDescriptorProto{{Name: proto.String("NONE"), Number: proto.Int32(0)}},
			})
		}, at + ":13:1: golden.proto3.Cart: the Go name FakeCart is needed for it and taken by golden.proto3.FakeCart"},
		"name of another service": {func(f *descriptorpb.FileDescriptorProto, _ *descriptorpb.MethodDescriptorProto) {
			f.Service[1].Name = proto.String("CartRef")
		}, at + ":35:1: golden.proto3.CartRef: the Go name CartRef is needed for it and taken by golden.proto3.Cart"},
		"methods of one Go name": {func(f *descriptorpb.FileDescriptorProto, add *descriptorpb.MethodDescriptorProto) {
			f.Service[0].Method[1].Name = proto.String("add")
		}, at + ":19:3: golden.proto3.Cart.add: its Go name Add is that of golden.proto3.Cart.Add too"},
		"type of a oneof's field": {func(f *descriptorpb.FileDescriptorProto, _ *descriptorpb.MethodDescriptorProto) {
			f.Service[1].Name = proto.String("Choice_Text")
			text := field("text")
			text.OneofIndex = proto.Int32(0)
			f.MessageType = append(f.MessageType, &descriptorpb.DescriptorProto{
				Name: proto.String("Choice"), Field: []*descriptorpb.FieldDescriptorProto{text},
				OneofDecl: []*descriptorpb.OneofDescriptorProto{{Name: proto.String("of")}},
			})
		}, at + ":35:1: golden.proto3.Choice_Text: the Go name Choice_Text is needed for it and taken by golden.proto3.Choice.text"},
		"variable of an extension": {func(f *descriptorpb.FileDescriptorProto, _ *descriptorpb.MethodDescriptorProto) {
			f.Service[1].Name = proto.String("E_AddReply_Text")
			text := field("text")
			text.Number, text.Extendee = proto.Int32(50_123), proto.String(".google.protobuf.MethodOptions")
			f.Dependency = append(f.Dependency, "google/protobuf/descriptor.proto")
			reply := f.MessageType[len(f.MessageType)-1]
			reply.Extension = append(reply.Extension, text)
		}, at + ":35:1: golden.proto3.E_AddReply_Text: the Go name E_AddReply_Text is needed for it and taken by golden.proto3.AddReply.text"},
		"field of the fake": {func(f *descriptorpb.FileDescriptorProto, add *descriptorpb.MethodDescriptorProto) {
			f.Service[0].Method[1].Name = proto.String("AddFunc")
		}, at + ":17:3: golden.proto3.Cart.Add: the Go name AddFunc is needed for its fake"},
		"name of a reason's function": {func(f *descriptorpb.FileDescriptorProto, _ *descriptorpb.MethodDescriptorProto) {
			f.MessageType = append(f.MessageType, &descriptorpb.DescriptorProto{Name: proto.String("IsSoldOut")})
		}, at + ":57:3: golden.proto3.ERROR_REASON_SOLD_OUT: the Go name IsSoldOut is needed for it and taken by golden.proto3.IsSoldOut"},
	} {
		t.Run(name, func(t *testing.T) {
			r := request(t, "proto3")
			f := own(r)
			row.change(f, f.Service[0].Method[0])
			expectRefusal(t, r, row.want)
		})
	}
}

// No file may import by a name that its package declares, so that is refused: a package of the messages that
// methods take, of those that other messages hold, and one that comes by way of a public import.
func TestNameOfAnImport(t *testing.T) {
	const at = "graingen/internal/golden/proto3pb/shop.proto"
	message := func(name string) *descriptorpb.FileDescriptorProto {
		return &descriptorpb.FileDescriptorProto{
			Name: proto.String("x/" + name + ".proto"), Package: proto.String("other"), Syntax: proto.String("proto3"),
			Options:     &descriptorpb.FileOptions{GoPackage: proto.String("example.com/x/" + name + ";other")},
			MessageType: []*descriptorpb.DescriptorProto{{Name: proto.String("M")}},
		}
	}
	for name, want := range map[string]string{
		"Cart": at + ":13:1: golden.proto3.Cart", "CartKind": at + ":13:1: golden.proto3.Cart", "FakeCart": at + ":13:1: golden.proto3.Cart",
		"optionsOfCart": at + ":13:1: golden.proto3.Cart", "ErrSoldOut": at + ":57:3: golden.proto3.ERROR_REASON_SOLD_OUT",
		"cart": "", "AddRequest": "", "Carts": "",
	} {
		for _, public := range []bool{false, true} {
			r, imported := request(t, "proto3"), message(name)
			own(r).Service[0].Method[0].InputType = proto.String(".other.M")
			files := []*descriptorpb.FileDescriptorProto{imported}
			if public {
				files = append(files, message("between"))
				files[1].MessageType, files[1].Dependency, files[1].PublicDependency = nil, []string{imported.GetName()}, []int32{0}
			}
			own(r).Dependency = append(own(r).Dependency, files[len(files)-1].GetName())
			r.ProtoFile = append(files, r.ProtoFile...)
			if want != "" {
				expectRefusal(t, r, want+": the Go name "+name+" is needed for it, and the Go package of x/"+name+".proto is imported by it: rename one of them")
			} else if response, err := generate(t, r); err != nil || len(response.File) != 1 {
				t.Errorf("%s, public %v: %v, %v", name, public, response.GetFile(), err)
			}
		}
	}
}

// The constant of a field's default is a name like any other.
func TestNameOfADefault(t *testing.T) {
	r := request(t, "proto2")
	own(r).Service[0].Name = proto.String("Default_Total_Value")
	expectRefusal(t, r, "graingen/internal/golden/proto2pb/counter.proto:9:1: golden.proto2.Default_Total_Value: the Go name Default_Total_Value is needed for it and taken by golden.proto2.Total.value")
}

func field(name string) *descriptorpb.FieldDescriptorProto {
	return &descriptorpb.FieldDescriptorProto{
		Name: proto.String(name), Number: proto.Int32(1), JsonName: proto.String(name),
		Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(), Type: descriptorpb.FieldDescriptorProto_TYPE_STRING.Enum(),
	}
}

func expectRefusal(t *testing.T, r *pluginpb.CodeGeneratorRequest, want string) {
	t.Helper()
	_, err := generate(t, r)
	if err == nil {
		t.Fatalf("not refused, want %q", want)
	}
	for line := range strings.SplitSeq(err.Error(), "\n") {
		if strings.HasPrefix(line, want) {
			return
		}
	}
	t.Errorf("refused with:\n%v\nwant %q", err, want)
}

// All complaints come at once.
func TestRefusalsAreJoined(t *testing.T) {
	r := request(t, "proto3")
	for _, m := range own(r).Service[0].Method {
		m.ServerStreaming = proto.Bool(true)
	}
	_, err := generate(t, r)
	if n := strings.Count(err.Error(), "streaming is not possible"); n != 4 {
		t.Errorf("%d complaints:\n%v", n, err)
	}
}

// The proto packages of Granary's own messages are refused also where there is no service.
func TestReservedPackages(t *testing.T) {
	for _, name := range []string{"actor", "remote", "cluster", "granary", "granary.options"} {
		expectRefusal(t, packaged(name), "own.proto: package "+name+": the name belongs to messages of Granary itself")
	}
	for _, name := range []string{"actors", "actor.v1", "shop.cluster", ""} {
		if _, err := generate(t, packaged(name)); err != nil {
			t.Errorf("package %q: %v", name, err)
		}
	}
}

func packaged(name string) *pluginpb.CodeGeneratorRequest {
	return &pluginpb.CodeGeneratorRequest{
		FileToGenerate: []string{"own.proto"},
		ProtoFile: []*descriptorpb.FileDescriptorProto{{
			Name: proto.String("own.proto"), Package: proto.String(name), Syntax: proto.String("proto3"),
			Options: &descriptorpb.FileOptions{GoPackage: proto.String("example.com/own/ownpb")},
		}},
	}
}

// Names of services in two files of one Go package are compared as well.
func TestNamesAcrossFiles(t *testing.T) {
	file := func(name, pkg, service string) *descriptorpb.FileDescriptorProto {
		return &descriptorpb.FileDescriptorProto{
			Name: proto.String(name), Package: proto.String(pkg), Syntax: proto.String("proto3"),
			Options: &descriptorpb.FileOptions{GoPackage: proto.String("example.com/own/ownpb")},
			Service: []*descriptorpb.ServiceDescriptorProto{{Name: proto.String(service)}},
		}
	}
	r := &pluginpb.CodeGeneratorRequest{
		FileToGenerate: []string{"a.proto", "b.proto"},
		ProtoFile:      []*descriptorpb.FileDescriptorProto{file("a.proto", "a", "Cart"), file("b.proto", "b", "Cart")},
	}
	expectRefusal(t, r, "b.proto: b.Cart: the Go name Cart is needed for it and taken by a.Cart")
	r.ProtoFile[1].Service[0].Name = proto.String("Basket")
	if response, err := generate(t, r); err != nil || len(response.File) != 2 {
		t.Errorf("%v, %v", response.GetFile(), err)
	}
}

// Extension 50000 counts if it is Proto.Actor's, and is left alone if it is anybody else's.
func TestInheritedOption(t *testing.T) {
	const reentrant = "Reentrant: true"
	value := protowire.AppendTag(nil, 50000, protowire.BytesType)
	value = protowire.AppendBytes(value, []byte{0x08, 0x01, 0x10, 0x01}) // reenterable, future
	for name, row := range map[string]struct {
		message string
		unknown []byte
		want    bool
	}{
		"Proto.Actor's":   {"options.MethodOptions", value, true},
		"somebody else's": {"mine.MethodOptions", value, false},
		"false":           {"options.MethodOptions", []byte{0x82, 0xb5, 0x18, 0x02, 0x08, 0x00}, false},
		"only future":     {"options.MethodOptions", []byte{0x82, 0xb5, 0x18, 0x02, 0x10, 0x01}, false},
		"another number":  {"options.MethodOptions", []byte{0x8a, 0xb5, 0x18, 0x02, 0x08, 0x01}, false},
		"a varint":        {"options.MethodOptions", []byte{0x80, 0xb5, 0x18, 0x01}, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := withInherited(row.message)
			o := new(descriptorpb.MethodOptions)
			o.ProtoReflect().SetUnknown(row.unknown)
			own(r).Service[0].Method[0].Options = o
			response, err := generate(t, r)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Contains(response.File[0].GetContent(), reentrant); got != row.want {
				t.Errorf("reentrant is %v", got)
			}
		})
	}
}

func withInherited(message string) *pluginpb.CodeGeneratorRequest {
	pkg, name, _ := strings.Cut(message, ".")
	own := packaged("own")
	own.ProtoFile[0].Dependency = []string{"options.proto"}
	own.ProtoFile[0].MessageType = []*descriptorpb.DescriptorProto{{Name: proto.String("M")}}
	own.ProtoFile[0].Service = []*descriptorpb.ServiceDescriptorProto{{
		Name: proto.String("Cart"),
		Method: []*descriptorpb.MethodDescriptorProto{{
			Name: proto.String("Add"), InputType: proto.String(".own.M"), OutputType: proto.String(".own.M"),
		}},
	}}
	boolean := func(name string, n int32) *descriptorpb.FieldDescriptorProto {
		return &descriptorpb.FieldDescriptorProto{
			Name: proto.String(name), Number: proto.Int32(n),
			Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(), Type: descriptorpb.FieldDescriptorProto_TYPE_BOOL.Enum(),
		}
	}
	options := &descriptorpb.FileDescriptorProto{
		Name: proto.String("options.proto"), Package: proto.String(pkg), Syntax: proto.String("proto3"),
		Dependency:  []string{"google/protobuf/descriptor.proto"},
		Options:     &descriptorpb.FileOptions{GoPackage: proto.String("example.com/own/optionspb")},
		MessageType: []*descriptorpb.DescriptorProto{{Name: proto.String(name), Field: []*descriptorpb.FieldDescriptorProto{boolean("reenterable", 1), boolean("future", 2)}}},
		Extension: []*descriptorpb.FieldDescriptorProto{{
			Name: proto.String("method_options"), Number: proto.Int32(50000), Extendee: proto.String(".google.protobuf.MethodOptions"),
			Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(), Type: descriptorpb.FieldDescriptorProto_TYPE_MESSAGE.Enum(),
			TypeName: proto.String("." + message),
		}},
	}
	own.ProtoFile = []*descriptorpb.FileDescriptorProto{protodesc.ToFileDescriptorProto(descriptorpb.File_google_protobuf_descriptor_proto), options, own.ProtoFile[0]}
	return own
}
