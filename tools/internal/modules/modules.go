// Package modules reads the modules of a checkout, makes a release of them, and packs them as a proxy
// serves them.
package modules

import (
	"cmp"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/mod/modfile"
)

// Prefix begins the path of every module of the project.
const Prefix = "github.com/granary-go/granary/"

// Module is one module of go.work.
type Module struct {
	Root string // of the checkout
	Dir  string // below Root, with slashes
	Mod  *modfile.File
}

// Read gives the modules of the checkout in root that are released, each after those that it requires.
func Read(root string) ([]*Module, error) {
	data, err := os.ReadFile(filepath.Join(root, "go.work"))
	if err != nil {
		return nil, fmt.Errorf("read the list of modules: %w", err)
	}
	work, err := modfile.ParseWork("go.work", data, nil)
	if err != nil {
		return nil, err
	}
	var all []*Module
	for _, u := range work.Use {
		m := &Module{Root: root, Dir: path.Clean(u.Path)}
		if !released(m.Dir) {
			continue
		}
		if err := m.read(); err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	return ordered(all), nil
}

// released reports whether users require the module in dir: examples and tests are for the checkout.
func released(dir string) bool {
	parts := strings.Split(dir, "/")
	return !slices.Contains([]string{"examples", "integration"}, parts[0]) && !slices.Contains(parts, "internal")
}

func (m *Module) read() error {
	data, err := os.ReadFile(m.file("go.mod"))
	if err == nil {
		m.Mod, err = modfile.Parse(m.Dir+"/go.mod", data, nil)
	}
	return err
}

// Path is the import path of the module.
func (m *Module) Path() string { return m.Mod.Module.Mod.Path }

func (m *Module) file(name string) string {
	return filepath.Join(m.Root, filepath.FromSlash(m.Dir), name)
}

// siblings are the modules of the project that m requires.
func (m *Module) siblings() (paths []string) {
	for _, r := range m.Mod.Require {
		if strings.HasPrefix(r.Mod.Path, Prefix) {
			paths = append(paths, r.Mod.Path)
		}
	}
	return paths
}

// ordered sorts by the longest way down, then by name: what is required comes first.
func ordered(all []*Module) []*Module {
	byPath := map[string]*Module{}
	for _, m := range all {
		byPath[m.Path()] = m
	}
	var depth func(m *Module, above int) int
	depth = func(m *Module, above int) (most int) {
		for _, p := range m.siblings() {
			if s := byPath[p]; s != nil && above < len(all) { // a cycle ends here, and fails when its sums are made
				most = max(most, 1+depth(s, above+1))
			}
		}
		return most
	}
	slices.SortStableFunc(all, func(a, b *Module) int {
		return cmp.Or(cmp.Compare(depth(a, 0), depth(b, 0)), strings.Compare(a.Dir, b.Dir))
	})
	return all
}
