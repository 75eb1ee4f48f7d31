package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// scratchModule is the path of the module for injectors.
const scratchModule = "wirecheck.test"

// scratch is a throw-away workspace: the modules of the real one and a module for test injectors.
// So injectors of the checks see the code as it stands, and nothing is written into the clone.
type scratch struct {
	dir  string // the module for injectors, one folder a case
	tool wireTool
}

// newScratch copies the .go files of every case below cases.
func newScratch(w *workspace, bin, cases string) (*scratch, error) {
	top, err := os.MkdirTemp("", "wirecheck-")
	if err != nil {
		return nil, fmt.Errorf("make a scratch workspace: %w", err)
	}
	s := &scratch{dir: filepath.Join(top, "cases"), tool: wireTool{bin: bin, gowork: filepath.Join(top, "go.work")}}
	if err := s.fill(w, cases); err != nil {
		s.close()
		return nil, fmt.Errorf("make a scratch workspace: %w", err)
	}
	return s, nil
}

func (s *scratch) fill(w *workspace, cases string) error {
	if err := os.CopyFS(s.dir, os.DirFS(cases)); err != nil {
		return err
	}
	mod := "module " + scratchModule + "\n\ngo 1.26.0\n"
	if err := os.WriteFile(filepath.Join(s.dir, "go.mod"), []byte(mod), 0o644); err != nil {
		return err
	}
	var work strings.Builder
	work.WriteString("go 1.26.0\n\nuse (\n\t./cases\n")
	for _, m := range w.modules {
		fmt.Fprintf(&work, "\t%q\n", m)
	}
	work.WriteString(")\n")
	if err := os.WriteFile(s.tool.gowork, []byte(work.String()), 0o644); err != nil {
		return err
	}
	sums, err := os.ReadFile(filepath.Join(w.root, "go.work.sum"))
	if err != nil {
		return nil // most workspaces have none
	}
	return os.WriteFile(filepath.Join(filepath.Dir(s.tool.gowork), "go.work.sum"), sums, 0o644)
}

// vet compiles and vets every case.
func (s *scratch) vet(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, "go", "vet", "./...")
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), "GOWORK="+s.tool.gowork, "PWD="+s.dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("compile: %w\n%s", err, out)
	}
	return nil
}

func (s *scratch) close() { _ = os.RemoveAll(filepath.Dir(s.dir)) }

// folders lists the folders of the named cases.
func (s *scratch) folders(names []string) []string {
	var dirs []string
	for _, name := range names {
		dirs = append(dirs, filepath.Join(s.dir, name))
	}
	return dirs
}

// casesIn lists the folders directly below dir.
func casesIn(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("list cases: %w", err)
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, nil
}
