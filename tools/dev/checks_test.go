package main

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The checkout of these tests: core and a lookup, with everything as it should be.
var good = map[string]string{
	"go.work":                 "go 1.26.0\n\nuse (\n\t./core\n\t./lookups/disthash\n)\n",
	"core/go.mod":             "module github.com/granary-go/granary/core\n\ngo 1.26.0\n",
	"core/doc.go":             "// Package core is a test.\npackage core\n\n// A Thing is one.\ntype Thing struct{}\n\n// Do does.\nfunc (Thing) Do() {}\n",
	"core/ex_test.go":         "package core_test\n\nimport \"fmt\"\n\nfunc ExampleThing() {\n\tfmt.Println(1)\n\t// Output: 1\n}\n\nfunc FuzzThing(f *testing.F) {}\n\nfunc TestThing(t *testing.T) {}\n",
	"lookups/disthash/go.mod": "module github.com/granary-go/granary/lookups/disthash\n\ngo 1.26.0\n\nrequire (\n\tgithub.com/google/wire v0.7.0\n\tgoogle.golang.org/protobuf v1.36.12\n)\n",
	"lookups/disthash/doc.go": "// Package disthash is a test.\npackage disthash\n",
	"tools/go.mod":            "module github.com/granary-go/granary/tools\n\ngo 1.26.0\n\nrequire google.golang.org/protobuf v1.36.12\n",
	"tools/main_types.txt":    "# list\ncore Thing\n",
	"tools/decoders.txt":      "# list\ncore FuzzThing\n",
	"tools/not_run.txt":       "# list\nfalse\tit fails\n",
	"tools/not_checked.txt":   "# list\n",
	exampleShape:              "schema integer\nlate integer?\n",
	"README.md":               "# The readme, of `core`\n\n```sh\ntrue # fine\nfalse\n```\n\n```go\n// Do does.\nfunc (Thing) Do() {}\n```\n\n[core](core/doc.go), [above](#the-readme-of-core), [web](https://example.com)\n",
}

