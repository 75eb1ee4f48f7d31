package graingen_test

import (
	"os"
	"path/filepath"
	"testing"

	"google.golang.org/protobuf/compiler/protogen"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"

	"github.com/granary-go/granary/core/leaktest"
	"github.com/granary-go/granary/engine/graingen"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// request reads what a compiler sent for one of the golden files; the tests of granary-gen hold it
// to its source.
func request(t *testing.T, name string) *pluginpb.CodeGeneratorRequest {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name+".binpb"))
	if err != nil {
		t.Fatal(err)
	}
	r := new(pluginpb.CodeGeneratorRequest)
	if err := proto.Unmarshal(data, r); err != nil {
		t.Fatal(err)
	}
	return r
}

// generate answers r. The request goes by way of its binary form, as it does to a plug-in.
func generate(t *testing.T, r *pluginpb.CodeGeneratorRequest) (*pluginpb.CodeGeneratorResponse, error) {
	t.Helper()
	data, err := proto.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	r = new(pluginpb.CodeGeneratorRequest)
	if err := proto.Unmarshal(data, r); err != nil {
		t.Fatal(err)
	}
	gen, err := protogen.Options{}.New(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := graingen.Generate(gen); err != nil {
		return nil, err
	}
	return gen.Response(), nil
}

func TestGolden(t *testing.T) {
	for name, file := range map[string]string{
		"proto2":      "proto2pb/counter_grain.pb.go",
		"proto3":      "proto3pb/shop_grain.pb.go",
		"edition2023": "edition2023pb/lock_grain.pb.go",
		"edition2024": "edition2024pb/room_grain.pb.go",
		"names":       "namespb/names_grain.pb.go",
	} {
		t.Run(name, func(t *testing.T) {
			response, err := generate(t, request(t, name))
			if err != nil || response.Error != nil {
				t.Fatal(err, response.GetError())
			}
			if len(response.File) != 1 || response.File[0].GetName() != "graingen/internal/golden/"+file {
				t.Fatalf("files %v", response.File)
			}
			want, err := os.ReadFile(filepath.Join("internal", "golden", file))
			if err != nil {
				t.Fatal(err)
			}
			if got := response.File[0].GetContent(); got != string(want) {
				t.Errorf("%s is not what is generated now (the tests of granary-gen write it with -update):\n%s", file, got)
			}
		})
	}
}

// The answer tells compilers what the generator can do.
func TestFeatures(t *testing.T) {
	response, err := generate(t, request(t, "proto3"))
	if err != nil {
		t.Fatal(err)
	}
	if response.GetSupportedFeatures() != 3 ||
		response.GetMinimumEdition() != int32(descriptorpb.Edition_EDITION_PROTO2) ||
		response.GetMaximumEdition() != int32(descriptorpb.Edition_EDITION_2024) {
		t.Errorf("features %d, editions %d to %d", response.GetSupportedFeatures(), response.GetMinimumEdition(), response.GetMaximumEdition())
	}
}

// A file without services and reasons gives no code.
func TestNothingToGenerate(t *testing.T) {
	r := request(t, "proto3")
	f := own(r)
	f.Service, f.EnumType = nil, nil
	response, err := generate(t, r)
	if err != nil || len(response.File) != 0 {
		t.Errorf("%v, %v", response.GetFile(), err)
	}
}

// own is the file that r asks for.
func own(r *pluginpb.CodeGeneratorRequest) *descriptorpb.FileDescriptorProto {
	for _, f := range r.ProtoFile {
		if f.GetName() == r.FileToGenerate[0] {
			return f
		}
	}
	return nil
}
