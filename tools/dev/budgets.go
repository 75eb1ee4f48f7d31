package main

import (
	"fmt"
	"go/ast"
	"slices"
	"strconv"
	"strings"
)

// The budgets of the style: what a reader can take in at once.
const (
	fileMedian, fileNinety, fileMost = 150, 400, 600
	funcMedian, funcNinety, funcMost = 8, 30, 100
	packageFiles                     = 20
	coreLines                        = 1200
	interfaceMethods                 = 6
)

// reasons are the exceptions, each with its reason.
var reasons = map[string]string{
	"core files":           "one small interface a file, named for what it is",
	"engine/actor files":   "one package by design: users see one vocabulary, and a turn touches all of it",
	"engine/remote files":  "one package by design: everything under the link seam is unexported",
	"engine/cluster files": "the front door: start, stop, call, view and their wire forms share the node's state",
}

func checkBudgets(t *tree, say func(string, ...any), bad *findings) {
	files := &worst{name: "lines of a file"}
	funcs := &worst{name: "lines of a function"}
	counts := &worst{name: "files of a package"}
	ifaces := &worst{name: "methods of an interface"}
	var source, tests int
	for _, p := range t.packages {
		n := 0
		for _, f := range p.files {
			if f.generated {
				continue
			}
			n++
			if p.isTest() {
				tests += f.lines
			} else {
				source += f.lines
			}
			files.add(f.lines, f.path)
			measureFunctions(t, f, funcs)
			measureInterfaces(t, f, ifaces)
			if f.lines > fileMost {
				bad.addf("%s: %d lines, the most is %d", f.path, f.lines, fileMost)
			}
		}
		for _, f := range p.tests {
			tests += f.lines
		}
		counts.add(n, p.dir)
		if n > packageFiles && reasons[p.dir+" files"] == "" {
			bad.addf("%s: %d source files, the most is %d", p.dir, n, packageFiles)
		}
		if p.dir == "core" {
			checkCore(p, say, bad)
		}
	}
	for _, m := range []*worst{files, funcs, counts, ifaces} {
		m.say(say)
	}
	over(bad, files, fileMedian, fileNinety, fileMost)
	over(bad, funcs, funcMedian, funcNinety, funcMost)
	if ifaces.quantile(1) > interfaceMethods {
		bad.addf("interface with %d methods, the most is %d: %s", ifaces.value[0].n, interfaceMethods, ifaces.value[0].what)
	}
	say("lines of source, of tests  %d, %d", source, tests)
	if tests < source {
		bad.addf("tests have fewer lines (%d) than the source (%d)", tests, source)
	}
}

func over(bad *findings, m *worst, median, ninety, most int) {
	if n := m.quantile(0.5); n > median {
		bad.addf("%s: the median is %d, the budget %d", m.name, n, median)
	}
	if n := m.quantile(0.9); n > ninety {
		bad.addf("%s: nine of ten are up to %d, the budget is %d", m.name, n, ninety)
	}
	for _, v := range m.value {
		if v.n > most {
			bad.addf("%s: %d, the most is %d: %s", m.name, v.n, most, v.what)
		}
	}
}

func checkCore(p *pkg, say func(string, ...any), bad *findings) {
	lines := 0
	for _, f := range p.files {
		lines += f.lines
	}
	say("lines of package core      %d", lines)
	if lines > coreLines {
		bad.addf("core: %d lines of contract, the most is %d", lines, coreLines)
	}
}

func measureFunctions(t *tree, f *file, funcs *worst) {
	for _, d := range f.ast.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok || fn.Body == nil {
			continue
		}
		lines := t.fset.Position(fn.End()).Line - t.fset.Position(fn.Pos()).Line + 1
		funcs.add(lines, t.position(fn)+" "+fn.Name.Name)
	}
}

