package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/granary-go/granary/core/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

const head = "syntax = \"proto3\";\npackage shop;\noption go_package = \"example.com/shop/cartpb\";\n"

// Wrong files end with exit code 1, one line a complaint, each with the path that the user gave, and
// nothing is written.
func TestBadFiles(t *testing.T) {
	for name, row := range map[string]struct {
		files map[string]string // beside a go.mod
		args  []string
		want  []string // lines of the output begin so
	}{
		"syntax error": {
			map[string]string{"pb/cart.proto": head + "service Cart { rpc Add(A) returs (B); }\n"},
			[]string{"pb/cart.proto"},
			[]string{"pb/cart.proto:4:27: syntax error"},
		},
		"several errors": {
			map[string]string{"cart.proto": head + "service Cart { rpc Add(A) returns (B); }\n"},
			[]string{"cart.proto"},
			[]string{"cart.proto:4:24: ", "cart.proto:4:36: "},
		},
		"streaming": {
			map[string]string{"cart.proto": head + "message A {}\nservice Cart {\n  rpc Watch(A) returns (stream A);\n}\n"},
			[]string{"./cart.proto"},
			[]string{"./cart.proto:6:3: service Cart: method Watch: streaming is not possible"},
		},
		"reserved package": {
			map[string]string{"cart.proto": "syntax = \"proto3\";\npackage actor;\noption go_package = \"example.com/shop/cartpb\";\n"},
			[]string{"cart.proto"},
			[]string{"cart.proto: package actor: the name belongs to messages of Granary itself"},
		},
		"missing import": {
			map[string]string{"pb/cart.proto": head + "import \"common.proto\";\n"},
			[]string{"pb/cart.proto"},
			[]string{"pb/cart.proto:4:8: "},
		},
		"error in an import": {
			map[string]string{"pb/cart.proto": head + "import \"pb/common.proto\";\n", "pb/common.proto": "syntax = \"proto3\";\nmessage {}\n"},
			[]string{"pb/cart.proto"},
			[]string{"pb/common.proto:2:9: syntax error"},
		},
		"unknown option": {
			map[string]string{"cart.proto": head + "import \"granary/options.proto\";\nmessage A {}\nservice Cart { rpc Add(A) returns (A) { option (granary.options.method).speed = 3; } }\n"},
			[]string{"cart.proto"},
			[]string{"cart.proto:6:73: "},
		},
		"edition of the future": {
			map[string]string{"cart.proto": "edition = \"2099\";\n"},
			[]string{"cart.proto"},
			[]string{"cart.proto:1:11: edition value \"2099\" not recognized"},
		},
		"what only edition 2024 has": {
			map[string]string{"cart.proto": "// A comment.\n/* and\nanother */ edition = '2024';\nexport message A {}\n"},
			[]string{"cart.proto"},
			[]string{"cart.proto:4:1: syntax error"},
		},
		"bad go_package": {
			map[string]string{"cart.proto": "syntax = \"proto3\";\noption go_package = \"cartpb\";\n"},
			[]string{"cart.proto"},
			[]string{"cart.proto: go_package \"cartpb\" is not an import path"},
		},
		"no file": {nil, []string{"nope.proto"}, []string{"stat nope.proto: "}},
		"no proto file": {
			map[string]string{"cart.txt": ""}, []string{"cart.txt"},
			[]string{"cart.txt: not a .proto file"},
		},
		"outside of -I": {
			map[string]string{"cart.proto": head, "inc/a.proto": head},
			[]string{"-I", "inc", "cart.proto"},
			[]string{"cart.proto: it is in none of the directories of -I: inc"},
		},
		"one name twice": {
			map[string]string{"a/cart.proto": head, "b/cart.proto": head},
			[]string{"-I", "a", "-I", "b", "a/cart.proto", "b/cart.proto"},
			[]string{"a/cart.proto and b/cart.proto are both compiled as cart.proto"},
		},
		"one file twice": {
			map[string]string{"cart.proto": head},
			[]string{"cart.proto", "./cart.proto"},
			[]string{"./cart.proto is given twice"},
		},
		"package named by a keyword": {
			map[string]string{"cart.proto": "syntax = \"proto3\";\noption go_package = \"example.com/shop/cartpb;func\";\nmessage A {}\n"},
			[]string{"cart.proto"},
			[]string{"cart.proto: go_package names the package func, which is a word of Go"},
		},
		"methods of one Go name": {
			map[string]string{"cart.proto": head + "message A {}\nservice Cart {\n  rpc get_x(A) returns (A);\n  rpc GetX(A) returns (A);\n}\n"},
			[]string{"cart.proto"},
			[]string{"cart.proto:7:3: shop.Cart.GetX: its Go name GetX is that of shop.Cart.get_x too"},
		},
		"one output twice": {
			map[string]string{"a.proto": head + "message A {}\nservice S { rpc M(A) returns (A); }\n", "a_grain.proto": head},
			[]string{"a.proto", "a_grain.proto"},
			[]string{"a_grain.pb.go would be written for two .proto files"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			t.Chdir(dir)
			writeFile(t, "go.mod", "module example.com/shop\n")
			for file, content := range row.files {
				writeFile(t, file, content)
			}
			expect(t, exitFiles, row.want, row.args...)
			_ = filepath.WalkDir(dir, func(path string, _ os.DirEntry, _ error) error {
				if strings.HasSuffix(path, ".go") {
					t.Errorf("%s was written", path)
				}
				return nil
			})
		})
	}
}

