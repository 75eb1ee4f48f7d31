package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// event is one line of go test -json (cmd/test2json).
type event struct {
	Action, Package, Test, Output, ImportPath string
}

// report gathers the events of one go test run.
type report struct {
	outcome map[string]string           // "package test" → pass, fail, skip
	parents map[string]bool             // tests that have subtests
	output  map[string]*strings.Builder // of a test, a package or a build
	failed  []string                    // packages that failed, in order
}

func newReport() *report {
	return &report{outcome: map[string]string{}, parents: map[string]bool{}, output: map[string]*strings.Builder{}}
}

// read consumes the stream; lines that are no events (build errors of old forms) are kept as text.
func (r *report) read(in io.Reader, log io.Writer) error {
	scan := bufio.NewScanner(in)
	scan.Buffer(nil, 16<<20)
	for scan.Scan() {
		line := scan.Bytes()
		if log != nil {
			fmt.Fprintf(log, "%s\n", line)
		}
		var e event
		if json.Unmarshal(line, &e) != nil {
			r.text("", string(line)+"\n")
			continue
		}
		r.take(e)
	}
	return scan.Err()
}

func (r *report) take(e event) {
	key := e.Package
	if e.Test != "" {
		key += " " + e.Test
		if i := strings.LastIndexByte(e.Test, '/'); i >= 0 {
			r.parents[e.Package+" "+e.Test[:i]] = true
		}
	}
	switch e.Action {
	case "output":
		r.text(key, e.Output)
	case "build-output":
		r.text(e.ImportPath, e.Output)
	case "pass", "fail", "skip":
		if e.Test != "" {
			r.outcome[key] = e.Action
		} else if e.Action == "fail" {
			r.failed = append(r.failed, e.Package)
		}
	}
}

func (r *report) text(key, s string) {
	b := r.output[key]
	if b == nil {
		b = &strings.Builder{}
		r.output[key] = b
	}
	b.WriteString(s)
}

func (r *report) of(key string) string {
	if b := r.output[key]; b != nil {
		return b.String()
	}
	return ""
}

// count tallies leaf tests; a package that failed without a failing test (it did not build, its
// TestMain found a leak, it timed out) counts as one failure.
func (r *report) count() (*tally, []failure) {
	t := &tally{}
	var failures []failure
	blamed := map[string]bool{}
	keys := make([]string, 0, len(r.outcome))
	for key := range r.outcome {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	for _, key := range keys {
		pkg, test, _ := strings.Cut(key, " ")
		if r.outcome[key] == "fail" {
			blamed[pkg] = true
			if !r.parents[key] || r.leafPassed(key) {
				failures = append(failures, failure{key, r.of(key), repeatTest(pkg, test)})
			}
		}
		if r.parents[key] {
			continue
		}
		switch r.outcome[key] {
		case "pass":
			t.passed++
		case "skip":
			t.skipped++
		default:
			t.failed++
		}
	}
	for _, pkg := range r.failed {
		if blamed[pkg] {
			continue
		}
		t.failed++
		text := r.of(pkg)
		for key, b := range r.output {
			if strings.HasPrefix(key, pkg+" [") || key == pkg+".test" {
				text += b.String()
			}
		}
		failures = append(failures, failure{pkg, text + r.of(""), "go test -count=1 " + pkg})
	}
	return t, failures
}

// leafPassed reports whether a failed parent has no failed child: it failed in its own lines.
func (r *report) leafPassed(parent string) bool {
	for key, outcome := range r.outcome {
		if outcome == "fail" && strings.HasPrefix(key, parent+"/") {
			return false
		}
	}
	return true
}

func repeatTest(pkg, test string) string {
	parts := strings.Split(test, "/")
	for i, p := range parts {
		parts[i] = "^" + p + "$"
	}
	return fmt.Sprintf("go test -count=1 -run '%s' %s", strings.Join(parts, "/"), pkg)
}

// goTest runs go test -json in a folder and reads its events.
func goTest(ctx context.Context, w *workspace, dir, logFile string, env []string, args ...string) (*tally, []failure, error) {
	cmd := w.command(ctx, dir, env, append([]string{"go", "test", "-json", "-count=1"}, args...)...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	var log io.Writer
	if logFile != "" {
		f, err := os.OpenFile(logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		if err != nil {
			return nil, nil, err
		}
		defer f.Close()
		log = f
	}
	if err := cmd.Start(); err != nil {
		return nil, nil, err
	}
	r := newReport()
	readErr := r.read(pipe, log)
	waitErr := cmd.Wait()
	counts, failures := r.count()
	w.remember(r.outcome)
	if waitErr != nil && len(failures) == 0 {
		return counts, failures, fmt.Errorf("go test: %w\n%s%s", waitErr, stderr.String(), r.of(""))
	}
	return counts, failures, readErr
}

// canRace reports whether the race detector can be built: it needs cgo and a C compiler.
func canRace(w *workspace) bool {
	out, err := w.output(".", nil, "go", "env", "CGO_ENABLED", "CC")
	if err != nil {
		return false
	}
	fields := strings.Fields(string(out))
	if len(fields) < 2 || fields[0] != "1" {
		return false
	}
	_, err = exec.LookPath(fields[1])
	return err == nil
}
