package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestCompilesWithImportsOfAnyName builds, for each name that an imported package may have, the messages and the
// grains of a service beside it: the names of what generated code imports and of its parameters, those that Go
// has of its own, and that of the package itself.
func TestCompilesWithImportsOfAnyName(t *testing.T) {
	const module = "github.com/granary-go/granary/cmd/granary-gen"
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	args := []string{"build", "-overlay", filepath.Join(dir, "overlay.json")}
	overlay := map[string]string{} // the packages are built as if they were in this module, which requires all that they need
	for i, name := range []string{
		"cart;Cart", "Carts", "cartpb", "grain", "core", "context", "errors", "fmt", "time", "reflect", "unsafe", "protoimpl",
		"ctx", "req", "r", "f", "caller", "options", "format", "error", "string", "nil", "type;types", "my-cart;mycart",
	} {
		n := strconv.Itoa(i)
		root, at := "compiled/n"+n, filepath.Join(dir, "n"+n)
		folder, _, _ := strings.Cut(name, ";")
		below := root + "/below/" // so that the package may have the name of that of the service
		writeFile(t, filepath.Join(at, "other.proto"), "syntax = \"proto3\";\npackage other"+n+";\noption go_package = \""+module+"/"+below+name+"\";\nmessage M {\n  string text = 1;\n}\n")
		writeFile(t, filepath.Join(at, "cart.proto"), strings.NewReplacer("PACKAGE", module+"/"+root+"/cartpb", "OTHER", "other"+n).Replace(cartBeside))
		files, err := goCode(compiled(t, directories{at}, filepath.Join(at, "other.proto"), filepath.Join(at, "cart.proto")))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, f := range files {
			made, place := filepath.Join(at, f.GetName()), root+"/cartpb"
			if strings.HasPrefix(f.GetName(), "other") {
				place = below + folder
			}
			writeFile(t, made, f.GetContent())
			overlay[filepath.Join(here, place, f.GetName())] = made
		}
		args = append(args, module+"/"+root+"/cartpb")
	}
	data, err := json.Marshal(map[string]any{"Replace": overlay})
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, args[2], string(data))
	build := exec.CommandContext(t.Context(), "go", args...)
	build.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=")
	if out, err := build.CombinedOutput(); err != nil {
		t.Errorf("go build: %v\n%s", err, out)
	}
}

const cartBeside = `syntax = "proto3";
package shopOTHER;

import "google/protobuf/empty.proto";
import "granary/options.proto";
import "other.proto";

option go_package = "PACKAGE";

message Line {
  .OTHER.M of = 1;
}

service Cart {
  rpc Put(.OTHER.M) returns (.OTHER.M) {
    option (granary.options.method).idempotent = true;
    option (granary.options.method).timeout = {seconds: 2};
  }
  rpc Get(Line) returns (Line);
  rpc Tell(.OTHER.M) returns (google.protobuf.Empty) {
    option (granary.options.method).one_way = true;
  }
}

enum ErrorReason {
  ERROR_REASON_UNSPECIFIED = 0;
  ERROR_REASON_CART_FULL = 1;
}
`
