package main

import (
	"bytes"
	"context"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/pluginpb"
)

var update = flag.Bool("update", false, "write the golden files of this module and of engine/graingen")

const engineDir = "../../engine/graingen"

// goldens are the packages of engine/graingen/internal/golden.
var goldens = []struct{ name, file string }{
	{"proto2", "proto2pb/counter.proto"},
	{"proto3", "proto3pb/shop.proto"},
	{"edition2023", "edition2023pb/lock.proto"},
	{"edition2024", "edition2024pb/room.proto"},
	{"names", "namespb/names.proto"},
}

// goldenImports are files that a golden one imports: messages alone.
var goldenImports = []string{"namespb/ctx/ctx.proto", "namespb/f/f.proto", "namespb/r/r.proto", "namespb/req/req.proto"}

// The messages, the grains and the request that plug-ins are tested with are what is committed.
func TestGolden(t *testing.T) {
	for _, g := range goldens {
		t.Run(g.name, func(t *testing.T) {
			dir := filepath.Join(engineDir, "internal", "golden", filepath.Dir(g.file))
			request := compiled(t, nil, filepath.Join(engineDir, "internal", "golden", g.file))
			files, err := goCode(request)
			if err != nil {
				t.Fatal(err)
			}
			if len(files) != 2 {
				t.Fatalf("%d files, want messages and grains", len(files))
			}
			for _, f := range files {
				compare(t, filepath.Join(dir, filepath.Base(f.GetName())), []byte(f.GetContent()))
			}
			compareRequest(t, filepath.Join(engineDir, "testdata", g.name+".binpb"), request)
		})
	}
}

func TestGoldenImports(t *testing.T) {
	for _, file := range goldenImports {
		source := filepath.Join(engineDir, "internal", "golden", file)
		files, err := goCode(compiled(t, nil, source))
		if err != nil || len(files) != 1 {
			t.Fatalf("%s: %d files, want messages alone: %v", file, len(files), err)
		}
		compare(t, filepath.Join(filepath.Dir(source), filepath.Base(files[0].GetName())), []byte(files[0].GetContent()))
	}
}

// The generated code of the examples is what is generated now.
func TestExamplesAreCurrent(t *testing.T) {
	sources, err := filepath.Glob("../../examples/*/*/*.proto")
	if err != nil || len(sources) == 0 {
		t.Fatal(sources, err)
	}
	for _, source := range sources {
		files, err := goCode(compiled(t, nil, source))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			compare(t, filepath.Join(filepath.Dir(source), filepath.Base(f.GetName())), []byte(f.GetContent()))
		}
	}
}