func measureInterfaces(t *tree, f *file, ifaces *worst) {
	ast.Inspect(f.ast, func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok {
			return true
		}
		if i, ok := spec.Type.(*ast.InterfaceType); ok && spec.Name.IsExported() {
			ifaces.add(i.Methods.NumFields(), t.position(spec)+" "+spec.Name.Name)
		}
		return true
	})
}

// banned are calls that a library does not make; an exception says "reason:" in a comment on its
// line or the line before.
var banned = map[string]string{
	"time.Sleep":         "back-off uses the clock",
	"log.Fatal":          "a library returns errors",
	"log.Fatalf":         "a library returns errors",
	"log.Print":          "a library logs by slog",
	"log.Printf":         "a library logs by slog",
	"os.Exit":            "a library returns errors",
	"fmt.Print":          "a library logs by slog",
	"fmt.Printf":         "a library logs by slog",
	"fmt.Println":        "a library logs by slog",
	"context.Background": "a library takes the caller's context",
	"context.TODO":       "a library takes the caller's context",
}

// checkHabits counts what the style forbids outside tests: init, panic, sleeping, exiting.
func checkHabits(t *tree, say func(string, ...any), bad *findings) {
	found, excused := 0, 0
	for _, p := range t.packages {
		if p.isProgram() || p.isTest() {
			continue
		}
		for _, f := range p.files {
			if f.generated {
				continue
			}
			excuses := excuseLines(t, f)
			report := func(n ast.Node, what string) {
				line := t.fset.Position(n.Pos()).Line
				if excuses[line] || excuses[line-1] {
					excused++
					return
				}
				found++
				bad.addf("%s: %s", t.position(n), what)
			}
			findHabits(f.ast, report)
		}
	}
	say("forbidden calls            %d (%d with a reason on the line)", found, excused)
}

func findHabits(f *ast.File, report func(ast.Node, string)) {
	for _, d := range f.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
			report(fn, "init(): nothing is registered behind the reader's back")
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		switch fun := call.Fun.(type) {
		case *ast.Ident:
			if fun.Name == "panic" {
				report(n, "panic: what happens at run time is an error")
			}
		case *ast.SelectorExpr:
			if x, ok := fun.X.(*ast.Ident); ok {
				name := x.Name + "." + fun.Sel.Name
				if why := banned[name]; why != "" {
					report(n, name+": "+why)
				}
			}
		}
		return true
	})
}

func excuseLines(t *tree, f *file) map[int]bool {
	lines := map[int]bool{}
	for _, c := range f.ast.Comments {
		if strings.Contains(c.Text(), "reason:") {
			lines[t.fset.Position(c.End()).Line] = true
		}
	}
	return lines
}

// arrow is a rule of the architecture: packages under from never import those under to.
type arrow struct{ from, to, why string }

const prefix = "github.com/granary-go/granary/"

var arrows = []arrow{
	{"providers/", prefix + "engine", "plug-ins are testable against a fake host"},
	{"providers/", prefix + "protos", "only lookups talk to each other"},
	{"lookups/", prefix + "engine", "plug-ins are testable against a fake host"},
	{"protos", prefix + "core", "generated code depends on protobuf alone"},
	{"engine/actor", "google.golang.org/", "local actors know no network and no protobuf"},
	{"engine/actor", prefix + "protos", "local actors know no network and no protobuf"},
	{"engine/actor", prefix + "engine/remote", "calls travel down"},
	{"engine/actor", prefix + "engine/grain", "calls travel down"},
	{"engine/actor", prefix + "engine/cluster", "calls travel down"},
	{"engine/remote", prefix + "engine/grain", "calls travel down"},
	{"engine/remote", prefix + "engine/cluster", "calls travel down"},
	{"engine/grain", prefix + "engine/remote", "a grain author sees no network"},
	{"engine/grain", prefix + "engine/cluster", "calls travel down"},
	{"engine/internal/", prefix + "engine/remote", "shared machinery is below all three"},
	{"engine/internal/", prefix + "engine/grain", "shared machinery is below all three"},
	{"engine/internal/", prefix + "engine/cluster", "shared machinery is below all three"},
}

