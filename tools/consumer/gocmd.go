package main

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/granary-go/granary/tools/internal/modules"
)

// environment makes go take the packs from proxy, and everything else from where it always does.
func (c *consumer) environment(ctx context.Context, proxy string) error {
	out, err := exec.CommandContext(ctx, "go", "env", "GOPROXY", "GONOSUMDB").Output()
	if err != nil {
		return fmt.Errorf("go env: %w", err)
	}
	was := strings.Split(string(out), "\n")
	c.env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-modcacherw -buildvcs=false",
		"GOPROXY=file://"+filepath.ToSlash(proxy)+","+was[0], "GONOSUMDB="+strings.Trim(modules.Prefix+"*,"+was[1], ","))
	return nil
}

// run executes a command in dir; an error has what it printed.
func (c *consumer) run(ctx context.Context, dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir, cmd.Env, cmd.WaitDelay = dir, c.env, 5*time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("%s: %w\n%s", strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return string(out), nil
}

// program builds the Go files in dir as a program of somebody else, and returns the binary.
func (c *consumer) program(ctx context.Context, dir string) (string, error) {
	if err := os.WriteFile(filepath.Join(dir, "go.sum"), c.sums, 0o644); err != nil {
		return "", err
	}
	pin := []string{"go", "mod", "edit", "-go=" + goLine}
	for _, m := range c.all {
		pin = append(pin, "-require="+m.Path()+"@"+c.version)
	}
	binary := filepath.Join(dir, "program.exe")
	for _, args := range [][]string{{"go", "mod", "init", outside}, pin, {"go", "mod", "tidy"}, {"go", "build", "-o", binary, "."}} {
		if _, err := c.run(ctx, dir, args...); err != nil {
			return "", err
		}
	}
	mod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err == nil && !strings.Contains(string(mod), "\ngo "+goLine+"\n") {
		err = fmt.Errorf("a requirement has raised the go line of the program:\n%s", mod)
	}
	return binary, err
}

// outside is the module path of the programs.
const outside = "example.com/consumer"

// forget takes the version out of the module cache, which would keep it for good.
func (c *consumer) forget(ctx context.Context) {
	out, err := exec.CommandContext(context.WithoutCancel(ctx), "go", "env", "GOMODCACHE").Output()
	if err != nil {
		return
	}
	cache := strings.TrimSpace(string(out))
	for _, m := range c.all {
		path := filepath.FromSlash(m.Path())
		_ = os.RemoveAll(filepath.Join(cache, path) + "@" + c.version) // what stays is in nobody's way
		downloads, _ := filepath.Glob(filepath.Join(cache, "cache", "download", path, "@v", c.version+".*"))
		for _, name := range downloads {
			_ = os.Remove(name)
		}
	}
}

// knownSums are the lines of every go.sum of the tree that is not of a peer's or a server's module.
func knownSums(root string) ([]byte, error) {
	var lines []string
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.Name() != "go.sum" {
			return err
		}
		data, err := os.ReadFile(name)
		for line := range strings.Lines(string(data)) {
			if !strings.HasPrefix(line, modules.Prefix) {
				lines = append(lines, line)
			}
		}
		return err
	})
	slices.Sort(lines)
	return []byte(strings.Join(slices.Compact(lines), "")), err
}

// copyTree copies what a commit could hold of the checkout.
func copyTree(to, from string) error {
	return filepath.WalkDir(from, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		below, err := filepath.Rel(from, name)
		if err != nil {
			return err
		}
		switch target := filepath.Join(to, below); {
		case d.Name() == ".git":
			if d.IsDir() {
				return filepath.SkipDir
			}
			return nil
		case d.IsDir():
			return os.MkdirAll(target, 0o755)
		case !d.Type().IsRegular():
			return nil
		default:
			data, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			return os.WriteFile(target, data, 0o644)
		}
	})
}
