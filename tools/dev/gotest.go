package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
)

// event is one line of go test -json (cmd/test2json).
type event struct {
	Action, Package, Test, Output, ImportPath string
}

// report gathers the events of one go test run.
type report struct {
	command string // what repeats a test or a package, up to their names

	outcome map[string]string           // "package test" → pass, fail, skip
	parents map[string]bool             // tests that have subtests
	output  map[string]*strings.Builder // of a test, a package or a build
	failed  []string                    // packages that failed, in order
}

func newReport(command string) *report {
	return &report{command: command, outcome: map[string]string{}, parents: map[string]bool{}, output: map[string]*strings.Builder{}}
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
		for i, c := range []byte(e.Test) { // a name may hold slashes of its own: all that is before one may be a parent
			if c == '/' {
				r.parents[e.Package+" "+e.Test[:i]] = true
			}
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

// count tallies leaf tests. A parent that failed in its own lines counts as one failure, and so does
// a package that failed without a failing test: it did not build, its TestMain found a leak.
func (r *report) count() result {
	var out result
	blamed := map[string]bool{}
	for _, key := range slices.Sorted(maps.Keys(r.outcome)) {
		pkg, test, _ := strings.Cut(key, " ")
		parent := r.parents[key]
		switch r.outcome[key] {
		case "fail":
			blamed[pkg] = true
			if !parent || r.leavesPassed(key) {
				out.fail(note{key, r.of(key), r.repeat(pkg, test)})
			}
		case "skip":
			if !parent {
				out.skipped++
				out.skips = append(out.skips, note{key, r.of(key), r.repeat(pkg, test)})
			}
		default:
			if !parent {
				out.passed++
			}
		}
	}
	for _, pkg := range r.failed {
		if !blamed[pkg] {
			out.fail(note{pkg, r.ofPackage(pkg), r.repeat(pkg, "")})
		}
	}
	return out
}

// ofPackage is what a package printed outside of its tests, and what its build said.
func (r *report) ofPackage(pkg string) string {
	text := r.of(pkg)
	for _, key := range slices.Sorted(maps.Keys(r.output)) {
		if strings.HasPrefix(key, pkg+" [") || key == pkg+".test" {
			text += r.of(key)
		}
	}
	return text + r.of("")
}

// leavesPassed reports whether a failed parent has no failed child: it failed in its own lines.
func (r *report) leavesPassed(parent string) bool {
	for key, outcome := range r.outcome {
		if outcome == "fail" && strings.HasPrefix(key, parent+"/") {
			return false
		}
	}
	return true
}

// shuffleSeed is what go test tells of the order of a package's tests before the first one.
var shuffleSeed = regexp.MustCompile(`(?m)^-test\.shuffle (\d+)$`)

// selection are the flags of a pass that choose tests by name.
var selection = regexp.MustCompile(` '-(run|skip)=[^']*'| -(run|skip)=\S+`)

// repeat is the command that runs one test, or a whole package, once more, in the order of this run.
func (r *report) repeat(pkg, test string) string {
	command := r.command
	if m := shuffleSeed.FindStringSubmatch(r.of(pkg)); m != nil {
		command = strings.Replace(command, shuffled, "-shuffle="+m[1], 1)
	}
	if test == "" {
		return command + " " + pkg
	}
	command = selection.ReplaceAllString(command, "")
	parts := strings.Split(test, "/")
	for i, p := range parts {
		parts[i] = "^" + regexp.QuoteMeta(p) + "$"
	}
	return fmt.Sprintf("%s -run %s %s", command, shellQuote(strings.Join(parts, "/")), pkg)
}

func shellQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// goTest runs go test -json with flags over packages in a folder and reads its events.
func goTest(ctx context.Context, w *workspace, dir, logFile string, env, flags []string, packages ...string) (result, error) {
	args := slices.Concat([]string{"go", "test", "-json", "-count=1"}, flags, packages)
	cmd := w.command(ctx, dir, env, args...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return result{}, err
	}
	var log io.Writer
	if logFile != "" {
		f, err := os.OpenFile(logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		if err != nil {
			return result{}, err
		}
		defer f.Close()
		log = f
	}
	if err := cmd.Start(); err != nil {
		return result{}, err
	}
	r := newReport(repeatCommand(dir, env, flags))
	readErr := r.read(pipe, log)
	waitErr := cmd.Wait()
	out := r.count()
	out.outcomes = r.outcome
	switch {
	case readErr != nil:
		return out, fmt.Errorf("read what go test says: %w", readErr)
	case waitErr != nil && out.failed == 0:
		return out, fmt.Errorf("go test: %w\n%s%s", waitErr, stderr.String(), r.of(""))
	}
	return out, nil
}

// repeatCommand is go test as the root of the checkout would run it, less the names.
func repeatCommand(dir string, env, flags []string) string {
	words := slices.Concat(env, []string{"go", "test", "-count=1"})
	for _, f := range flags {
		if strings.ContainsAny(f, "|()$^*") {
			f = shellQuote(f)
		}
		words = append(words, f)
	}
	if dir != "." {
		words = slices.Concat([]string{"cd", dir, "&&"}, words)
	}
	return strings.Join(words, " ")
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
