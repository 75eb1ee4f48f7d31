// Package suitetest is what the conformance suites of core share: a suite is a list of promises,
// each with a check. Run checks an implementation; Record runs the same checks against a recorder, so
// that a test can see that they fail.
package suitetest

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
)

// Row is one promise and the check that tests it.
type Row struct {
	Promise string             // a sentence; also the name of the subtest
	Skip    string             // why it is not checked; empty: it is
	Check   func(t testing.TB) // fails t if the promise is broken
}

// Run checks every row in a subtest of its own, and prints which promises were checked and which
// skipped. With bubble, each check runs in a bubble of testing/synctest.
func Run(t *testing.T, bubble bool, rows []Row) {
	t.Helper()
	for _, row := range rows {
		if row.Skip != "" {
			continue
		}
		t.Run(row.Promise, func(t *testing.T) { within(t, bubble, func(t *testing.T) { row.Check(t) }) })
	}
	t.Log(Summary(rows))
}

// Summary is "checked: a, b; skipped: c (why)".
func Summary(rows []Row) string {
	var checked, skipped []string
	for _, row := range rows {
		if row.Skip == "" {
			checked = append(checked, row.Promise)
		} else {
			skipped = append(skipped, row.Promise+" ("+row.Skip+")")
		}
	}
	if len(skipped) == 0 {
		skipped = []string{"nothing"}
	}
	return "checked: " + strings.Join(checked, ", ") + "; skipped: " + strings.Join(skipped, ", ")
}

// Record runs the checks of the rows that are not skipped against recorders, and returns what each
// complained about, by promise. A check without complaint has an empty list.
func Record(t *testing.T, bubble bool, rows []Row) map[string][]string {
	t.Helper()
	out := map[string][]string{}
	for _, row := range rows {
		if row.Skip != "" {
			continue
		}
		within(t, bubble, func(t *testing.T) { out[row.Promise] = record(t, row.Check) })
	}
	return out
}

// Broken runs the checks against recorders and returns the promises that were found broken.
func Broken(t *testing.T, bubble bool, rows []Row) []string {
	t.Helper()
	var out []string
	complaints := Record(t, bubble, rows)
	for _, row := range rows {
		if len(complaints[row.Promise]) > 0 {
			out = append(out, row.Promise)
		}
	}
	return out
}

// MustFail runs the checks against recorders and fails t for each promise that was not found broken.
func MustFail(t *testing.T, bubble bool, rows []Row) {
	t.Helper()
	complaints := Record(t, bubble, rows)
	for _, row := range rows {
		switch {
		case row.Skip != "":
			t.Errorf("%q was skipped (%s): the twin does not promise everything", row.Promise, row.Skip)
		case len(complaints[row.Promise]) == 0:
			t.Errorf("%q was found kept by a twin that keeps nothing", row.Promise)
		default:
			first, _, _ := strings.Cut(complaints[row.Promise][0], "\n")
			t.Logf("%s: %s", row.Promise, first)
		}
	}
}

func within(t *testing.T, bubble bool, f func(t *testing.T)) {
	t.Helper()
	if bubble {
		synctest.Test(t, f)
		return
	}
	f(t)
}

// record runs check on a goroutine of its own, since a fatal failure ends the goroutine.
func record(t *testing.T, check func(testing.TB)) []string {
	ctx, cancel := context.WithCancel(t.Context())
	r := &recorder{TB: t, ctx: ctx}
	r.apart(func() { check(r) })
	cancel() // as testing does: the context of a test ends before its cleanups
	for {
		f := r.lastCleanup()
		if f == nil {
			break
		}
		r.apart(f)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.complaints
}

// recorder is a testing.TB that keeps complaints instead of failing.
type recorder struct {
	testing.TB
	ctx context.Context

	mu         sync.Mutex // guards what follows
	complaints []string
	cleanups   []func()
}

func (r *recorder) apart(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if v := recover(); v != nil {
				r.complain(fmt.Sprintf("panic: %v\n%s", v, debug.Stack()))
			}
		}()
		f()
	}()
	<-done
}

func (r *recorder) complain(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.complaints = append(r.complaints, text)
}

func (r *recorder) lastCleanup() func() {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := len(r.cleanups)
	if n == 0 {
		return nil
	}
	f := r.cleanups[n-1]
	r.cleanups = r.cleanups[:n-1]
	return f
}

func (r *recorder) Cleanup(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cleanups = append(r.cleanups, f)
}

func (r *recorder) Failed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.complaints) > 0
}

func (r *recorder) Helper()                           {}
func (r *recorder) Context() context.Context          { return r.ctx }
func (r *recorder) Log(...any)                        {}
func (r *recorder) Logf(string, ...any)               {}
func (r *recorder) Fail()                             { r.complain("failed") }
func (r *recorder) FailNow()                          { r.Fail(); runtime.Goexit() }
func (r *recorder) Error(args ...any)                 { r.complain(fmt.Sprint(args...)) }
func (r *recorder) Errorf(format string, args ...any) { r.complain(fmt.Sprintf(format, args...)) }
func (r *recorder) Fatal(args ...any)                 { r.Error(args...); runtime.Goexit() }
func (r *recorder) Fatalf(format string, args ...any) { r.Errorf(format, args...); runtime.Goexit() }
