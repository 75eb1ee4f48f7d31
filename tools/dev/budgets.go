package main

import (
	"go/ast"
)

// The budgets of the style: what a reader can take in at once.
const (
	fileMedian, fileNinety, fileMost = 150, 400, 600
	funcMedian, funcNinety, funcMost = 8, 30, 100
	packageFiles                     = 20
	coreLines                        = 1200
	interfaceMethods                 = 6
)

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
			if !p.isTest() { // the budget is for what is not a test
				measureFunctions(t, f, funcs)
			}
			measureInterfaces(t, f, ifaces)
			if f.lines > fileMost {
				bad.addf("%s: %d lines, the most is %d", f.path, f.lines, fileMost)
			}
		}
		for _, f := range p.tests {
			tests += f.lines
		}
		counts.add(n, p.dir)
		if n > packageFiles {
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
