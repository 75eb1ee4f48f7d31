package main

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The committed files are what the sources give; a second run gives the same bytes.
func TestCommittedFilesAreCurrent(t *testing.T) {
	if err := run(t.Context(), "../../protos", "..", true); err != nil {
		t.Fatal(err)
	}
}

func TestWriteThenCheck(t *testing.T) {
	dir := t.TempDir()
	source(t, dir, `syntax = "proto3";
package example;
option go_package = "github.com/granary-go/granary/protos/examplepb";
message Hello { string who = 1; }
service Greeter { rpc Say(Hello) returns (Hello); }
`)
	stale := filepath.Join(dir, "examplepb", "gone.pb.go")
	put(t, stale, "package examplepb\n")

	err := run(t.Context(), dir, "..", true)
	for _, name := range []string{"example.pb.go", "example_grpc.pb.go", "gone.pb.go"} {
		if !errors.Is(err, errStale) || !strings.Contains(err.Error(), name) {
			t.Errorf("check before the first write = %v, want it to name %s", err, name)
		}
	}
	if err := run(t.Context(), dir, "..", false); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(stale); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("gone.pb.go after a write: %v, want it removed", err)
	}
	if err := run(t.Context(), dir, "..", true); err != nil {
		t.Errorf("check after a write = %v", err)
	}

	put(t, filepath.Join(dir, "examplepb", "example.pb.go"), "package examplepb\n")
	if err := run(t.Context(), dir, "..", true); !errors.Is(err, errStale) {
		t.Errorf("check after an edit = %v, want %v", err, errStale)
	}
}

func TestGenerateKeepsComments(t *testing.T) {
	files, err := generate(t.Context(), "../../protos", "..")
	if err != nil {
		t.Fatal(err)
	}
	got := files["actorpb/actor.pb.go"]
	if !strings.Contains(got, "// PID addresses one process inside one member.") {
		t.Errorf("actor.pb.go has lost its comments; files: %q", slices.Sorted(maps.Keys(files)))
	}
}

func TestBadSources(t *testing.T) {
	for _, tc := range []struct{ name, text, want string }{
		{"none", "", "no .proto files"},
		{"syntax", "syntax = \"proto3\";\nmessage {", "example.proto:2"},
		{"no package", "syntax = \"proto3\";\nmessage M {}", "go_package"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			if tc.text != "" {
				source(t, dir, tc.text)
			}
			if err := run(t.Context(), dir, "..", false); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error = %v, want one with %q", err, tc.want)
			}
		})
	}
}

func source(t *testing.T, dir, text string) {
	t.Helper()
	put(t, filepath.Join(dir, "granary", "example.proto"), text)
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
