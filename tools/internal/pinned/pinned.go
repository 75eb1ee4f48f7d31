// Package pinned builds the tools that the go.mod of this module pins, into the user's cache
// directory. A binary is keyed by its version and by the Go release that built it, so a clone never
// holds one and two clones share them.
package pinned

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// Build returns the path of the binary of package pkg, in the version that the module at toolsDir
// pins. It builds it first where the cache does not hold it. Safe to run several times at once.
func Build(ctx context.Context, toolsDir, pkg string) (string, error) {
	version, err := Version(ctx, toolsDir, pkg)
	if err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the cache directory for %s: %w", pkg, err)
	}
	name := filepath.Base(pkg)
	dir := filepath.Join(cache, "granary", "tools", fmt.Sprintf("%s-%s-%s", name, version, runtime.Version()))
	bin := filepath.Join(dir, name)
	if runtime.GOOS == "windows" {
		bin += ".exe"
	}
	if _, err := os.Stat(bin); err == nil {
		return bin, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("make the cache directory of %s: %w", pkg, err)
	}
	return bin, build(ctx, toolsDir, pkg, bin)
}

// build builds beside bin and renames, so that nobody ever sees half a binary.
func build(ctx context.Context, toolsDir, pkg, bin string) error {
	tmp, err := os.MkdirTemp(filepath.Dir(bin), "build-")
	if err != nil {
		return fmt.Errorf("build %s: %w", pkg, err)
	}
	defer os.RemoveAll(tmp)
	made := filepath.Join(tmp, filepath.Base(bin))
	if _, err := goCommand(ctx, toolsDir, "build", "-o", made, pkg); err != nil {
		return fmt.Errorf("build %s: %w", pkg, err)
	}
	if err := os.Rename(made, bin); err != nil {
		return fmt.Errorf("keep %s: %w", pkg, err)
	}
	return nil
}

// Version is the version of the module that holds pkg, as the module at toolsDir pins it.
func Version(ctx context.Context, toolsDir, pkg string) (string, error) {
	out, err := goCommand(ctx, toolsDir, "list", "-f", "{{with .Module}}{{.Version}}{{end}}", pkg)
	if err != nil {
		return "", fmt.Errorf("find the pinned version of %s: %w", pkg, err)
	}
	version := strings.TrimSpace(out)
	if version == "" {
		return "", fmt.Errorf("find the pinned version of %s: %w", pkg, errNoVersion)
	}
	return version, nil
}

var errNoVersion = errors.New("go.mod of tools does not name one")

// goCommand runs the go command in dir, outside any workspace, and returns what it printed.
func goCommand(ctx context.Context, dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("go %s: %w\n%s", args[0], err, stderr.Bytes())
	}
	return string(out), nil
}
