package main

import (
	"go/ast"
	"slices"
	"strconv"
	"strings"
)

// banned are calls that a library does not make; an exception says "reason:" in a comment on its
// line or the line before, or, once a package, that it is the one root of a service.
var banned = map[string]string{
	"time.Sleep":         "back-off uses the clock",
	"time.Now":           ownClock,
	"time.After":         ownClock,
	"time.Tick":          ownClock,
	"time.NewTimer":      ownClock,
	"time.NewTicker":     ownClock,
	"log.Fatal":          "a library returns errors",
	"log.Fatalf":         "a library returns errors",
	"log.Panic":          "a library returns errors",
	"log.Panicf":         "a library returns errors",
	"log.Print":          "a library logs by slog",
	"log.Printf":         "a library logs by slog",
	"log.Println":        "a library logs by slog",
	"os.Exit":            "a library returns errors",
	"fmt.Print":          "a library logs by slog",
	"fmt.Printf":         "a library logs by slog",
	"fmt.Println":        "a library logs by slog",
	"context.Background": "a library takes the caller's context",
	"context.TODO":       "a library takes the caller's context",
}

const (
	ownClock = "time comes from the clock of the configuration"
	ownGroup = "a goroutine belongs to a named group"
	oneRoot  = "the one root of this service"
)

// atHome are the folders and files in which something banned is what they are for.
var atHome = map[string][]string{
	ownClock: {"core/clock", "providers/"}, // a provider's client library knows no other clock
	ownGroup: {"engine/internal/group/", "providers/"},
}

// checkHabits counts what the style forbids in libraries: init, panic, sleeping, exiting, bare
// goroutines. Files that only builds for tests contain are not looked at.
func checkHabits(t *tree, say func(string, ...any), bad *findings) {
	found, excused := 0, 0
	for _, p := range t.packages {
		if p.isProgram() || p.isTest() {
			continue
		}
		roots := 0
		for _, f := range p.files {
			if f.generated || f.testBuild {
				continue
			}
			excuses := excuseLines(t, f)
			findHabits(f.ast, func(n ast.Node, what, why string) {
				line := t.fset.Position(n.Pos()).Line
				text := excuses[line] + excuses[line-1]
				switch {
				case strings.Contains(text, "reason:"):
					excused++
					return
				case what == "context.Background" && strings.Contains(text, oneRoot) && roots == 0:
					roots, excused = roots+1, excused+1
					return
				case slices.ContainsFunc(atHome[why], func(home string) bool { return strings.HasPrefix(f.path, home) }):
					return
				}
				found++
				bad.addf("%s: %s: %s", t.position(n), what, why)
			})
		}
	}
	say("forbidden calls            %d (%d with a reason on the line)", found, excused)
}

func findHabits(f *ast.File, report func(n ast.Node, what, why string)) {
	for _, d := range f.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
			report(fn, "init()", "nothing is registered behind the reader's back")
		}
	}
	names := importNames(f)
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			report(n, "go", ownGroup)
		case *ast.CallExpr:
			if fun, ok := n.Fun.(*ast.Ident); ok && fun.Name == "panic" {
				report(n, "panic", "what happens at run time is an error")
			}
		case *ast.SelectorExpr: // also where it is not called but handed on
			if x, ok := n.X.(*ast.Ident); ok {
				name := names[x.Name] + "." + n.Sel.Name
				if why := banned[name]; why != "" {
					report(n, name, why)
				}
			}
		}
		return true
	})
}

// importNames maps the names under which a file knows its imports to their paths.
func importNames(f *ast.File) map[string]string {
	names := map[string]string{}
	for _, imp := range f.Imports {
		path, err := strconv.Unquote(imp.Path.Value)
		if err != nil {
			continue
		}
		name := path[strings.LastIndexByte(path, '/')+1:]
		if imp.Name != nil {
			name = imp.Name.Name
		}
		names[name] = path
	}
	return names
}

// excuseLines are the comments of a file by the line on which they end.
func excuseLines(t *tree, f *file) map[int]string {
	lines := map[int]string{}
	for _, c := range f.ast.Comments {
		lines[t.fset.Position(c.End()).Line] += c.Text()
	}
	return lines
}
