package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"time"
)

// tally counts what ran. A step that is not a Go test counts as one.
type tally struct{ passed, failed, skipped int }

func (t *tally) add(o tally) {
	t.passed += o.passed
	t.failed += o.failed
	t.skipped += o.skipped
}

// failure is one thing that went wrong: what it printed, and the command that repeats it.
type failure struct{ name, text, repeat string }

// step is one check of make test. Do returns counts of Go tests, or nil where the step itself is
// the test; an error fails the step.
type step struct {
	name   string
	repeat string // the command that repeats it by hand
	do     func(context.Context) (*tally, []failure, error)
}

// check makes a step of a function that knows only success and failure.
func check(name, repeat string, f func(context.Context) error) step {
	return step{name, repeat, func(ctx context.Context) (*tally, []failure, error) { return nil, nil, f(ctx) }}
}

// runSteps runs the steps that match in order, prints one line each, and repeats failures at the end.
func runSteps(ctx context.Context, out io.Writer, steps []step, only *regexp.Regexp) int {
	var total tally
	var failures []failure
	for _, s := range steps {
		if !only.MatchString(s.name) {
			continue
		}
		if ctx.Err() != nil {
			failures = append(failures, failure{s.name, "interrupted", s.repeat})
			total.failed++
			break
		}
		fmt.Fprintf(out, "step %s … ", s.name)
		start := time.Now()
		counts, failed, err := s.do(ctx)
		took := time.Since(start).Seconds()
		if err != nil {
			failed = append(failed, failure{s.name, err.Error(), s.repeat})
		}
		if counts == nil {
			counts = &tally{passed: 1}
			if len(failed) > 0 {
				counts = &tally{failed: 1}
			}
		}
		total.add(*counts)
		failures = append(failures, failed...)
		fmt.Fprintf(out, "%s %.1fs\n", verdict(counts, failed), took)
	}
	printFailures(out, failures)
	fmt.Fprintf(out, "%d passed, %d failed, %d skipped\n", total.passed, total.failed, total.skipped)
	if total.failed > 0 || len(failures) > 0 || os.Getenv("CI") != "" && total.skipped > 0 {
		return 1
	}
	return 0
}

func verdict(t *tally, failed []failure) string {
	switch {
	case len(failed) > 0 || t.failed > 0:
		return "FAILED"
	case t.passed+t.skipped > 1:
		return fmt.Sprintf("ok (%d passed, %d skipped)", t.passed, t.skipped)
	}
	return "ok"
}

func printFailures(out io.Writer, failures []failure) {
	for _, f := range failures {
		fmt.Fprintf(out, "\nFAILED %s\n%s\n", f.name, indent(tail(f.text, 200)))
		if f.repeat != "" {
			fmt.Fprintf(out, "  repeat: %s\n", f.repeat)
		}
	}
	if len(failures) > 0 {
		fmt.Fprintln(out)
	}
}

func indent(text string) string {
	return "  " + strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n  ")
}

// tail keeps the last n lines: the end of a log names the cause.
func tail(text string, n int) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	if len(lines) <= n {
		return text
	}
	return fmt.Sprintf("(%d lines before)\n%s", len(lines)-n, strings.Join(lines[len(lines)-n:], "\n"))
}
