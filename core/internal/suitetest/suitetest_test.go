package suitetest_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/granary-go/granary/core/internal/suitetest"
	"github.com/granary-go/granary/core/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

func TestRecord(t *testing.T) {
	var order []string
	rows := []suitetest.Row{
		{Promise: "kept", Check: func(t testing.TB) {
			ctx := t.Context()
			t.Cleanup(func() { order = append(order, "first registered") })
			t.Cleanup(func() {
				if ctx.Err() == nil {
					t.Error("the context outlives the check")
				}
				order = append(order, "last registered")
			})
		}},
		{Promise: "fatal", Check: func(t testing.TB) { t.Fatalf("no %d", 1); t.Error("goes on") }},
		{Promise: "two", Check: func(t testing.TB) { t.Error("a", 1); t.Errorf("b") }},
		{Promise: "panics", Check: func(testing.TB) { panic("boom") }},
		{Promise: "fails", Check: func(t testing.TB) { t.Fail() }},
		{Promise: "not promised", Skip: "why", Check: func(testing.TB) { panic("skipped") }},
	}
	for _, bubble := range []bool{false, true} {
		got := suitetest.Record(t, bubble, rows)
		if len(got) != 5 || len(got["kept"]) != 0 {
			t.Errorf("bubble %v: %q", bubble, got)
		}
		if want := []string{"no 1"}; !slices.Equal(got["fatal"], want) {
			t.Errorf("bubble %v: fatal: %q, want %q", bubble, got["fatal"], want)
		}
		if len(got["two"]) != 2 || len(got["fails"]) != 1 || !strings.Contains(got["panics"][0], "boom") {
			t.Errorf("bubble %v: %q", bubble, got)
		}
	}
	if want := []string{"last registered", "first registered"}; !slices.Equal(order[:2], want) {
		t.Errorf("cleanups ran as %q, want %q", order[:2], want)
	}
}

func TestRunPrintsNothingWrong(t *testing.T) {
	ran := 0
	rows := []suitetest.Row{
		{Promise: "one", Check: func(t testing.TB) {
			time.Sleep(time.Hour) // costs nothing in a bubble
			ran++
		}},
		{Promise: "other", Skip: "not promised"},
	}
	suitetest.Run(t, true, rows)
	if ran != 1 {
		t.Errorf("ran %d checks, want 1", ran)
	}
	if got, want := suitetest.Summary(rows), "checked: one; skipped: other (not promised)"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got, want := suitetest.Summary(rows[:1]), "checked: one; skipped: nothing"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestGroup(t *testing.T) {
	var g suitetest.Group
	if left := g.Left(0); left != nil {
		t.Errorf("left %q before start", left)
	}
	stop := make(chan struct{})
	env := suitetest.NewEnv("n", &g)
	env.Go("b", func() { <-stop })
	env.Go("a", func() { <-stop })
	env.Go("a", func() { <-stop })
	if left := g.Left(time.Millisecond); !slices.Equal(left, []string{"a", "b"}) {
		t.Errorf("left %q", left)
	}
	close(stop)
	if left := g.Left(time.Minute); left != nil {
		t.Errorf("left %q", left)
	}
}

func TestContexts(t *testing.T) {
	if err := suitetest.Ended(t).Err(); err != context.Canceled {
		t.Error(err)
	}
	if _, ok := suitetest.WithTimeout(t, time.Minute).Deadline(); !ok {
		t.Error("no deadline")
	}
	if a, b := suitetest.NewEnv("n", nil), suitetest.NewEnv("n", nil); a.Rand.Uint64() != b.Rand.Uint64() {
		t.Error("one name, two streams")
	}
	if c := suitetest.NewClock(); c.Elapsed() < 0 || c.Now().IsZero() || !c.AfterFunc(time.Hour, func() {})() {
		t.Error("clock")
	}
}
