package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/granary-go/granary/core/leaktest"
)

// TestMain lets this binary be the child of a run, as the program does.
func TestMain(m *testing.M) {
	if os.Getenv(childVariable) != "" {
		main()
	}
	leaktest.Main(m)
}

// One round with the provider that needs no server goes through everything that is measured.
func TestMemberlist(t *testing.T) {
	file := filepath.Join(t.TempDir(), "doc.md")
	if err := os.WriteFile(file, []byte("before\n<!-- figures memberlist -->\nold\n<!-- end memberlist -->\nafter\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	var out, errs strings.Builder
	if code := run(t.Context(), []string{"-provider", "memberlist", "-rounds", "1", "-write", file}, &out, &errs); code != 0 {
		t.Fatalf("exit %d: %s", code, errs.String())
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"before\n<!-- figures memberlist -->\n| figure | Granary |\n|---|---|\n| " + visible + " | ", "| " + expired + " | ", "| " + voted + " | ", "|\n<!-- end memberlist -->\nafter\n"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
}

func TestWrongUse(t *testing.T) {
	for _, args := range [][]string{nil, {"-provider", "etcd"}, {"-provider", "redis", "-rounds", "0"}, {"-what"}, {"-provider", "redis", "more"}} {
		var out, errs strings.Builder
		if code := run(t.Context(), args, &out, &errs); code != 2 || errs.Len() == 0 {
			t.Errorf("%q: exit %d, %q", args, code, errs.String())
		}
	}
}

func TestTable(t *testing.T) {
	got := table(figures{visible: "1 ms", load: "2.0"}, figures{visible: "3 ms"}, true)
	want := "| figure | Granary | Proto.Actor Go |\n|---|---|---|\n| " + visible + " | 1 ms | 3 ms |\n| " + load + " | 2.0 | – |\n"
	if got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	if got := (taken{3 * time.Second, 20 * time.Millisecond, time.Second}).String(); got != "1.0 s (20 ms–3.0 s)" {
		t.Error(got)
	}
}
