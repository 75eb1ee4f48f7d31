package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/pluginpb"
)

const (
	engine    = "../.."
	parameter = "module=github.com/granary-go/granary/engine"
)

// goldens are the .proto files that the recorded requests ask for, and the ones that compilers on this
// machine are run over, each with what is to be written for it.
var goldens = map[string]string{
	"graingen/internal/golden/proto2pb/counter.proto":   "graingen/internal/golden/proto2pb/counter_grain.pb.go",
	"graingen/internal/golden/proto3pb/shop.proto":      "graingen/internal/golden/proto3pb/shop_grain.pb.go",
	"graingen/internal/golden/edition2023pb/lock.proto": "graingen/internal/golden/edition2023pb/lock_grain.pb.go",
	"graingen/internal/golden/edition2024pb/room.proto": "graingen/internal/golden/edition2024pb/room_grain.pb.go",
}

// TestRecordedCompilers answers what protoc 36.2 and buf 1.75.0 handed to a plug-in; testdata/record.sh
// recorded it.
func TestRecordedCompilers(t *testing.T) {
	for _, compiler := range []string{"protoc", "buf"} {
		t.Run(compiler, func(t *testing.T) {
			data, err := os.ReadFile(filepath.Join("testdata", compiler+".binpb"))
			if err != nil {
				t.Fatal(err)
			}
			request := new(pluginpb.CodeGeneratorRequest)
			if err := proto.Unmarshal(data, request); err != nil || request.CompilerVersion == nil && compiler == "protoc" {
				t.Fatalf("the record is none of a compiler: %v, version %v", err, request.GetCompilerVersion())
			}
			answer, stderr, err := pipe(t, data)
			if err != nil || stderr != "" || answer.GetError() != "" {
				t.Fatalf("%v\n%s%s", err, stderr, answer.GetError())
			}
			written := map[string]string{}
			for _, f := range answer.File {
				written[f.GetName()] = f.GetContent()
			}
			same(t, written, request.FileToGenerate)
		})
	}
}

// same holds what was written for the .proto files to what is committed.
func same(t *testing.T, written map[string]string, sources []string) {
	t.Helper()
	if len(written) != len(sources) || len(sources) == 0 {
		t.Errorf("%d files for %v", len(written), sources)
	}
	for _, source := range sources {
		want, err := os.ReadFile(filepath.Join(engine, goldens[source]))
		if err != nil {
			t.Fatal(err)
		}
		if written[goldens[source]] != string(want) {
			t.Errorf("%s: not what is committed; if the .proto files have changed, testdata/record.sh records them anew", source)
		}
	}
}

// TestCompilersOfThisMachine runs those of protoc and buf that are on the PATH over the golden files,
// with this command as their plug-in. Where they are not, the recorded requests stand for them: building
// buf takes minutes, and protoc is no Go program.
func TestCompilersOfThisMachine(t *testing.T) {
	src, plugins := t.TempDir(), t.TempDir()
	for _, copied := range []struct{ from, to string }{{engine + "/../protos/granary", "granary"}, {engine + "/graingen/internal/golden", "graingen/internal/golden"}} {
		if err := os.CopyFS(filepath.Join(src, copied.to), os.DirFS(copied.from)); err != nil {
			t.Fatal(err)
		}
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, filepath.Join(plugins, "protoc-gen-go-grain")); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", plugins+string(os.PathListSeparator)+os.Getenv("PATH"))
	t.Setenv(asPlugin, "1")
	for compiler, run := range map[string]func(t *testing.T, src, out string) (*exec.Cmd, []string){"protoc": protoc, "buf": buf} {
		if _, err := exec.LookPath(compiler); err != nil {
			t.Logf("%s: %v", compiler, err)
			continue
		}
		t.Run(compiler, func(t *testing.T) {
			out := t.TempDir()
			cmd, sources := run(t, src, out)
			var output bytes.Buffer
			cmd.Dir, cmd.Stdout, cmd.Stderr = src, &output, &output
			if err := cmd.Run(); err != nil {
				t.Fatalf("%v: %v\n%s", cmd.Args, err, &output)
			}
			written := map[string]string{}
			for _, source := range sources {
				data, err := os.ReadFile(filepath.Join(out, goldens[source]))
				if err != nil {
					t.Fatal(err)
				}
				written[goldens[source]] = string(data)
			}
			same(t, written, sources)
		})
	}
}

// protoc is run over the files that its oldest releases in use can read: they know no editions.
func protoc(t *testing.T, src, out string) (*exec.Cmd, []string) {
	var sources []string
	for source := range goldens {
		if strings.Contains(source, "/proto") {
			sources = append(sources, source)
		}
	}
	args := append([]string{"-I", src, "--go-grain_out=" + out, "--go-grain_opt=" + parameter}, sources...)
	return exec.CommandContext(t.Context(), "protoc", args...), sources
}

func buf(t *testing.T, src, out string) (*exec.Cmd, []string) {
	var sources []string
	for source := range goldens {
		sources = append(sources, source)
	}
	template := "version: v2\nplugins:\n  - local: protoc-gen-go-grain\n    out: " + out + "\n    opt: " + parameter + "\n"
	for name, text := range map[string]string{"buf.yaml": "version: v2\n", "buf.gen.yaml": template} {
		if err := os.WriteFile(filepath.Join(src, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return exec.CommandContext(t.Context(), "buf", "generate", "--path", "graingen"), sources
}