// checkout writes the good tree, changed, and opens it. A change to "" removes the file.
func checkout(t *testing.T, change map[string]string) *workspace {
	t.Helper()
	root := t.TempDir()
	files := maps.Clone(good)
	maps.Copy(files, change)
	for name, text := range files {
		if text == "" {
			continue
		}
		path := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(root)
	w, err := openWorkspace()
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func quiet(string, ...any) {}

// onTree makes a check of a function that looks at the parsed tree.
func onTree(f func(*workspace, *tree, *findings)) func(context.Context, *workspace) error {
	return func(_ context.Context, w *workspace) error {
		tree, err := parseTree(w)
		if err != nil {
			return err
		}
		var bad findings
		f(w, tree, &bad)
		return bad.err()
	}
}

var checks = map[string]func(context.Context, *workspace) error{
	"format":     func(_ context.Context, w *workspace) error { return formatted(w) },
	"versions":   func(_ context.Context, w *workspace) error { return sameVersions(w) },
	"docs":       func(ctx context.Context, w *workspace) error { return checkDocs(ctx, w, []string{"vet"}) },
	"documented": onTree(func(_ *workspace, t *tree, bad *findings) { checkDocumented(t, quiet, bad) }),
	"examples":   onTree(func(w *workspace, t *tree, bad *findings) { checkExamples(w, t, quiet, bad) }),
	"habits":     onTree(func(_ *workspace, t *tree, bad *findings) { checkHabits(t, quiet, bad) }),
	"arrows":     onTree(func(_ *workspace, t *tree, bad *findings) { checkArrows(t, quiet, bad) }),
	"requirements": func(_ context.Context, w *workspace) error {
		var bad findings
		checkRequirements(w, quiet, &bad)
		return bad.err()
	},
	"budgets": onTree(func(_ *workspace, t *tree, bad *findings) {
		var all findings
		checkBudgets(t, quiet, &all)
		for _, f := range all { // the tree of these tests has too few tests
			if !strings.HasPrefix(f, "tests have fewer lines") {
				bad.addf("%s", f)
			}
		}
	}),
	"decoders": func(_ context.Context, w *workspace) error {
		targets, err := findFuzz(w)
		if err != nil {
			return err
		}
		return decodersHaveTargets(w, targets)
	},
}

func TestGoodTreePasses(t *testing.T) {
	w := checkout(t, nil)
	for name, check := range checks {
		if err := check(t.Context(), w); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func library(body string) map[string]string {
	return map[string]string{"core/more.go": "package core\n\n" + body}
}

// Each check finds what it is for, and tells where.
func TestChecksFind(t *testing.T) {
	long := strings.Repeat("\t_ = 1\n", 101)
	for name, tt := range map[string]struct {
		check  string
		change map[string]string
		want   string // part of the error; empty: the change is allowed
	}{
		"unformatted file":       {"format", library("var  x = 1\n"), "core/more.go"},
		"unformatted testdata":   {"format", map[string]string{"core/testdata/x.go": "package  x\n"}, "core/testdata/x.go"},
		"file that is not Go":    {"format", library("func {\n"), "core/more.go"},
		"another version":        {"versions", map[string]string{"tools/go.mod": "module t\n\ngo 1.26.0\n\nrequire google.golang.org/protobuf v1.36.11\n"}, "google.golang.org/protobuf: v1.36.12 in lookups/disthash, v1.36.11 in tools"},
		"another Go":             {"versions", map[string]string{"core/go.mod": "module github.com/granary-go/granary/core\n\ngo 1.26.1\n"}, "core/go.mod: want \"go 1.26.0\""},
		"toolchain":              {"versions", map[string]string{"core/go.mod": "module github.com/granary-go/granary/core\n\ngo 1.26.0\n\ntoolchain go1.26.5\n"}, "core/go.mod: want \"go 1.26.0\""},
		"versions of a server":   {"versions", map[string]string{"tools/consul/go.mod": "module c\n\ngo 1.26.0\n\nrequire google.golang.org/protobuf v1.0.0\n"}, ""},
		"versions of a peer":     {"versions", map[string]string{"bench/peers/x/go.mod": "module x\n\ngo 1.25.0\n"}, ""},
		"undocumented type":      {"documented", library("type Other struct{}\n"), "core/more.go:3: exported Other has no comment"},
		"undocumented in group":  {"documented", library("// All of them.\ntype (\n\tOther struct{}\n)\n"), "core/more.go:5: exported Other has no comment"},
		"constants in a group":   {"documented", library("// All of them.\nconst (\n\tA = 1\n\tB = 2\n)\n"), ""},
		"undocumented method":    {"documented", library("func (*Thing) Undone() {}\n"), "exported Undone has no comment"},
		"directive for comment":  {"documented", library("//go:noinline\nfunc Other() {}\n"), "exported Other has no comment"},
		"package without doc":    {"documented", map[string]string{"core/sub/x.go": "package sub\n"}, "core/sub: the package has no comment"},
		"no Example":             {"examples", map[string]string{"core/ex_test.go": "package core_test\n"}, "core: no Example with checked output for Thing"},
		"Example that runs not":  {"examples", map[string]string{"core/ex_test.go": "package core_test\n\nfunc ExampleThing() {\n\t// Output: 1\n\tprintln(1) // more\n}\n"}, "core: no Example with checked output for Thing"},
		"Example of a method":    {"examples", map[string]string{"core/ex_test.go": "package core_test\n\nfunc ExampleThing_Do() {\n\t// Output:\n}\n"}, ""},
		"type that is not there": {"examples", map[string]string{"tools/main_types.txt": "core Thing\ncore Other\n"}, "core exports no Other"},
		"package without a line": {"examples", map[string]string{"core/sub/x.go": "// Package sub is a test.\npackage sub\n\n// X is one.\nconst X = 1\n"}, "no line for core/sub"},
		"none with a reason":     {"examples", map[string]string{"core/sub/x.go": "// Package sub is a test.\npackage sub\n\n// X is one.\nconst X = 1\n", "tools/main_types.txt": "core Thing\ncore/sub none: it is a number\n"}, ""},
		"none without a reason":  {"examples", map[string]string{"tools/main_types.txt": "core Thing\ncore none:\n"}, "core has none for no reason"},
		"sleep":                  {"habits", library("import \"time\"\n\nfunc f() { time.Sleep(1) }\n"), "core/more.go:5: time.Sleep"},
		"renamed import":         {"habits", library("import clock \"time\"\n\nfunc f() { clock.Sleep(1) }\n"), "time.Sleep"},
		"sleep handed on":        {"habits", library("import \"time\"\n\nvar wait = time.Sleep\n"), "time.Sleep"},
		"the clock of the host":  {"habits", library("import \"time\"\n\nvar now = time.Now()\n"), "time.Now"},
		"the clock itself":       {"habits", map[string]string{"core/clock.go": "package core\n\nimport \"time\"\n\nvar now = time.Now()\n"}, ""},
		"panic":                  {"habits", library("func f() { panic(1) }\n"), "core/more.go:3: panic"},
		"panic with a reason":    {"habits", library("func f() {\n\t// reason: cannot happen\n\tpanic(1)\n}\n"), ""},
		"init":                   {"habits", library("func init() {}\n"), "core/more.go:3: init()"},
		"bare go":                {"habits", library("func f() { go f() }\n"), "core/more.go:3: go"},
		"root context":           {"habits", library("import \"context\"\n\nvar x = context.Background()\n"), "context.Background"},
		"one root":               {"habits", library("import \"context\"\n\nvar x = context.Background() // the one root of this service\n"), ""},
		"two roots":              {"habits", library("import \"context\"\n\nvar x = context.Background() // the one root of this service\nvar y = context.Background() // the one root of this service\n"), "core/more.go:6: context.Background"},
		"in a test":              {"habits", map[string]string{"core/more_test.go": "package core\n\nimport \"time\"\n\nfunc f() { time.Sleep(1) }\n"}, ""},
		"in a build for tests":   {"habits", map[string]string{"core/more.go": "//go:build failpoints\n\npackage core\n\nfunc f() { panic(1) }\n"}, ""},
		"core imports":           {"arrows", library("import _ \"google.golang.org/protobuf/proto\"\n"), "core imports the standard library only"},
		"wire beside set.go":     {"arrows", map[string]string{"lookups/disthash/x.go": "package disthash\n\nimport _ \"github.com/google/wire\"\n"}, "wire only in set.go"},
		"wire in set.go":         {"arrows", map[string]string{"lookups/disthash/set.go": "package disthash\n\nimport _ \"github.com/google/wire\"\n"}, ""},
		"plug-in imports engine": {"arrows", map[string]string{"lookups/disthash/x.go": "package disthash\n\nimport _ \"github.com/granary-go/granary/engine/grain\"\n"}, "plug-ins are testable against a fake host"},
		"testing in a library":   {"arrows", library("import _ \"testing\"\n"), "testing only in _test.go"},
		"module in a module":     {"arrows", map[string]string{"go.work": good["go.work"] + "\nuse ./core/more\n", "core/more/go.mod": "module github.com/granary-go/granary/core/more\n\ngo 1.26.0\n", "core/more/x.go": "package more\n\nimport _ \"google.golang.org/protobuf/proto\"\n"}, ""},
		"the simulator":          {"arrows", map[string]string{"go.work": good["go.work"] + "\nuse ./engine/internal/sim\n", "engine/internal/sim/go.mod": "module github.com/granary-go/granary/engine/internal/sim\n\ngo 1.26.0\n", "engine/internal/sim/nodes/x.go": "package nodes\n\nimport (\n\t_ \"testing\"\n\n\t_ \"github.com/granary-go/granary/engine/cluster\"\n)\n"}, ""},
		"plug-in chosen":         {"arrows", map[string]string{"lookups/disthash/x.go": "package disthash\n\nimport _ \"github.com/granary-go/granary/providers/memberlist\"\n"}, "only applications choose plug-ins"},
		"core requires":          {"requirements", map[string]string{"core/go.mod": "module github.com/granary-go/granary/core\n\ngo 1.26.0\n\nrequire golang.org/x/sys v0.48.0 // indirect\n"}, "core/go.mod requires golang.org/x/sys"},
		"beyond the budget":      {"requirements", map[string]string{"lookups/disthash/go.mod": "module github.com/granary-go/granary/lookups/disthash\n\ngo 1.26.0\n\nrequire google.golang.org/grpc v1.85.0\n"}, "lookups/disthash/go.mod requires google.golang.org/grpc"},
		"module without budget":  {"requirements", map[string]string{"go.work": good["go.work"] + "\nuse ./more\n", "more/go.mod": "module more\n\ngo 1.26.0\n"}, "more has no budget"},
		"long function":          {"budgets", library("func f() {\n" + long + "}\n"), "lines of a function: 103, the most is 100: core/more.go:3 f"},
		"long file":              {"budgets", library(strings.Repeat("var _ = 1\n\n", 300)), "core/more.go: 602 lines"},
		"wide interface":         {"budgets", library("type I interface {\n\tA()\n\tB()\n\tC()\n\tD()\n\tE()\n\tF()\n\tG()\n}\n"), "interface with 7 methods"},
		"missing fuzz target":    {"decoders", map[string]string{"tools/decoders.txt": "core FuzzOther\n"}, "core FuzzOther"},
		"failing command":        {"docs", map[string]string{"README.md": "```sh\nfalse\nexit 3\n```\n"}, "README.md:1: sh -c exit 3"},
		"stale reason":           {"docs", map[string]string{"tools/not_run.txt": "false\tit fails\nmake x\tno\n"}, "no document has \"make x\""},
		"no reason":              {"docs", map[string]string{"tools/not_run.txt": "false\n"}, "has no reason"},
		"broken link":            {"docs", map[string]string{"more.md": "[x](core/nope.go)\n"}, "more.md: link to core/nope.go leads nowhere"},
		"no link but Go":         {"docs", map[string]string{"more.md": "```go\npackage x\n\nvar y = 1\nvar x = []func(int) int{nil}[0](y)\n```\n"}, ""},
		"broken anchor":          {"docs", map[string]string{"more.md": "[x](README.md#nope)\n"}, "more.md: link to README.md#nope leads nowhere"},
		"Go that is nowhere":     {"docs", map[string]string{"more.md": "```go\nfunc nope() {}\n```\n"}, "stands in no compiled file"},
		"Go of testdata":         {"docs", map[string]string{"more.md": "```go\nfunc nope() {}\n```\n", "core/testdata/x.go": "package x\n\nfunc nope() {}\n"}, "stands in no compiled file"},
		"Go that compiles not":   {"docs", map[string]string{"more.md": "```go\npackage x\n\nvar x int = \"\"\n```\n"}, "more.md:1: "},
		"Go that says otherwise": {"docs", map[string]string{"more.md": "```go\npackage main\n\nimport \"fmt\"\n\nfunc main() {\n\tfmt.Println(1) // 2\n}\n```\n"}, "the program does not print \"2\""},
		"Go that says so":        {"docs", map[string]string{"more.md": "```go\npackage main\n\nimport \"fmt\"\n\nfunc main() {\n\tfmt.Println(2) // 2\n}\n```\n"}, ""},
		"long example":           {"docs", map[string]string{"README.md": good["README.md"] + "```go\npackage x\n" + strings.Repeat("\n", 20) + "```\n"}, "an example of 21 lines, the most is 20"},
		"text of nothing":        {"docs", map[string]string{"more.md": "```text\nx\n```\n"}, "more.md:1: nothing checks this text of \"\""},
		"text of another":        {"docs", map[string]string{"more.md": "```text make x\nx\n```\n"}, "more.md:1: nothing checks this text of \"make x\""},
		"text with a reason":     {"docs", map[string]string{"more.md": "```text\na  picture\nmore\n```\n", "tools/not_checked.txt": "more.md a picture\tdrawn by hand\n"}, ""},
		"stale picture":          {"docs", map[string]string{"tools/not_checked.txt": "more.md x\tdrawn by hand\n"}, "no document has \"more.md x\""},
		"lines of the tests":     {"docs", map[string]string{"more.md": "```text make test\nstep vet … ok 1.5s\nstep vet … ok (2 passed, 0 skipped) 1.5s\n…\n1 passed, 0 failed, 0 skipped\n```\n"}, ""},
		"a step that is not":     {"docs", map[string]string{"more.md": "```text make test\nstep nope … ok 1.5s\n1 passed, 0 failed, 0 skipped\n```\n"}, "no line \"step nope"},
		"no count at the end":    {"docs", map[string]string{"more.md": "```text make test\nstep vet … ok 1.5s\n```\n"}, "no line \"step vet"},
		"object":                 {"docs", map[string]string{"more.md": "```json go run ./examples/cluster -json\n{\"schema\":1,\"late\":null}\n```\n"}, ""},
		"object without a key":   {"docs", map[string]string{"more.md": "```json go run ./examples/cluster -json\n{\"schema\":1}\n```\n"}, "the object has no \"late\""},
		"block of nothing":       {"docs", map[string]string{"more.md": "```\nx\n```\n"}, "more.md:1: a block of \"\""},
		"block without end":      {"docs", map[string]string{"more.md": "```go\nx\n"}, "more.md:1: a block of \"unclosed go\""},
	} {
		t.Run(name, func(t *testing.T) {
			err := checks[tt.check](t.Context(), checkout(t, tt.change))
			switch {
			case tt.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}

// A row of the differences names tests that exist and passed, or says why there is nothing to test.
func TestDifferences(t *testing.T) {
	for proof, want := range map[string]string{
		"`core TestThing`":            "",
		"`core TestOther`":            "core has no TestOther",
		"cannot arise: there is none": "",
		"trust us":                    "names no test",
	} {
		w := checkout(t, map[string]string{"docs/differences.md": "| A-01 | what | " + proof + " |\n"})
		err := checkDifferences(w, nil)
		if err == nil || !strings.Contains(err.Error(), "no row for A-02") || strings.Contains(err.Error(), "no row for A-01") {
			t.Errorf("%s: %v", proof, err)
		}
		if (want != "") != strings.Contains(err.Error(), "differences.md A-01") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", proof, err, want)
		}
	}
	w := checkout(t, map[string]string{"docs/differences.md": "| A-01 | what | `core TestThing` |\n"})
	for outcome, passes := range map[string]bool{"pass": true, "fail": false, "skip": false} {
		err := checkDifferences(w, map[string]string{prefix + "core TestThing": outcome})
		if got := !strings.Contains(err.Error(), "did not pass in this run"); got != passes {
			t.Errorf("a test that came to %q: %v", outcome, err)
		}
	}
	if err := checkDifferences(w, map[string]string{"other TestX": "pass"}); !strings.Contains(err.Error(), "did not pass in this run") {
		t.Errorf("a test that did not run: %v", err)
	}
}

// What the docs show of the demonstration is what it prints, but for the numbers.
func TestPrintedByCluster(t *testing.T) {
	const sample = "```text go run ./examples/cluster\n  10.7s  m2 killed\n\n…\ncalls  5 = 4 replied + 1 failed\n```\n"
	for printed, want := range map[string]string{
		"   9.1s  m3 killed\ncalls               10 = 10 replied + 0 failed\nmore\n": "",
		"   9.1s  m3 killed\ncalls 10 = 10 answered\n":                               "more.md:1: go run ./examples/cluster prints no line like \"calls  5",
	} {
		err := printedByCluster(checkout(t, map[string]string{"more.md": sample}), printed)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if err := printedByCluster(checkout(t, nil), ""); err == nil {
		t.Error("no document shows it")
	}
}

// A .proto in the docs is one that the generator takes.
func TestProtoOfTheDocs(t *testing.T) {
	w, err := openWorkspace()
	if err != nil {
		t.Fatal(err)
	}
	const head = "syntax = \"proto3\";\npackage x;\noption go_package = \"example.com/xpb\";\n"
	if err := generates(t.Context(), w, head+"message A {}\nservice S { rpc Do(A) returns (A); }\n"); err != nil {
		t.Error(err)
	}
	if err := generates(t.Context(), w, head+"service S { rpc Do(A) returns (A); }\n"); err == nil || !strings.Contains(err.Error(), "A") {
		t.Errorf("a message that is not there: %v", err)
	}
}
