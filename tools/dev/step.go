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

// note is one thing to tell at the end: what it printed, and the command that repeats it.
type note struct{ name, text, repeat string }

// result is what came of one step: the counts, and what failed and what was skipped, one by one.
type result struct {
	tally
	failures, skips []note
	outcomes        map[string]string // of Go tests, by "package test"; nil: none
}

func (r *result) add(o result) {
	r.passed += o.passed
	r.failed += o.failed
	r.skipped += o.skipped
	r.failures = append(r.failures, o.failures...)
	r.skips = append(r.skips, o.skips...)
}

// fail counts one failure that no test stands for.
func (r *result) fail(n note) {
	r.failed++
	r.failures = append(r.failures, n)
}

// step is one check of make test. Do returns what its Go tests came to; an error is one failure more.
type step struct {
	name   string
	repeat string // the command that repeats it by hand
	do     func(context.Context) (result, error)
}

// check makes a step of a function that knows only success and failure.
func check(name, repeat string, f func(context.Context) error) step {
	return step{name, repeat, func(ctx context.Context) (result, error) {
		err := f(ctx)
		if err != nil {
			return result{}, err
		}
		return result{tally: tally{passed: 1}}, nil
	}}
}

// runSteps runs the steps that match in order, prints one line each, and repeats failures at the end.
// The last line is the count. The answer is the exit code.
func runSteps(ctx context.Context, out io.Writer, steps []step, only *regexp.Regexp) int {
	var total result
	var names []string
	ran := false
	for _, s := range steps {
		names = append(names, s.name)
		if !only.MatchString(s.name) {
			continue
		}
		ran = true
		if ctx.Err() != nil {
			total.fail(note{s.name, "interrupted", s.repeat})
			break
		}
		total.add(runStep(ctx, out, s))
	}
	if !ran {
		total.fail(note{name: fmt.Sprintf("no step matches %q; the steps are", only), text: strings.Join(names, "\n")})
	}
	tell(out, "SKIPPED", total.skips)
	tell(out, "FAILED", total.failures)
	fmt.Fprintf(out, "%d passed, %d failed, %d skipped\n", total.passed, total.failed, total.skipped)
	if total.failed > 0 || os.Getenv("CI") != "" && total.skipped > 0 {
		return 1
	}
	return 0
}

func runStep(ctx context.Context, out io.Writer, s step) result {
	fmt.Fprintf(out, "step %s … ", s.name)
	start := time.Now()
	r, err := s.do(ctx)
	if err != nil {
		r.fail(note{s.name, err.Error(), s.repeat})
	}
	fmt.Fprintf(out, "%s %.1fs\n", verdict(r.tally), time.Since(start).Seconds())
	return r
}

func verdict(t tally) string {
	switch {
	case t.failed > 0:
		return "FAILED"
	case t.passed+t.skipped > 1:
		return fmt.Sprintf("ok (%d passed, %d skipped)", t.passed, t.skipped)
	}
	return "ok"
}

func tell(out io.Writer, word string, notes []note) {
	for _, n := range notes {
		fmt.Fprintf(out, "\n%s %s\n%s\n", word, n.name, indent(tail(n.text, 200)))
		if n.repeat != "" {
			fmt.Fprintf(out, "  repeat: %s\n", n.repeat)
		}
	}
	if len(notes) > 0 {
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
