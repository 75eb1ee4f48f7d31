package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
)

// fuzzTarget is one Fuzz function of one package.
type fuzzTarget struct{ module, dir, name string }

var (
	fuzzFunc  = regexp.MustCompile(`(?m)^func (Fuzz\w+)\(\w+ \*testing\.F\)`)
	fuzzLine  = regexp.MustCompile(`execs: (\d+).*new interesting: (\d+)`)
	fuzzCrash = regexp.MustCompile(`Failing input written to (\S+)`)

	// fuzzTimeUp is how go test before Go 1.27 may end when the time is over and nothing was found
	// (go.dev/issue/75804).
	fuzzTimeUp = regexp.MustCompile(`(?m)^--- FAIL: \w+ \([\d.]+s\)\n    context deadline exceeded\nFAIL$`)
)

// findFuzz finds every Fuzz target of every module.
func findFuzz(w *workspace) ([]fuzzTarget, error) {
	var targets []fuzzTarget
	for _, m := range w.modules {
		err := filepath.WalkDir(w.path(m), func(path string, d os.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if d.IsDir() && d.Name() == "testdata" {
				return filepath.SkipDir
			}
			if !strings.HasSuffix(path, "_test.go") {
				return nil
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			dir, err := filepath.Rel(w.path(m), filepath.Dir(path))
			if err != nil {
				return err
			}
			for _, found := range fuzzFunc.FindAllSubmatch(text, -1) {
				targets = append(targets, fuzzTarget{m, "./" + filepath.ToSlash(dir), string(found[1])})
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return targets, nil
}

// fuzzAmount is how much each target is given, as -fuzztime of go test has it: a time, 10s, or a number
// of inputs, 400x.
type fuzzAmount string

func (a *fuzzAmount) String() string { return string(*a) }

// Set takes a positive time or number.
func (a *fuzzAmount) Set(text string) error {
	d, err := time.ParseDuration(text)
	if count, inputs := strings.CutSuffix(text, "x"); inputs {
		var n int64
		n, err = strconv.ParseInt(count, 10, 64)
		d = time.Duration(n)
	}
	if err != nil || d <= 0 {
		return fmt.Errorf("%q is neither a time such as 10s nor a number of inputs such as 400x", text)
	}
	*a = fuzzAmount(text)
	return nil
}

// fuzzAll is make fuzz: it gives each target so much and prints a line of what it did.
func fuzzAll(ctx context.Context, w *workspace, pattern *regexp.Regexp, amount fuzzAmount) int {
	targets, err := findFuzz(w)
	if err == nil {
		err = decodersHaveTargets(w, targets)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	var count, execs, crashes int
	for _, t := range targets {
		if !pattern.MatchString(t.name) {
			continue
		}
		n, crash := fuzzOne(ctx, w, t, amount)
		count, execs = count+1, execs+n
		if crash {
			crashes++
		}
	}
	if count == 0 {
		fmt.Fprintf(os.Stderr, "no target matches %q\n", pattern)
	}
	fmt.Printf("%d targets, %d execs, %d crashes\n", count, execs, crashes)
	if crashes > 0 || count == 0 {
		return 1
	}
	return 0
}

// fuzzed is what came of fuzzing one target.
type fuzzed struct {
	execs, fresh int
	err          error  // nil: nothing was found
	input        string // file of the input that failed; empty: none was written
}

// fuzzOne runs one target and prints its line; an interrupted or broken run counts as a crash.
func fuzzOne(ctx context.Context, w *workspace, t fuzzTarget, amount fuzzAmount) (execs int, crashed bool) {
	start := time.Now()
	r := judgeFuzz(w.combined(ctx, t.module, nil, "go", "test", t.dir, "-run=^$", "-fuzz=^"+t.name+"$", "-fuzztime="+string(amount), "-parallel=2"))
	verdict := "ok"
	switch {
	case r.input != "":
		verdict = "CRASH " + filepath.ToSlash(filepath.Join(t.module, t.dir, r.input))
	case r.err != nil:
		verdict = "CRASH\n" + indent(tail(r.err.Error(), 40))
	}
	fmt.Printf("%s %s %d %d %.1f %s\n", t.folder(), t.name, r.execs, r.fresh, time.Since(start).Seconds(), verdict)
	return r.execs, r.err != nil
}

// judgeFuzz reads what go test -fuzz printed before it ended with err. A run that did not even begin
// has shown nothing.
func judgeFuzz(out string, err error) fuzzed {
	var r fuzzed
	for _, m := range fuzzLine.FindAllStringSubmatch(out, -1) {
		_, _ = fmt.Sscan(m[1], &r.execs)
		_, _ = fmt.Sscan(m[2], &r.fresh)
	}
	if m := fuzzCrash.FindStringSubmatch(out); m != nil {
		r.input = m[1]
	}
	switch {
	case err != nil && (r.input != "" || !fuzzTimeUp.MatchString(out)):
		r.err = err
	case err != nil && r.execs > 0:
	case !strings.Contains(out, "fuzz: elapsed: "):
		r.err = fmt.Errorf("nothing was fuzzed:\n%s", out)
	case r.execs == 0:
		r.err = fmt.Errorf("not one input was tried; a larger FUZZTIME gives it the time:\n%s", out)
	}
	return r
}

// folder is where t is, from the root.
func (t fuzzTarget) folder() string { return filepath.ToSlash(filepath.Join(t.module, t.dir)) }

// decodersHaveTargets reads tools/decoders.txt, the list of decoders that the network can reach,
// and checks that each has its fuzz target. A line is "folder FuzzName".
func decodersHaveTargets(w *workspace, targets []fuzzTarget) error {
	f, err := os.Open(w.path("tools", "decoders.txt"))
	if err != nil {
		return err
	}
	defer f.Close()
	have := map[string]bool{}
	for _, t := range targets {
		have[t.folder()+" "+t.name] = true
	}
	var missing []string
	scan := bufio.NewScanner(f)
	for scan.Scan() {
		line := strings.TrimSpace(scan.Text())
		if line != "" && !strings.HasPrefix(line, "#") && !have[line] {
			missing = append(missing, line)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("decoders without a fuzz target:\n%s", strings.Join(missing, "\n"))
	}
	return scan.Err()
}

// shortExecs is how many inputs a target gets in the short form. It is a count and not a time, since
// a fuzzer that is stopped by its time limit while it works on an input reports that as a failure.
const shortExecs = "400x"

// fuzzShort is that form as a step, repeated by as many inputs.
func fuzzShort(w *workspace) step {
	return check("fuzz-short", "make fuzz FUZZTIME="+shortExecs, func(ctx context.Context) error { return fuzzError(ctx, w) })
}

// fuzzError is the short form inside make test: each package is built once, two at a time, and each of
// its targets gets some new inputs.
func fuzzError(ctx context.Context, w *workspace) error {
	targets, err := findFuzz(w)
	if err != nil {
		return err
	}
	if err := decodersHaveTargets(w, targets); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "granary-fuzz-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	packages := make(chan []fuzzTarget)
	errs := make(chan error, len(targets))
	var workers sync.WaitGroup
	for n := range 2 {
		workers.Go(func() {
			for list := range packages {
				errs <- fuzzPackage(ctx, w, list, filepath.Join(dir, fmt.Sprint(n)))
			}
		})
	}
	for _, list := range byPackage(targets) {
		packages <- list
	}
	close(packages)
	workers.Wait()
	close(errs)
	var all []error
	for err := range errs {
		all = append(all, err)
	}
	return errors.Join(all...)
}

func byPackage(targets []fuzzTarget) [][]fuzzTarget {
	var out [][]fuzzTarget
	at := map[string]int{}
	for _, t := range targets {
		key := t.module + " " + t.dir
		i, seen := at[key]
		if !seen {
			i = len(out)
			at[key] = i
			out = append(out, nil)
		}
		out[i] = append(out[i], t)
	}
	return out
}

// fuzzPackage builds the instrumented test program of one package and runs its targets.
func fuzzPackage(ctx context.Context, w *workspace, targets []fuzzTarget, scratch string) error {
	first := targets[0]
	program := scratch + ".test"
	if _, err := w.combined(ctx, first.module, nil, "go", "test", "-c", "-fuzz=Fuzz", "-o", program, first.dir); err != nil {
		return err
	}
	for _, t := range targets {
		r := judgeFuzz(w.combined(ctx, filepath.Join(t.module, t.dir), nil, program, "-test.run=^$", "-test.fuzz=^"+t.name+"$",
			"-test.fuzztime="+shortExecs, "-test.parallel=1", "-test.fuzzcachedir="+scratch+".cache"))
		if r.err != nil {
			return fmt.Errorf("%s %s: %w", t.folder(), t.name, r.err)
		}
	}
	return nil
}
