package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/bufbuild/protocompile"

	"github.com/granary-go/granary/protos/optionspb"
)

// sources are the files to compile and where their imports are.
type sources struct {
	names []string          // of the files asked for, as the compiler knows them
	shown map[string]string // by name: the path as the user typed it, or of an import as it was found
	roots []string          // directories in which imports are looked for, in this order

	edition2024 map[string]bool // by name: found to be of edition 2024
}

// locate finds under which name each file is compiled.
func locate(imports, files []string) (*sources, error) {
	s := &sources{shown: make(map[string]string), roots: imports, edition2024: make(map[string]bool)}
	for _, file := range files {
		if filepath.Ext(file) != ".proto" {
			return nil, fmt.Errorf("%s: not a .proto file", file)
		}
		if _, err := os.Stat(file); err != nil {
			return nil, err
		}
		root, name, err := s.nameOf(imports, file)
		if err != nil {
			return nil, err
		}
		if other, taken := s.shown[name]; taken && sameFile(other, file) {
			return nil, fmt.Errorf("%s is given twice", file)
		} else if taken {
			return nil, fmt.Errorf("%s and %s are both compiled as %s: give one of them another -I", other, file, name)
		}
		if !slices.Contains(s.roots, root) {
			s.roots = append(s.roots, root)
		}
		s.names = append(s.names, name)
		s.shown[name] = file
	}
	return s, nil
}

func sameFile(a, b string) bool {
	first, err1 := os.Stat(a)
	second, err2 := os.Stat(b)
	return err1 == nil && err2 == nil && os.SameFile(first, second)
}

// nameOf is the import directory of file and its path below it.
func (s *sources) nameOf(imports []string, file string) (root, name string, err error) {
	if len(imports) == 0 {
		root, _ = moduleOf(filepath.Dir(file))
		if root == "" {
			root = filepath.Dir(file)
		}
		imports = []string{root}
	}
	for _, root := range imports {
		if name, ok := below(root, file); ok {
			return root, name, nil
		}
	}
	return "", "", fmt.Errorf("%s: it is in none of the directories of -I: %s", file, strings.Join(imports, ", "))
}

// below is the slash path of file below dir.
func below(dir, file string) (string, bool) {
	dir, err1 := filepath.Abs(dir)
	file, err2 := filepath.Abs(file)
	rel, err3 := filepath.Rel(dir, file)
	if errors.Join(err1, err2, err3) != nil || !filepath.IsLocal(rel) {
		return "", false
	}
	return filepath.ToSlash(rel), true
}

// moduleOf is the root of the Go module that dir is in, and the module's path; empty: none.
func moduleOf(dir string) (root, module string) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", ""
	}
	for {
		if data, err := os.ReadFile(filepath.Join(dir, "go.mod")); err == nil {
			return dir, modulePath(string(data))
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", ""
		}
		dir = parent
	}
}

// modulePath reads the module line of a go.mod.
func modulePath(gomod string) string {
	for line := range strings.Lines(gomod) {
		if words := strings.Fields(line); len(words) >= 2 && words[0] == "module" {
			return strings.Trim(words[1], "\"`")
		}
	}
	return ""
}

// importPath is the Go import path of the directory of a file; empty: it is in no module.
func (s *sources) importPath(name string) string {
	dir := filepath.Dir(s.shown[name])
	root, module := moduleOf(dir)
	if module == "" {
		return ""
	}
	rel, ok := below(root, dir)
	if !ok {
		return ""
	}
	return path.Join(module, rel)
}

// optionsPath is the import that is built in beside those of google/protobuf.
const optionsPath = "granary/options.proto"

// FindFileByPath reads an import.
func (s *sources) FindFileByPath(name string) (protocompile.SearchResult, error) {
	if name == optionsPath {
		return protocompile.SearchResult{Desc: optionspb.File_granary_options_proto}, nil
	}
	for _, root := range s.roots {
		file := filepath.Join(root, filepath.FromSlash(name))
		data, err := os.ReadFile(file)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return protocompile.SearchResult{}, err
		}
		if _, known := s.shown[name]; !known {
			s.shown[name] = shorter(file)
		}
		return protocompile.SearchResult{Source: bytes.NewReader(s.asEdition2023(name, data))}, nil
	}
	return protocompile.SearchResult{}, fmt.Errorf("%s is not in %s; -I adds a directory", name, strings.Join(s.roots, ", "))
}

// firstEdition is the statement that a file of edition 2024 begins with, after comments.
var firstEdition = regexp.MustCompile(`\A(?:\s|//[^\n]*\n|/\*(?s:.*?)\*/)*edition\s*=\s*["'](2024)["']`)

// asEdition2023 notes that a file is of edition 2024 and tells the compiler 2023, the newest that it
// knows: what the two have in common is written alike. What only 2024 has is then a syntax error.
// The descriptor says 2024 again, so that the defaults of its features are those of 2024.
func (s *sources) asEdition2023(name string, data []byte) []byte {
	at := firstEdition.FindSubmatchIndex(data)
	if at == nil {
		return data
	}
	s.edition2024[name] = true
	older := bytes.Clone(data)
	copy(older[at[2]:at[3]], "2023")
	return older
}

// shorter is file relative to the working directory, where that is shorter.
func shorter(file string) string {
	if wd, err := os.Getwd(); err == nil {
		if rel, err := filepath.Rel(wd, file); err == nil && len(rel) < len(file) {
			return rel
		}
	}
	return file
}

// readable puts the user's paths in the place of names at the beginning of the lines of err.
func (s *sources) readable(err error) error {
	lines := strings.Split(err.Error(), "\n")
	for i, line := range lines {
		if name, rest, ok := strings.Cut(line, ":"); ok && s.shown[name] != "" {
			lines[i] = s.shown[name] + ":" + rest
		}
	}
	return errors.New(strings.Join(lines, "\n"))
}
