package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
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

// run runs one command of wire over the packages in folders below dir, all at once, since wire reads
// everything that they import each time. Code is its exit code.
func (t wireTool) run(ctx context.Context, command, dir string, folders []string) (code int, stdout, stderr string, err error) {
	args := []string{command}
	for _, f := range folders {
		rel, err := filepath.Rel(dir, f)
		if err != nil {
			return 0, "", "", fmt.Errorf("run wire in %s: %w", dir, err)
		}
		args = append(args, "./"+filepath.ToSlash(rel))
	}
	cmd := exec.CommandContext(ctx, t.bin, args...)
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

// generate writes the wire_gen.go of every folder below dir, without the broken line.
func (t wireTool) generate(ctx context.Context, dir string, folders []string) error {
	if len(folders) == 0 {
		return nil
	}
	code, _, stderr, err := t.run(ctx, "gen", dir, folders)
	if err != nil {
		return err
	}
	if code != 0 {
		return fmt.Errorf("generate: %w:\n%s", errWire, stderr)
	}
	for _, f := range folders {
		path := filepath.Join(f, generatedName)
		text, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("generate %s: %w", f, err)
		}
		if err := os.WriteFile(path, []byte(strip(string(text))), 0o644); err != nil {
			return fmt.Errorf("generate %s: %w", f, err)
		}
	}
	return nil
}

// strip removes the broken line.
func strip(text string) string { return strings.Replace(text, brokenLine+"\n", "", 1) }

// compare runs wire's own diff over every folder below dir and tells how each wire_gen.go differs
// from what wire makes, the broken line apart, which must not be there.
func (t wireTool) compare(ctx context.Context, dir string, folders []string) error {
	if len(folders) == 0 {
		return nil
	}
	code, stdout, stderr, err := t.run(ctx, "diff", dir, folders)
	if err != nil {
		return err
	}
	if code != 0 && code != 1 {
		return fmt.Errorf("compare: %w:\n%s", errWire, stderr)
	}
	diffs := splitDiffs(stdout)
	var wrong []error
	for _, f := range folders {
		path := filepath.Join(f, generatedName)
		diff, differs := diffs[path]
		switch {
		case !differs:
			wrong = append(wrong, fmt.Errorf("%s: %w", path, errBroken))
		case !onlyBroken(diff):
			wrong = append(wrong, fmt.Errorf("%s: %w:\n%s", path, errDiffers, diff))
		}
	}
	return errors.Join(wrong...)
}

// diffHeader stands before the diff of each package.
var diffHeader = regexp.MustCompile(`(?m)^\S+: diff from (.+):$`)

// splitDiffs cuts the output of wire's diff into one unified diff a file, by its path.
func splitDiffs(out string) map[string]string {
	diffs := make(map[string]string)
	headers := diffHeader.FindAllStringSubmatchIndex(out, -1)
	for i, h := range headers {
		end := len(out)
		if i+1 < len(headers) {
			end = headers[i+1][0]
		}
		diffs[out[h[2]:h[3]]] = strings.TrimSpace(out[h[1]:end]) + "\n"
	}
	return diffs
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
