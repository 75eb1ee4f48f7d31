package main

import (
	"go/ast"
	"go/doc"
	"os"
	"slices"
	"strings"
)

// checkExamples wants a runnable Example with checked output for each main type. The list of them is
// tools/main_types.txt: a line is "folder Name", or "folder none: reason". Every package of a library
// that exports anything stands in it, and what it names is exported.
func checkExamples(w *workspace, t *tree, say func(string, ...any), bad *findings) {
	text, err := os.ReadFile(w.path("tools", "main_types.txt"))
	if err != nil {
		bad.addf("%v", err)
		return
	}
	var want, have int
	listed := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		dir, name, _ := strings.Cut(line, " ")
		listed[dir] = true
		if why, none := strings.CutPrefix(name, "none:"); none {
			if strings.TrimSpace(why) == "" {
				bad.addf("tools/main_types.txt: %s has none for no reason", dir)
			}
			continue
		}
		want++
		switch {
		case name != "package" && !t.exports(dir, name):
			bad.addf("tools/main_types.txt: %s exports no %s", dir, name)
		case t.hasExample(dir, name):
			have++
		default:
			bad.addf("%s: no Example with checked output for %s", dir, name)
		}
	}
	for _, p := range t.packages {
		if !listed[p.dir] && p.isLibrary() {
			bad.addf("tools/main_types.txt: no line for %s", p.dir)
		}
	}
	say("main types with an Example %s (%d of %d)", percent(have, want), have, want)
}

// isLibrary reports whether users of the module can import the package for something that is written
// by hand.
func (p *pkg) isLibrary() bool {
	if p.isProgram() || slices.Contains(strings.Split(p.dir, "/"), "internal") {
		return false
	}
	return slices.ContainsFunc(p.files, func(f *file) bool { return !f.generated && len(exportedNames(f.ast)) > 0 })
}

// exports reports whether a package has an exported name of its own: "Type", "Func" or "Type.Method".
func (t *tree) exports(dir, name string) bool {
	of, method, isMethod := strings.Cut(name, ".")
	for _, p := range t.packages {
		if p.dir != dir {
			continue
		}
		for _, f := range p.files {
			for _, n := range exportedNames(f.ast) {
				fn, isFunc := n.node.(*ast.FuncDecl)
				ofType := isFunc && fn.Recv != nil
				if isMethod && ofType && n.name == method && receiverName(fn) == of || !isMethod && !ofType && n.name == name {
					return true
				}
			}
		}
	}
	return false
}

// hasExample reports whether the folder has an Example of name, or of one of its methods, that runs:
// its last comment says what it prints.
func (t *tree) hasExample(dir, name string) bool {
	want := strings.ReplaceAll(name, ".", "_")
	if name == "package" {
		want = ""
	}
	for _, p := range t.packages {
		if p.dir != dir {
			continue
		}
		for _, f := range p.tests {
			for _, e := range doc.Examples(f.ast) {
				runs := e.Output != "" || e.EmptyOutput
				if runs && (e.Name == want || want != "" && strings.HasPrefix(e.Name, want+"_")) {
					return true
				}
			}
		}
	}
	return false
}
