package main

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"path/filepath"
	"slices"
	"strings"
)

var errNoInjector = errors.New("no injector in testdata/sets uses it; add one")

// checkSets generates and compiles the injector of every published set. wire accepts a set with an
// unexported provider and writes code that does not compile, so only this finds it.
func checkSets(ctx context.Context, out io.Writer, w *workspace, bin, cases string) error {
	published, err := findSets(w)
	if err != nil {
		return err
	}
	if err := allUsed(published, cases); err != nil {
		return err
	}
	s, err := newScratch(w, bin, cases)
	if err != nil {
		return err
	}
	defer s.close()
	names, err := casesIn(cases)
	if err != nil {
		return err
	}
	if err := s.tool.generate(ctx, s.dir, s.folders(names)); err != nil {
		return fmt.Errorf("injectors of sets: %w", err)
	}
	if err := s.vet(ctx); err != nil {
		return fmt.Errorf("injectors of sets: %w", err)
	}
	fmt.Fprintf(out, "wire: %d published sets generate and compile\n", len(published))
	return nil
}

// findSets lists every exported variable of a set.go as "import path.Name".
func findSets(w *workspace) ([]string, error) {
	var sets []string
	err := w.files(func(path string) error {
		if filepath.Base(path) != "set.go" {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return fmt.Errorf("read %s: %w", path, err)
		}
		pkg, err := w.importPath(filepath.Dir(path))
		for _, d := range f.Decls {
			for _, name := range exportedVars(d) {
				sets = append(sets, pkg+"."+name)
			}
		}
		return err
	})
	slices.Sort(sets)
	return sets, err
}

func exportedVars(d ast.Decl) []string {
	g, ok := d.(*ast.GenDecl)
	if !ok || g.Tok != token.VAR {
		return nil
	}
	var names []string
	for _, spec := range g.Specs {
		for _, n := range spec.(*ast.ValueSpec).Names {
			if n.IsExported() {
				names = append(names, n.Name)
			}
		}
	}
	return names
}

// allUsed wants every set to be used in the code of a file below cases; a comment does not count.
func allUsed(sets []string, cases string) error {
	files, err := filepath.Glob(filepath.Join(cases, "*", "*.go"))
	if err != nil {
		return fmt.Errorf("list cases: %w", err)
	}
	used := make(map[string]bool)
	for _, path := range files {
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return fmt.Errorf("read a case: %w", err)
		}
		addUses(f, used)
	}
	var missing []error
	for _, set := range sets {
		if !used[set] {
			missing = append(missing, fmt.Errorf("set %s: %w", set, errNoInjector))
		}
	}
	return errors.Join(missing...)
}

// addUses adds each "import path.Name" that f speaks of.
func addUses(f *ast.File, used map[string]bool) {
	paths := make(map[string]string)
	for _, imp := range f.Imports {
		path := strings.Trim(imp.Path.Value, `"`)
		name := path[strings.LastIndexByte(path, '/')+1:]
		if imp.Name != nil {
			name = imp.Name.Name
		}
		paths[name] = path
	}
	ast.Inspect(f, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := s.X.(*ast.Ident); ok && paths[x.Name] != "" {
				used[paths[x.Name]+"."+s.Sel.Name] = true
			}
		}
		return true
	})
}
