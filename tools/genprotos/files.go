package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

var errStale = errors.New("not what is generated; run make generate")

// write puts files into the module at dir and removes generated files that are no longer made.
func write(dir string, files map[string]string) error {
	old, err := committed(dir)
	if err != nil {
		return err
	}
	for _, name := range old {
		if _, kept := files[name]; kept {
			continue
		}
		if err := os.Remove(filepath.Join(dir, filepath.FromSlash(name))); err != nil {
			return fmt.Errorf("remove %s: %w", name, err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
		if err := os.WriteFile(path, []byte(files[name]), 0o644); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
	}
	return nil
}

// compare returns one error that names every file of the module at dir that is missing, differs or
// is no longer made.
func compare(dir string, files map[string]string) error {
	old, err := committed(dir)
	if err != nil {
		return err
	}
	var stale []error
	for _, name := range slices.Sorted(maps.Keys(files)) {
		have, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
		if err != nil {
			stale = append(stale, fmt.Errorf("%s: %w: %w", name, errStale, err))
		} else if string(have) != files[name] {
			stale = append(stale, fmt.Errorf("%s: %w", name, errStale))
		}
	}
	for _, name := range old {
		if _, made := files[name]; !made {
			stale = append(stale, fmt.Errorf("%s: %w: nothing makes it", name, errStale))
		}
	}
	return errors.Join(stale...)
}

// committed lists the generated files of the module at dir, by slash path.
func committed(dir string) ([]string, error) {
	found, err := filepath.Glob(filepath.Join(dir, "*", "*.pb.go"))
	if err != nil {
		return nil, fmt.Errorf("list generated files in %s: %w", dir, err)
	}
	names := make([]string, 0, len(found))
	for _, f := range found {
		rel, err := filepath.Rel(dir, f)
		if err != nil {
			return nil, fmt.Errorf("list generated files in %s: %w", dir, err)
		}
		names = append(names, filepath.ToSlash(rel))
	}
	return names, nil
}
