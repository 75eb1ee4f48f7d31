package main

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
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

// findSets lists every exported variable of a set.go as "package.Name".
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
		for _, d := range f.Decls {
			for _, name := range exportedVars(d) {
				sets = append(sets, f.Name.Name+"."+name)
			}
		}
		return nil
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

// allUsed wants every set to stand in a file below cases.
func allUsed(sets []string, cases string) error {
	files, err := filepath.Glob(filepath.Join(cases, "*", "*.go"))
	if err != nil {
		return fmt.Errorf("list cases: %w", err)
	}
	var text strings.Builder
	for _, path := range files {
		data, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("read a case: %w", err)
		}
		text.Write(data)
	}
	words := strings.FieldsFunc(text.String(), func(r rune) bool {
		return r != '.' && r != '_' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	})
	var missing []error
	for _, set := range sets {
		if !slices.Contains(words, set) {
			missing = append(missing, fmt.Errorf("set %s: %w", set, errNoInjector))
		}
	}
	return errors.Join(missing...)
}
