package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/granary-go/granary/tools/internal/pinned"
)

// The workspace of these tests: module a has a set of two providers, module b an injector.
const (
	setFile = `package a

import "github.com/google/wire"

type Inner struct{}

type Outer struct{ Inner Inner }

func NewInner() Inner { return Inner{} }

func NewOuter(i Inner) Outer { return Outer{i} }

var Set = wire.NewSet(NewInner, NewOuter)
`
	injector = `//go:build wireinject

package b

import (
	"github.com/google/wire"

	"example.test/a"
)

func Build() a.Outer { panic(wire.Build(a.Set)) }
`
)

// checkout writes a workspace and returns it with the pinned wire.
func checkout(t *testing.T) (*workspace, wireTool) {
	t.Helper()
	root := t.TempDir()
	sums, err := os.ReadFile(filepath.Join("..", "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(root, "go.work"), "go 1.26.0\n\nuse (\n\t./a\n\t./b\n)\n")
	for _, m := range []string{"a", "b"} {
		put(t, filepath.Join(root, m, "go.mod"), "module example.test/"+m+"\n\ngo 1.26.0\n\nrequire github.com/google/wire v0.7.0\n")
		put(t, filepath.Join(root, m, "go.sum"), string(sums))
	}
	put(t, filepath.Join(root, "a", "set.go"), setFile)
	put(t, filepath.Join(root, "b", "wire.go"), injector)
	w, err := openWorkspace(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	bin, err := pinned.Build(t.Context(), "..", wirePackage)
	if err != nil {
		t.Fatal(err)
	}
	return w, wireTool{bin: bin, gowork: filepath.Join(root, "go.work")}
}

func TestGenerateThenCompare(t *testing.T) {
	w, tool := checkout(t)
	dir := filepath.Join(w.root, "b")
	injectors, err := findInjectors(w)
	if err != nil || len(injectors) != 1 || injectors[0] != dir {
		t.Fatalf("injectors = %q, %v, want %q", injectors, err, dir)
	}
	if err := tool.compare(t.Context(), w.root, injectors); !errors.Is(err, errDiffers) {
		t.Errorf("compare with nothing generated = %v, want %v", err, errDiffers)
	}
	if err := tool.generate(t.Context(), w.root, injectors); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, generatedName)
	text := get(t, path)
	if strings.Contains(text, "go:generate") || !strings.Contains(text, "//go:build !wireinject") {
		t.Errorf("generated:\n%s", text)
	}
	if err := tool.compare(t.Context(), w.root, injectors); err != nil {
		t.Errorf("compare after generating = %v", err)
	}

	put(t, path, strings.Replace(text, "NewOuter", "NewOther", 1))
	if err := tool.compare(t.Context(), w.root, injectors); !errors.Is(err, errDiffers) {
		t.Errorf("compare after an edit = %v, want %v", err, errDiffers)
	}
	put(t, path, strings.Replace(text, "//go:build", brokenLine+"\n//go:build", 1))
	if err := tool.compare(t.Context(), w.root, injectors); !errors.Is(err, errBroken) {
		t.Errorf("compare with the broken line = %v, want %v", err, errBroken)
	}
	put(t, filepath.Join(dir, "wire.go"), strings.Replace(injector, "a.Set", "a.NewOuter", 1))
	if err := tool.compare(t.Context(), w.root, injectors); !errors.Is(err, errWire) {
		t.Errorf("compare of a faulty injector = %v, want %v", err, errWire)
	}
	if err := tool.generate(t.Context(), w.root, injectors); !errors.Is(err, errWire) {
		t.Errorf("generate a faulty injector = %v, want %v", err, errWire)
	}
	if err := os.Remove(filepath.Join(dir, "wire.go")); err != nil {
		t.Fatal(err)
	}
	if _, err := findInjectors(w); err == nil || !strings.Contains(err.Error(), "no injector makes it") {
		t.Errorf("a wire_gen.go without an injector: %v", err)
	}
}

func TestSets(t *testing.T) {
	w, tool := checkout(t)
	cases := t.TempDir()
	put(t, filepath.Join(cases, "other", "wire.go"), "// Package other speaks of a.Set and of another a.\npackage other\n\nimport \"example.test/other/a\"\n\nvar Set = a.Set\n")
	if err := checkSets(t.Context(), io.Discard, w, tool.bin, cases); !errors.Is(err, errNoInjector) {
		t.Errorf("a set without an injector: %v, want %v", err, errNoInjector)
	}
	if err := os.RemoveAll(filepath.Join(cases, "other")); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(cases, "b", "wire.go"), injector)
	if err := checkSets(t.Context(), io.Discard, w, tool.bin, cases); err != nil {
		t.Errorf("a good set: %v", err)
	}
	if files, _ := filepath.Glob(filepath.Join(cases, "b", "*")); len(files) != 1 {
		t.Errorf("the check left %q beside its case", files)
	}

	// wire says nothing about a provider that other packages cannot name; the compiler does.
	put(t, filepath.Join(w.root, "a", "set.go"), strings.ReplaceAll(setFile, "NewInner", "newInner"))
	if err := checkSets(t.Context(), io.Discard, w, tool.bin, cases); err == nil || !strings.Contains(err.Error(), "newInner") {
		t.Errorf("a set with an unexported provider: %v, want it to name newInner", err)
	}
}

func TestGolden(t *testing.T) {
	w, tool := checkout(t)
	cases := t.TempDir()
	if err := checkErrors(t.Context(), io.Discard, w, tool.bin, cases, false); !errors.Is(err, errNoCases) {
		t.Errorf("no case: %v, want %v", err, errNoCases)
	}
	file := filepath.Join(cases, "leftout", "wire.go")
	golden := filepath.Join(cases, "leftout", goldenName)
	put(t, file, strings.Replace(injector, "a.Set", "a.NewOuter", 1))
	check := func(update bool) error { return checkErrors(t.Context(), io.Discard, w, tool.bin, cases, update) }
	if err := check(false); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no golden text: %v, want %v", err, os.ErrNotExist)
	}
	if err := check(true); err != nil {
		t.Fatal(err)
	}
	text := get(t, golden)
	if !strings.Contains(text, "CASE/wire.go:11:1: inject Build: no provider found for example.test/a.Inner") || !strings.Contains(text, "(ROOT/a/set.go)") {
		t.Errorf("golden text:\n%s", text)
	}
	if err := check(false); err != nil {
		t.Errorf("the text just written: %v", err)
	}
	put(t, golden, text+"more\n")
	if err := check(false); !errors.Is(err, errGolden) {
		t.Errorf("another text: %v, want %v", err, errGolden)
	}
	put(t, golden, text)
	put(t, file, "//go:build wireinject\n\npackage b\n\nfunc Build() Nothing\n")
	if err := check(false); !errors.Is(err, errWire) || !strings.Contains(err.Error(), "Nothing") {
		t.Errorf("a case that does not compile: %v, want %v", err, errWire)
	}
	put(t, file, strings.Replace(injector, "a.Set", "a.NewOuter", 1))
	good := filepath.Join(cases, "good", "wire.go")
	put(t, good, injector)
	if err := check(false); !errors.Is(err, errAccepted) || !strings.Contains(err.Error(), "good") || strings.Contains(err.Error(), "leftout") {
		t.Errorf("a good injector beside a faulty one: %v, want %v for the good one", err, errAccepted)
	}
	put(t, file, injector)
	if err := check(false); !errors.Is(err, errAccepted) {
		t.Errorf("good injectors alone: %v, want %v", err, errAccepted)
	}
}

