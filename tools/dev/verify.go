package main

import (
	"errors"
	"fmt"
	"go/ast"
	"slices"
	"strings"
)

// verifyAll is make verify: it measures what the style promises, prints the figures with the worst
// offenders, and fails where a promise is broken.
func verifyAll(w *workspace) int {
	if err := verify(w, func(format string, args ...any) { fmt.Printf(format+"\n", args...) }); err != nil {
		fmt.Printf("\nFAILED\n%s\n", err)
		return 1
	}
	fmt.Println("verify: ok")
	return 0
}

func verifyError(w *workspace) error { return verify(w, func(string, ...any) {}) }

// finding collects what is wrong.
type findings []string

func (f *findings) addf(format string, args ...any) { *f = append(*f, fmt.Sprintf(format, args...)) }

// err is all of them as one error; nil if there is none.
func (f findings) err() error {
	if len(f) == 0 {
		return nil
	}
	return errors.New(strings.Join(f, "\n"))
}

func verify(w *workspace, say func(string, ...any)) error {
	tree, err := parseTree(w)
	if err != nil {
		return err
	}
	var bad findings
	checkDocumented(tree, say, &bad)
	checkExamples(w, tree, say, &bad)
	checkBudgets(tree, say, &bad)
	checkHabits(tree, say, &bad)
	checkArrows(tree, say, &bad)
	checkDependencies(w, say, &bad)
	return bad.err()
}

// checkDocumented wants a sentence on every exported name of a library and a comment on every package.
func checkDocumented(t *tree, say func(string, ...any), bad *findings) {
	var names, documented, packages, commented int
	for _, p := range t.packages {
		packages++
		if p.doc {
			commented++
		} else {
			bad.addf("%s: the package has no comment", p.dir)
		}
		if p.isMain() {
			continue
		}
		for _, f := range p.files {
			if f.generated {
				continue
			}
			for _, n := range exportedNames(f.ast) {
				names++
				if n.doc {
					documented++
				} else {
					bad.addf("%s: exported %s has no comment", t.position(n.node), n.name)
				}
			}
		}
	}
	say("exported names documented  %s (%d of %d)", percent(documented, names), documented, names)
	say("packages with a comment    %s (%d of %d)", percent(commented, packages), commented, packages)
}

func percent(part, all int) string {
	if all == 0 {
		return "100 %"
	}
	return fmt.Sprintf("%d %%", part*100/all)
}

type exportedName struct {
	name string
	node ast.Node
	doc  bool
}

// exportedNames lists what the reference has an entry for: types, functions, methods of exported
// types, constants and variables.
func exportedNames(f *ast.File) []exportedName {
	var names []exportedName
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Name.IsExported() && receiverExported(d) {
				names = append(names, exportedName{d.Name.Name, d, says(d.Doc)})
			}
		case *ast.GenDecl:
			names = append(names, exportedSpecs(d)...)
		}
	}
	return names
}

func exportedSpecs(d *ast.GenDecl) []exportedName {
	var names []exportedName
	for _, s := range d.Specs {
		switch s := s.(type) {
		case *ast.TypeSpec:
			if s.Name.IsExported() {
				names = append(names, exportedName{s.Name.Name, s, says(s.Doc) || !d.Lparen.IsValid() && says(d.Doc)})
			}
		case *ast.ValueSpec:
			for _, n := range s.Names {
				if n.IsExported() {
					names = append(names, exportedName{n.Name, s, says(d.Doc) || says(s.Doc) || says(s.Comment)})
				}
			}
		}
	}
	return names
}

// says reports whether a comment has words, not directives alone.
func says(g *ast.CommentGroup) bool { return strings.TrimSpace(g.Text()) != "" }

func receiverExported(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	return ast.IsExported(receiverName(d))
}

func receiverName(d *ast.FuncDecl) string {
	e := d.Recv.List[0].Type
	for {
		switch x := e.(type) {
		case *ast.StarExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.IndexListExpr:
			e = x.X
		case *ast.Ident:
			return x.Name
		default:
			return ""
		}
	}
}

// worst keeps measured things and names the five worst.
type worst struct {
	name  string
	value []measured
}

type measured struct {
	n    int
	what string
}

func (m *worst) add(n int, what string) { m.value = append(m.value, measured{n, what}) }

func (m *worst) sort() {
	slices.SortStableFunc(m.value, func(a, b measured) int { return b.n - a.n })
}

func (m *worst) quantile(q float64) int {
	if len(m.value) == 0 {
		return 0
	}
	return m.value[len(m.value)-1-int(q*float64(len(m.value)-1))].n
}

func (m *worst) say(say func(string, ...any)) {
	m.sort()
	say("%-26s p50 %d  p90 %d  max %d", m.name, m.quantile(0.5), m.quantile(0.9), m.quantile(1))
	for _, v := range m.value[:min(5, len(m.value))] {
		say("    %6d  %s", v.n, v.what)
	}
}
