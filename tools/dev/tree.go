package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// tree is the parsed source of all modules of go.work.
type tree struct {
	root     string
	fset     *token.FileSet
	packages []*pkg
}

type pkg struct {
	dir    string // relative to the root, with slashes
	module string
	name   string
	doc    bool
	files  []*file // without tests
	tests  []*file
}

type file struct {
	path      string
	lines     int
	generated bool
	ast       *ast.File
}

var generatedMark = regexp.MustCompile(`(?m)^// Code generated .* DO NOT EDIT\.$`)

func parseTree(w *workspace) (*tree, error) {
	t := &tree{root: w.root, fset: token.NewFileSet()}
	for _, m := range w.modules {
		byDir := map[string]*pkg{}
		err := filepath.WalkDir(w.path(m), func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if d.IsDir() && (d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".") && path != w.root) {
				return filepath.SkipDir
			}
			if d.IsDir() || !strings.HasSuffix(path, ".go") {
				return nil
			}
			return t.parseFile(byDir, m, path)
		})
		if err != nil {
			return nil, err
		}
	}
	slices.SortFunc(t.packages, func(a, b *pkg) int { return strings.Compare(a.dir, b.dir) })
	return t, nil
}

func (t *tree) parseFile(byDir map[string]*pkg, module, path string) error {
	parsed, err := parser.ParseFile(t.fset, path, nil, parser.ParseComments)
	if err != nil {
		return err
	}
	dir, err := filepath.Rel(t.root, filepath.Dir(path))
	if err != nil {
		return err
	}
	dir = filepath.ToSlash(dir)
	p := byDir[dir]
	if p == nil {
		p = &pkg{dir: dir, module: module}
		byDir[dir] = p
		t.packages = append(t.packages, p)
	}
	f := &file{path: dir + "/" + filepath.Base(path), ast: parsed, lines: t.fset.File(parsed.Pos()).LineCount()}
	for _, c := range parsed.Comments {
		if c.Pos() < parsed.Package && generatedMark.MatchString(commentText(c)) {
			f.generated = true
		}
	}
	if strings.HasSuffix(path, "_test.go") {
		p.tests = append(p.tests, f)
		return nil
	}
	p.name = parsed.Name.Name
	p.doc = p.doc || parsed.Doc != nil
	p.files = append(p.files, f)
	return nil
}

func commentText(g *ast.CommentGroup) string {
	var lines []string
	for _, c := range g.List {
		lines = append(lines, c.Text)
	}
	return strings.Join(lines, "\n")
}

func (p *pkg) isMain() bool { return p.name == "main" }

// isTest reports whether the package exists for tests: a suite, a kit.
func (p *pkg) isTest() bool { return strings.HasSuffix(p.dir, "test") }

// isProgram reports whether the package belongs to a program or an example, not to a library.
func (p *pkg) isProgram() bool {
	return p.isMain() || strings.HasPrefix(p.dir, "examples/")
}

func (p *pkg) generatedOnly() bool {
	for _, f := range p.files {
		if !f.generated {
			return false
		}
	}
	return true
}

func (t *tree) position(n ast.Node) string {
	pos := t.fset.Position(n.Pos())
	rel, err := filepath.Rel(t.root, pos.Filename)
	if err != nil {
		rel = pos.Filename
	}
	pos.Filename = filepath.ToSlash(rel)
	pos.Column = 0
	return pos.String()
}

// hasExample reports whether the folder has an Example of name with an Output comment.
func (t *tree) hasExample(dir, name string) bool {
	want := "Example" + strings.ReplaceAll(name, ".", "_")
	if name == "package" {
		want = "Example"
	}
	for _, p := range t.packages {
		if p.dir != dir {
			continue
		}
		for _, f := range p.tests {
			for _, d := range f.ast.Decls {
				fn, ok := d.(*ast.FuncDecl)
				if ok && (fn.Name.Name == want || strings.HasPrefix(fn.Name.Name, want+"_")) && hasOutput(f.ast, fn) {
					return true
				}
			}
		}
	}
	return false
}

func hasOutput(f *ast.File, fn *ast.FuncDecl) bool {
	for _, c := range f.Comments {
		if c.Pos() > fn.Body.Lbrace && c.End() < fn.Body.Rbrace {
			text := strings.ToLower(strings.TrimSpace(c.Text()))
			if strings.HasPrefix(text, "output:") || strings.HasPrefix(text, "unordered output:") {
				return true
			}
		}
	}
	return false
}
