package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const (
	generatedName = "wire_gen.go"

	// brokenLine is what wire writes and a workspace refuses: it runs the generator with -mod=mod.
	brokenLine = "//go:generate go run -mod=mod github.com/google/wire/cmd/wire"
)

var (
	errDiffers = errors.New("not what wire generates; run make generate")
	errBroken  = errors.New("has the go:generate line that a workspace refuses; run make generate")
	errWire    = errors.New("wire failed")
)

// wireTool is the pinned binary and the workspace that it runs in.
type wireTool struct{ bin, gowork string }

// run runs one command of wire over the package in dir. Code is its exit code.
func (t wireTool) run(ctx context.Context, dir, command string) (code int, stdout, stderr string, err error) {
	cmd := exec.CommandContext(ctx, t.bin, command, ".")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK="+t.gowork, "PWD="+dir)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.Exited() {
		return exit.ExitCode(), out.String(), errs.String(), nil
	}
	if err != nil {
		return 0, "", "", fmt.Errorf("run wire in %s: %w", dir, err)
	}
	return 0, out.String(), errs.String(), nil
}

// generate writes the wire_gen.go of every folder, without the broken line.
func generate(ctx context.Context, out io.Writer, tool wireTool, injectors []string) error {
	for _, dir := range injectors {
		if err := tool.generate(ctx, dir); err != nil {
			return err
		}
	}
	fmt.Fprintf(out, "wire: %d injector packages generated\n", len(injectors))
	return nil
}

// generate writes the wire_gen.go of one folder.
func (t wireTool) generate(ctx context.Context, dir string) error {
	code, _, stderr, err := t.run(ctx, dir, "gen")
	if err != nil {
		return err
	}
	if code != 0 {
		return fmt.Errorf("generate %s: %w:\n%s", dir, errWire, stderr)
	}
	path := filepath.Join(dir, generatedName)
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("generate %s: %w", dir, err)
	}
	if err := os.WriteFile(path, []byte(strip(string(text))), 0o644); err != nil {
		return fmt.Errorf("generate %s: %w", dir, err)
	}
	return nil
}

// strip removes the broken line.
func strip(text string) string { return strings.Replace(text, brokenLine+"\n", "", 1) }

// compare runs wire's own diff over every folder and joins what differs.
func compare(ctx context.Context, out io.Writer, tool wireTool, injectors []string) error {
	var differs []error
	for _, dir := range injectors {
		if err := tool.compare(ctx, dir); err != nil {
			differs = append(differs, err)
		}
	}
	if len(differs) == 0 {
		fmt.Fprintf(out, "wire: %d injector packages are as generated\n", len(injectors))
	}
	return errors.Join(differs...)
}

// compare tells how the wire_gen.go of one folder differs from what wire makes, the broken line
// apart, which must not be there.
func (t wireTool) compare(ctx context.Context, dir string) error {
	code, stdout, stderr, err := t.run(ctx, dir, "diff")
	switch {
	case err != nil:
		return err
	case code == 0:
		return fmt.Errorf("%s: %w", filepath.Join(dir, generatedName), errBroken)
	case code != 1:
		return fmt.Errorf("compare %s: %w:\n%s", dir, errWire, stderr)
	case !onlyBroken(stdout):
		return fmt.Errorf("%s: %w:\n%s", filepath.Join(dir, generatedName), errDiffers, stdout)
	}
	return nil
}

// onlyBroken reports whether a unified diff adds the broken line and changes nothing else.
func onlyBroken(diff string) bool {
	var changes []string
	for line := range strings.Lines(diff) {
		if line[0] == '+' || line[0] == '-' {
			changes = append(changes, strings.TrimRight(line, "\n"))
		}
	}
	return len(changes) == 1 && changes[0] == "+"+brokenLine
}