func compiled(t *testing.T, imports directories, files ...string) *pluginpb.CodeGeneratorRequest {
	t.Helper()
	s, err := locate(imports, files)
	if err != nil {
		t.Fatal(err)
	}
	request, err := compile(t.Context(), s, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	return request
}

func compare(t *testing.T, file string, got []byte) {
	t.Helper()
	if *update {
		writeFile(t, file, string(got))
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what is generated now (-update writes it):\n%s", file, got)
	}
}

func compareRequest(t *testing.T, file string, got *pluginpb.CodeGeneratorRequest) {
	t.Helper()
	if *update {
		data, err := proto.MarshalOptions{Deterministic: true}.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, file, string(data))
		return
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	want, have := new(pluginpb.CodeGeneratorRequest), new(pluginpb.CodeGeneratorRequest)
	if err := proto.Unmarshal(data, want); err != nil {
		t.Fatal(err)
	}
	data, err = proto.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	if err := proto.Unmarshal(data, have); err != nil {
		t.Fatal(err)
	}
	if !proto.Equal(have, want) {
		t.Errorf("%s is not what is compiled now (-update writes it)", file)
	}
}

func writeFile(t *testing.T, file, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// The command writes beside the file or below -out, the same each time, and leaves alone what is
// right already.
func TestCommandWrites(t *testing.T) {
	for _, out := range []string{"", "out"} {
		dir := t.TempDir()
		writeFile(t, filepath.Join(dir, "go.mod"), "module \"example.com/shop\" // the shop\n")
		writeFile(t, filepath.Join(dir, "cartpb", "cart.proto"), cartProto)
		t.Chdir(dir)
		args, beside := []string{filepath.Join("cartpb", "cart.proto")}, "cartpb"
		if out != "" {
			args, beside = append([]string{"-out", out}, args...), filepath.Join(out, "cartpb")
		}
		mustRun(t, args...)
		first := read(t, filepath.Join(beside, "cart_grain.pb.go"))
		if !strings.Contains(first, "package cartpb\n") || !strings.Contains(first, "// source: cartpb/cart.proto\n") {
			t.Fatalf("out %q: generated:\n%s", out, first)
		}
		messages := filepath.Join(beside, "cart.pb.go")
		if !strings.Contains(read(t, messages), "type AddRequest struct") {
			t.Fatalf("out %q: no messages", out)
		}
		before, err := os.Stat(messages)
		if err != nil {
			t.Fatal(err)
		}
		mustRun(t, args...)
		after, err := os.Stat(messages)
		if err != nil {
			t.Fatal(err)
		}
		if read(t, filepath.Join(beside, "cart_grain.pb.go")) != first || !before.ModTime().Equal(after.ModTime()) {
			t.Errorf("out %q: the second run wrote something else", out)
		}
	}
}

// What a run before has made of another file stays as it is, and nothing of the run is written; of the same
// file, by whatever path it was compiled, or of no .proto file at all, it is replaced.
func TestOverwritesNoOther(t *testing.T) {
	const grainProto = "syntax = \"proto3\";\npackage shop;\nmessage Grain {}\n"
	deprecated := strings.Replace(grainProto, "package", "option deprecated = true;\npackage", 1)
	for _, out := range []string{"", "out"} {
		for first, second := range map[string]string{"cart.proto": "cart_grain.proto", "cart_grain.proto": "cart.proto"} {
			for _, messages := range []string{grainProto, deprecated} {
				dir := t.TempDir()
				t.Chdir(dir)
				writeFile(t, "go.mod", "module example.com/shop\n")
				writeFile(t, "pb/cart.proto", cartProto)
				writeFile(t, "pb/cart_grain.proto", messages)
				var args []string
				if out != "" {
					args = []string{"-out", out}
				}
				mustRun(t, append(args, "pb/"+first)...)
				target := filepath.Join(out, "pb", "cart_grain.pb.go")
				before := read(t, target)
				expect(t, exitFiles, []string{target + " was generated from pb/" + first + ", and would be overwritten by what is made of pb/" + second}, append(args, "pb/"+second)...)
				if read(t, target) != before {
					t.Errorf("out %q: %s was overwritten by %s", out, target, second)
				}
				if first == "cart_grain.proto" {
					if _, err := os.Stat(filepath.Join(out, "pb", "cart.pb.go")); !os.IsNotExist(err) {
						t.Errorf("out %q: the messages of a refused run were written: %v", out, err)
					}
				}
				writeFile(t, "pb/"+first, read(t, "pb/"+first)+"message More {}\n")
				mustRun(t, append(args, "pb/"+first)...)
			}
		}
	}
	writeFile(t, "pb/cart_grain.pb.go", "package pb\n\n// source: mine.proto\n")
	mustRun(t, "pb/cart.proto")
	mustRun(t, "-I", "pb", "pb/cart.proto")
	if got := read(t, "pb/cart_grain.pb.go"); !strings.Contains(got, "// source: cart.proto\n") {
		t.Errorf("compiled by another path it was not written:\n%s", got)
	}
}

const cartProto = `syntax = "proto3";
package shop;
service Cart { rpc Add(AddRequest) returns (AddReply); }
message AddRequest { string sku = 1; }
message AddReply { int32 lines = 1; }
`

func mustRun(t *testing.T, args ...string) {
	t.Helper()
	var log bytes.Buffer
	if code := run(context.Background(), args, &log); code != exitOK || log.Len() > 0 {
		t.Fatalf("granary-gen %v: exit %d:\n%s", args, code, &log)
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
