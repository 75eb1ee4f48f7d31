package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// workspace is the checkout: its root and the folders of its modules, relative to the root.
type workspace struct {
	root    string
	modules []string // of go.work
	outside []string // modules that stay out of go.work: bench, its peers, tools

	passed []string          // names of the passes that have run
	ran    map[string]string // outcome of each Go test in them, by "package test"
}

// openWorkspace finds go.work above the present folder and reads the list of modules from it.
func openWorkspace() (*workspace, error) {
	dir, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.work")); err == nil {
			break
		}
		if filepath.Dir(dir) == dir {
			return nil, fmt.Errorf("no go.work above the present folder: run this inside a checkout")
		}
		dir = filepath.Dir(dir)
	}
	w := &workspace{root: dir}
	out, err := w.output(".", nil, "go", "work", "edit", "-json")
	if err != nil {
		return nil, fmt.Errorf("read go.work: %w", err)
	}
	var work struct{ Use []struct{ DiskPath string } }
	if err := json.Unmarshal(out, &work); err != nil {
		return nil, fmt.Errorf("read go.work: %w", err)
	}
	listed := map[string]bool{}
	for _, u := range work.Use {
		m := filepath.Clean(u.DiskPath)
		w.modules = append(w.modules, m)
		listed[m] = true
	}
	return w, w.findOutside(listed)
}

// findOutside walks the tree for every other go.mod.
func (w *workspace) findOutside(listed map[string]bool) error {
	return filepath.WalkDir(w.root, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() && (name == "testdata" || name == "node_modules" || name != "." && strings.HasPrefix(name, ".")) {
			return filepath.SkipDir
		}
		if name != "go.mod" {
			return nil
		}
		m, err := filepath.Rel(w.root, filepath.Dir(path))
		if err == nil && !listed[m] {
			w.outside = append(w.outside, m)
		}
		return err
	})
}

// path joins a path below the root.
func (w *workspace) path(elem ...string) string {
	return filepath.Join(append([]string{w.root}, elem...)...)
}

// command prepares a command in a folder of the checkout. It runs in a process group of its own,
// which is killed with everything that it started when ctx ends.
func (w *workspace) command(ctx context.Context, dir string, env []string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir = w.path(dir)
	cmd.Env = append(os.Environ(), "GOFLAGS=-buildvcs=false", "GOWORK=")
	cmd.Env = append(cmd.Env, env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// output runs a command to its end and gives its standard output; an error carries standard error.
func (w *workspace) output(dir string, env []string, args ...string) ([]byte, error) {
	cmd := w.command(context.Background(), dir, env, args...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return out, fmt.Errorf("%s: %w\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return out, nil
}

// combined runs a command in ctx and gives everything it printed; a failure is an error with that.
func (w *workspace) combined(ctx context.Context, dir string, env []string, args ...string) (string, error) {
	out, err := w.command(ctx, dir, env, args...).CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("%s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return string(out), nil
}