// Several packages share one run of wire: each difference is told of its own file.
func TestCompareTellsFilesApart(t *testing.T) {
	w, tool := checkout(t)
	first, second := filepath.Join(w.root, "b"), filepath.Join(w.root, "b", "c")
	put(t, filepath.Join(second, "wire.go"), injector)
	dirs := []string{first, second}
	if err := tool.generate(t.Context(), w.root, dirs); err != nil {
		t.Fatal(err)
	}
	if err := tool.compare(t.Context(), w.root, dirs); err != nil {
		t.Errorf("as generated: %v", err)
	}
	path := filepath.Join(second, generatedName)
	put(t, path, get(t, path)+"\n// edited\n")
	err := tool.compare(t.Context(), w.root, dirs)
	if !errors.Is(err, errDiffers) || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), filepath.Join(first, generatedName)) {
		t.Errorf("after an edit of one: %v, want it to name %s alone", err, path)
	}
}

func TestOnlyBroken(t *testing.T) {
	for _, tc := range []struct {
		name, diff string
		want       bool
	}{
		{"the broken line", "b: diff from x:\n@@ -2,0 +3 @@\n+" + brokenLine + "\n\n", true},
		{"nothing", "", false},
		{"a line more", "@@ -2,0 +3 @@\n+" + brokenLine + "\n@@ -9 +9 @@\n+x\n", false},
		{"a line less", "@@ -2,0 +3 @@\n+" + brokenLine + "\n@@ -9 +9 @@\n-x\n", false},
		{"another generator", "@@ -2,0 +3 @@\n+//go:generate other\n", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := onlyBroken(tc.diff); got != tc.want {
				t.Errorf("onlyBroken = %v, want %v", got, tc.want)
			}
		})
	}
}

func TestIsInjector(t *testing.T) {
	for _, tc := range []struct {
		text string
		want bool
	}{
		{"//go:build wireinject\n\npackage x\n", true},
		{"//go:build wireinject && linux\n\npackage x\n", true},
		{"//go:build !wireinject\n\npackage x\n", false},
		{"// Package x.\npackage x\n", false},
		{"//go:build linux\n\npackage x\n", false},
	} {
		path := filepath.Join(t.TempDir(), "x.go")
		put(t, path, tc.text)
		if got, err := isInjector(path); err != nil || got != tc.want {
			t.Errorf("isInjector(%q) = %v, %v, want %v", tc.text, got, err, tc.want)
		}
	}
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

func get(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
