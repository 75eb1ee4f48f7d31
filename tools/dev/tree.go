package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
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
	testBuild bool // compiled into builds for tests only
	ast       *ast.File
}

// testTag is the build tag of files that only builds for tests contain.
const testTag = "//go:build failpoints"

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
			if d.IsDir() && path != w.path(m) && isModule(path) {
				return filepath.SkipDir // a module within another is parsed on its own
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

func isModule(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "go.mod"))
	return err == nil
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
		if c.Pos() < parsed.Package {
			text := commentText(c)
			f.generated = f.generated || generatedMark.MatchString(text)
			f.testBuild = f.testBuild || text == testTag
		}
	}
	if strings.HasSuffix(path, "_test.go") {
		p.tests = append(p.tests, f)
		return nil
	}
	p.name = parsed.Name.Name
	p.doc = p.doc || says(parsed.Doc)
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

// The modules of programs that test: to them the rules for libraries do not apply.
const (
	simulator   = "engine/internal/sim" // runs whole nodes
	integration = "integration"         // runs providers and stores against real servers
)

func (p *pkg) ofTests() bool { return p.module == simulator || p.module == integration }

// isTest reports whether the package exists for tests: a suite, a kit, the simulator, real servers.
func (p *pkg) isTest() bool { return strings.HasSuffix(p.dir, "test") || p.ofTests() }

// isProgram reports whether the package belongs to a program or an example, not to a library.
func (p *pkg) isProgram() bool {
	return p.isMain() || p.ofTests() || strings.HasPrefix(p.dir, "examples/")
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