// checkArrows holds the imports against the rules: arrows, core's standard library, wire in set.go,
// testing in test packages.
func checkArrows(t *tree, say func(string, ...any), bad *findings) {
	checked := 0
	for _, p := range t.packages {
		for _, f := range p.files {
			for _, imp := range f.ast.Imports {
				path, err := strconv.Unquote(imp.Path.Value)
				if err != nil {
					continue
				}
				checked++
				if why := forbidden(p, f, path); why != "" {
					bad.addf("%s imports %s: %s", t.position(imp), path, why)
				}
			}
		}
	}
	say("imports held to the arrows %d", checked)
}

func forbidden(p *pkg, f *file, path string) string {
	base := f.path[strings.LastIndexByte(f.path, '/')+1:]
	standard := !strings.Contains(strings.SplitN(path, "/", 2)[0], ".")
	switch {
	case p.module == "core" && !standard && !strings.HasPrefix(path, prefix+"core"):
		return "core imports the standard library only"
	case path == "github.com/google/wire" && base != "set.go" && base != "wire.go":
		return "wire only in set.go and injectors"
	case path == "testing" && !p.isTest():
		return "testing only in _test.go and test packages"
	case strings.HasPrefix(path, "google.golang.org/grpc") && p.dir == "engine/cluster":
		return "grpc only below the link seam of engine/remote"
	}
	i := slices.IndexFunc(arrows, func(a arrow) bool {
		return strings.HasPrefix(p.dir+"/", a.from) && strings.HasPrefix(path, a.to)
	})
	if i >= 0 {
		return arrows[i].why
	}
	return ""
}

// allowed are the direct requirements of each module of the product; siblings and golang.org/x
// may always be required.
var allowed = map[string][]string{
	"core":                 {},
	"protos":               {"google.golang.org/grpc", "google.golang.org/protobuf"},
	"engine":               {"google.golang.org/grpc", "google.golang.org/protobuf", "github.com/google/wire"},
	"lookups/disthash":     {"google.golang.org/protobuf", "github.com/google/wire"},
	"providers/memberlist": {"github.com/hashicorp/memberlist", "github.com/google/wire"},
	"cmd/granary-gen":      {"google.golang.org/protobuf", "github.com/bufbuild/protocompile"},
}

// engineModules is how many third-party modules a program that imports the whole engine compiles.
const engineModules = 8

func checkDependencies(w *workspace, say func(string, ...any), bad *findings) {
	for _, m := range w.modules {
		list, known := allowed[m]
		mod, err := w.goMod(m)
		if err != nil {
			bad.addf("%v", err)
			continue
		}
		if !known {
			continue
		}
		direct := 0
		for _, r := range mod.Require {
			sibling := strings.HasPrefix(r.Path, prefix)
			if r.Indirect || sibling {
				if sibling && m == "core" {
					bad.addf("core/go.mod requires %s; core requires nothing", r.Path)
				}
				continue
			}
			direct++
			if !slices.Contains(list, r.Path) && !strings.HasPrefix(r.Path, "golang.org/x/") {
				bad.addf("%s/go.mod requires %s, which is not in its budget", m, r.Path)
			}
		}
		say("direct requirements        %d  %s", direct, m)
	}
	n, err := compiledModules(w)
	if err != nil {
		bad.addf("%v", err)
		return
	}
	say("modules compiled by engine %d", n)
	if n > engineModules {
		bad.addf("engine compiles %d third-party modules, the most is %d", n, engineModules)
	}
}

func compiledModules(w *workspace) (int, error) {
	out, err := w.output("engine", outsideWork, "go", "list", "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}", "./...")
	if err != nil {
		return 0, fmt.Errorf("list what engine compiles: %w", err)
	}
	seen := map[string]bool{}
	for _, path := range strings.Fields(string(out)) {
		if !strings.HasPrefix(path, prefix) {
			seen[path] = true
		}
	}
	return len(seen), nil
}
