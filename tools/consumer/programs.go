package main

import (
	"context"
	"errors"
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/granary-go/granary/tools/internal/modules"
)

// programs are what the documentation shows.
func programs() []one {
	all := []one{
		{"readme", readme},
		example("hello", "hello you, 1"),
		example("typed", "in the cart: map[honey:1 milk:1 tea:2]"),
		example("handwired", "in the cart: map[milk:1 tea:1]"),
		example("custom", "ok: every condition held", "-for", "4s", "-identities", "500"),
	}
	for _, choice := range []struct{ name, at string }{{"embedded", ""}, {"redis", "-redis={}"}, {"consul", "-consul={}"}} {
		all = append(all,
			deployment("deployment:"+choice.name, "examples/deployments/"+choice.name, choice.name, choice.at),
			deployment("byhand:"+choice.name, "tools/consumer/testdata/byhand/"+choice.name, choice.name, choice.at))
	}
	return all
}

// whole builds a module by itself, with what its own go.mod and go.sum say, and then as a requirement of a
// program that imports every package of it that others may import.
func whole(m *modules.Module) one {
	return one{m.Dir, func(ctx context.Context, c *consumer, dir string) (string, error) {
		if _, err := c.run(ctx, filepath.Join(m.Root, filepath.FromSlash(m.Dir)), "go", "build", "./..."); err != nil {
			return "", err
		}
		packages, err := importable(m)
		if err != nil {
			return "", err
		}
		text := "package main\n\nimport (\n"
		for _, p := range packages {
			text += "\t_ " + strconv.Quote(p) + "\n"
		}
		text += ")\n\nfunc main() {}\n"
		if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(text), 0o644); err != nil {
			return "", err
		}
		return c.program(ctx, dir)
	}}
}

// importable finds the packages of m that are no program and not internal.
func importable(m *modules.Module) (packages []string, err error) {
	top := filepath.Join(m.Root, filepath.FromSlash(m.Dir))
	err = filepath.WalkDir(top, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name != top && (slices.Contains([]string{"internal", "testdata"}, d.Name()) || exists(filepath.Join(name, "go.mod"))) {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.PackageClauseOnly)
		if err != nil || file.Name.Name == "main" {
			return err
		}
		below, err := filepath.Rel(top, filepath.Dir(name))
		if p := strings.TrimSuffix(m.Path()+"/"+filepath.ToSlash(below), "/."); !slices.Contains(packages, p) {
			packages = append(packages, p)
		}
		return err
	})
	return packages, err
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

// example takes a folder of examples out of the tree, with those that it imports, and looks for a text in
// what the program prints.
func example(folder, prints string, args ...string) one {
	return one{"example:" + folder, func(ctx context.Context, c *consumer, dir string) (string, error) {
		if err := c.takeOut(dir, "examples/"+folder, map[string]bool{}); err != nil {
			return "", err
		}
		return c.runs(ctx, dir, prints, args...)
	}}
}

// deployment takes a deployment out of the tree, and goes shopping with it; at is its flag that says where its
// server is, which runs beside it.
func deployment(name, folder, server, at string) one {
	return one{name, func(ctx context.Context, c *consumer, dir string) (string, error) {
		if err := c.takeOut(dir, folder, map[string]bool{}); err != nil {
			return "", err
		}
		const prints = "in the cart: map[milk:1 tea:1]"
		if at == "" {
			return c.runs(ctx, dir, prints, "-customer=alice")
		}
		binary, err := c.program(ctx, dir)
		if err != nil {
			return "", err
		}
		out, err := c.beside(ctx, server, binary, "-customer=alice", at)
		return binary, saying(out, prints, err)
	}}
}

// beside runs a command beside a server of the checkout's.
func (c *consumer) beside(ctx context.Context, server string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", append([]string{"run", "./servers/with", server}, args...)...)
	cmd.Dir, cmd.Env, cmd.WaitDelay = filepath.Join(c.checkout, "integration"), append(os.Environ(), "GOWORK=off"), 5*time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("beside %s: %w\n%s", server, err, out)
	}
	return string(out), err
}

// saying is err, or that out is without a text.
func saying(out, prints string, err error) error {
	if err == nil && !strings.Contains(out, prints) {
		return fmt.Errorf("prints, without %q:\n%s", prints, out)
	}
	return err
}

// runs builds the program in dir and runs it.
func (c *consumer) runs(ctx context.Context, dir, prints string, args ...string) (string, error) {
	binary, err := c.program(ctx, dir)
	if err != nil {
		return "", err
	}
	out, err := c.run(ctx, dir, append([]string{binary}, args...)...)
	return binary, saying(out, prints, err)
}

// unreleased are the beginnings of imports that are not of released modules, and where in the tree they are.
var unreleased = [...]struct{ path, folder string }{
	{modules.Prefix + "examples/", "examples/"},
	{modules.Prefix + "integration/", "integration/"},
	{"example.com/custom/", "examples/custom/"},
}

// moved is the folder of an import that is not of a released module.
func moved(path string) (folder string, ours bool) {
	for _, u := range unreleased {
		if below, yes := strings.CutPrefix(path, u.path); yes {
			return u.folder + below, true
		}
	}
	return "", false
}

// renamed gives such imports the path that they have in the program.
func renamed(text string) string {
	for _, u := range unreleased {
		text = strings.ReplaceAll(text, `"`+u.path, `"`+outside+"/"+u.folder)
	}
	return text
}

// takeOut copies a folder of the tree; the first is the program, others are below it.
func (c *consumer) takeOut(dir, folder string, taken map[string]bool) error {
	to := dir
	if len(taken) > 0 {
		to = filepath.Join(dir, filepath.FromSlash(folder))
	}
	taken[folder] = true
	files, err := filepath.Glob(filepath.Join(c.root, filepath.FromSlash(folder), "*.go"))
	if err = errors.Join(err, os.MkdirAll(to, 0o755)); err != nil {
		return err
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(to, filepath.Base(name)), []byte(renamed(string(data))), 0o644); err != nil {
			return err
		}
		imported, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, i := range imported.Imports {
			path, _ := strconv.Unquote(i.Path.Value) // the parser has seen to it
			if next, ours := moved(path); ours && !taken[next] {
				if err := c.takeOut(dir, next, taken); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// readme is the first program of the README.
func readme(ctx context.Context, c *consumer, dir string) (string, error) {
	data, err := os.ReadFile(filepath.Join(c.root, "README.md"))
	if err != nil {
		return "", err
	}
	_, text, _ := strings.Cut(string(data), "\n```go\n")
	text, _, found := strings.Cut(text, "\n```\n")
	if !found {
		return "", errors.New("README.md has no Go block")
	}
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(text), 0o644); err != nil {
		return "", err
	}
	return c.runs(ctx, dir, "1 <nil>")
}