// expect runs the command; each of want begins a line of what it says.
func expect(t *testing.T, code int, want []string, args ...string) {
	t.Helper()
	var log bytes.Buffer
	if got := run(context.Background(), args, &log); got != code {
		t.Errorf("exit %d, want %d:\n%s", got, code, &log)
	}
	for _, w := range want {
		if !strings.Contains("\n"+log.String(), "\n"+w) {
			t.Errorf("no line begins with %q:\n%s", w, &log)
		}
	}
}

func TestUsage(t *testing.T) {
	t.Chdir(t.TempDir())
	expect(t, exitUsage, []string{"usage: granary-gen"})
	expect(t, exitOK, []string{"usage: granary-gen"}, "-h")
	expect(t, exitUsage, []string{"flag provided but not defined: -x"}, "-x", "cart.proto")
	expect(t, exitUsage, []string{`invalid value "nope" for flag -I`}, "-I", "nope", "cart.proto")
	writeFile(t, "file", "")
	expect(t, exitUsage, []string{`invalid value "file" for flag -I: not a directory`}, "-I", "file", "cart.proto")
}

// outside is a folder in no module: somebody may have left a go.mod above the temporary ones.
func outside(t *testing.T) string {
	t.Helper()
	cache, _ := os.UserCacheDir()
	for _, parent := range []string{os.TempDir(), cache, "/var/tmp", "/dev/shm"} {
		if root, _ := moduleOf(parent); root != "" {
			continue
		}
		dir, err := os.MkdirTemp(parent, "granary-gen-")
		if err != nil {
			continue
		}
		t.Cleanup(func() {
			if err := os.RemoveAll(dir); err != nil {
				t.Error(err)
			}
		})
		return dir
	}
	t.Fatal("every folder for temporary files is in a module: set TMPDIR to one that is not")
	return ""
}

// Outside of any module a file needs a go_package; with one it is compiled under its base name.
func TestWithoutModule(t *testing.T) {
	t.Chdir(outside(t))
	writeFile(t, "pb/cart.proto", cartProto)
	expect(t, exitFiles, []string{"pb/cart.proto: it has no option go_package and is in no Go module"}, "pb/cart.proto")
	writeFile(t, "pb/cart.proto", head+"message A {}\nservice Cart { rpc Add(A) returns (A); }\n")
	mustRun(t, "pb/cart.proto")
	if got := read(t, "pb/cart_grain.pb.go"); !strings.Contains(got, "// source: cart.proto\n") || !strings.Contains(got, "package cartpb\n") {
		t.Errorf("generated:\n%s", got)
	}
}

// Files that import each other and the built-in ones, by -I and without go_package.
func TestImports(t *testing.T) {
	t.Chdir(t.TempDir())
	writeFile(t, "go.mod", "module example.com/shop\n")
	writeFile(t, "api/cartpb/cart.proto", `syntax = "proto3";
package shop;
import "itempb/item.proto";
import "granary/options.proto";
import "google/protobuf/empty.proto";
service Cart {
  rpc Add(item.Item) returns (google.protobuf.Empty) { option (granary.options.method).one_way = true; }
}
`)
	writeFile(t, "api/itempb/item.proto", "syntax = \"proto3\";\npackage item;\nmessage Item { string sku = 1; }\n")
	mustRun(t, "-I", "api", "api/cartpb/cart.proto", "api/itempb/item.proto")
	got := read(t, "api/cartpb/cart_grain.pb.go")
	for _, want := range []string{
		`itempb "example.com/shop/api/itempb"`,
		"Add(ctx context.Context, req *itempb.Item) error",
		"grain.ProtoOneWay(",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("lacks %q:\n%s", want, got)
		}
	}
	if _, err := os.Stat("api/itempb/item_grain.pb.go"); !os.IsNotExist(err) {
		t.Errorf("a file without services got grains: %v", err)
	}
	writeFile(t, "api/itempb/unused.proto", "syntax = \"proto3\";\nimport \"itempb/item.proto\";\n")
	expect(t, exitOK, []string{"warning: api/itempb/unused.proto:2:1: "}, "-I", "api", "api/itempb/unused.proto")
}

// The option of Proto.Actor's generator is read as its files declare it.
func TestInheritedOption(t *testing.T) {
	t.Chdir(t.TempDir())
	writeFile(t, "go.mod", "module example.com/shop\n")
	writeFile(t, "options.proto", `syntax = "proto3";
package options;
import "google/protobuf/descriptor.proto";
option go_package = "github.com/asynkron/protoactor-go/protobuf/protoc-gen-go-grain/options";
message MethodOptions { bool reenterable = 1; bool future = 2; }
extend google.protobuf.MethodOptions { MethodOptions method_options = 50000; }
`)
	writeFile(t, "hello.proto", `syntax = "proto3";
package hello;
import "options.proto";
message A {}
service Hello {
  rpc Say(A) returns (A) { option (options.method_options).reenterable = true; }
  rpc Ask(A) returns (A) { option (options.method_options).future = true; }
}
`)
	mustRun(t, "hello.proto")
	got := read(t, "hello_grain.pb.go")
	for _, want := range []string{
		`grain.MethodSpec{Name: "Say", Index: 0, Reentrant: true}`,
		`grain.MethodSpec{Name: "Ask", Index: 1}`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("lacks %q:\n%s", want, got)
		}
	}
}
