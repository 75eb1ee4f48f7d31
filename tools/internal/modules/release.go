package modules

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/mod/semver"
	"golang.org/x/mod/sumdb/dirhash"
)

// Release makes the tree in root that of a release commit: in every released module the replaces of
// siblings go, their requires get version, and their sums are written. It returns the names of the tags.
func Release(root, version string) (tags []string, err error) {
	if !semver.IsValid(version) || semver.Canonical(version) != version {
		return nil, fmt.Errorf("release: %q is no version; one is v0.2.0 or v0.2.0-rc.1", version)
	}
	all, err := Read(root)
	if err != nil {
		return nil, err
	}
	sums := map[string][]string{} // lines of go.sum, by path
	for _, m := range all {
		if err := m.release(version, sums); err != nil {
			return nil, fmt.Errorf("release: %w", err)
		}
		if sums[m.Path()], err = m.sums(version); err != nil {
			return nil, fmt.Errorf("release: sums of %s: %w", m.Dir, err)
		}
		tags = append(tags, m.Dir+"/"+version)
	}
	return tags, nil
}

// release rewrites go.mod and go.sum of m.
func (m *Module) release(version string, sums map[string][]string) error {
	for _, r := range slices.Clone(m.Mod.Replace) {
		if strings.HasPrefix(r.Old.Path, Prefix) {
			if err := m.Mod.DropReplace(r.Old.Path, r.Old.Version); err != nil {
				return err
			}
		}
	}
	var lines []string
	for _, path := range m.siblings() {
		if sums[path] == nil {
			return fmt.Errorf("%s/go.mod requires %s, which is not released, or requires it back", m.Dir, path)
		}
		if err := m.Mod.AddRequire(path, version); err != nil {
			return err
		}
		lines = append(lines, sums[path]...)
	}
	m.Mod.Cleanup()
	text, err := m.Mod.Format()
	if err == nil {
		err = os.WriteFile(m.file("go.mod"), text, 0o644)
	}
	return errors.Join(err, m.writeSums(lines))
}

// writeSums puts the lines of siblings in place of those that go.sum has.
func (m *Module) writeSums(lines []string) error {
	old, err := os.ReadFile(m.file("go.sum"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	for line := range strings.Lines(string(old)) {
		if !strings.HasPrefix(line, Prefix) {
			lines = append(lines, line)
		}
	}
	if len(lines) == 0 {
		return nil
	}
	slices.Sort(lines)
	return os.WriteFile(m.file("go.sum"), []byte(strings.Join(lines, "")), 0o644)
}

// sums are the two lines that others' go.sum has of m.
func (m *Module) sums(version string) ([]string, error) {
	packed, err := os.CreateTemp("", "granary-*.zip")
	if err != nil {
		return nil, err
	}
	defer os.Remove(packed.Name())
	err = m.zip(packed, version)
	if err = errors.Join(err, packed.Close()); err != nil {
		return nil, err
	}
	whole, err := dirhash.HashZip(packed.Name(), dirhash.Hash1)
	if err != nil {
		return nil, err
	}
	mod, err := hashMod(m.file("go.mod"))
	if err != nil {
		return nil, err
	}
	at := m.Path() + " " + version
	return []string{at + " " + whole + "\n", at + "/go.mod " + mod + "\n"}, nil
}
