package main

import (
	"context"
	"encoding/json"
	"fmt"
	"go/build/constraint"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// workspace is a checkout: its root and the folders of the modules that go.work lists, absolute.
type workspace struct {
	root    string
	modules []string
}

// openWorkspace reads the go.work in the folder root.
func openWorkspace(ctx context.Context, root string) (*workspace, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, fmt.Errorf("open workspace: %w", err)
	}
	cmd := exec.CommandContext(ctx, "go", "work", "edit", "-json", filepath.Join(root, "go.work"))
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("open workspace at %s: %w", root, err)
	}
	var work struct{ Use []struct{ DiskPath string } }
	if err := json.Unmarshal(out, &work); err != nil {
		return nil, fmt.Errorf("open workspace at %s: %w", root, err)
	}
	w := &workspace{root: root}
	for _, u := range work.Use {
		w.modules = append(w.modules, filepath.Join(root, u.DiskPath))
	}
	return w, nil
}

// application is the folder of the one module outside go.work that has an injector.
func (w *workspace) application() string { return filepath.Join(w.root, "examples", "custom") }

// files calls f for every Go file of every module, without testdata, hidden folders and modules
// inside modules.
func (w *workspace) files(f func(path string) error) error {
	for _, module := range w.modules {
		err := filepath.WalkDir(module, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if !d.IsDir() {
				if strings.HasSuffix(path, ".go") {
					return f(path)
				}
				return nil
			}
			if path != module && skipped(path, d.Name()) {
				return filepath.SkipDir
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("read %s: %w", module, err)
		}
	}
	return nil
}

// importPath is the import path of a folder of one of the modules.
func (w *workspace) importPath(dir string) (string, error) {
	for root := dir; ; root = filepath.Dir(root) {
		text, err := os.ReadFile(filepath.Join(root, "go.mod"))
		if err != nil && root != w.root {
			continue
		}
		for line := range strings.Lines(string(text)) {
			if words := strings.Fields(line); len(words) > 1 && words[0] == "module" {
				rel, err := filepath.Rel(root, dir)
				return path.Join(words[1], filepath.ToSlash(rel)), err
			}
		}
		return "", fmt.Errorf("%s is in no module", dir)
	}
}

func skipped(path, name string) bool {
	if name == "testdata" || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") {
		return true
	}
	_, err := os.Stat(filepath.Join(path, "go.mod"))
	return err == nil
}

// findInjectors lists the folders with files that only wire sees. A wire_gen.go in a folder without
// one is an error: nothing would make it.
func findInjectors(w *workspace) ([]string, error) {
	var injectors, generated []string
	err := w.files(func(path string) error {
		dir := filepath.Dir(path)
		if filepath.Base(path) == generatedName {
			generated = append(generated, dir)
			return nil
		}
		injects, err := isInjector(path)
		if injects && !slices.Contains(injectors, dir) {
			injectors = append(injectors, dir)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, dir := range generated {
		if !slices.Contains(injectors, dir) {
			return nil, fmt.Errorf("%s: no injector makes it; remove it", filepath.Join(dir, generatedName))
		}
	}
	return injectors, nil
}

// isInjector reports whether a Go file is built under the tag wireinject only, whatever else it asks.
func isInjector(path string) (bool, error) {
	f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.PackageClauseOnly|parser.ParseComments)
	if err != nil {
		return false, fmt.Errorf("read %s: %w", path, err)
	}
	for _, group := range f.Comments {
		for _, c := range group.List {
			if !constraint.IsGoBuild(c.Text) || group.Pos() > f.Package {
				continue
			}
			expr, err := constraint.Parse(c.Text)
			if err != nil {
				return false, fmt.Errorf("read %s: %w", path, err)
			}
			with := expr.Eval(func(string) bool { return true })
			without := expr.Eval(func(tag string) bool { return tag != "wireinject" })
			return with && !without, nil
		}
	}
	return false, nil
}
