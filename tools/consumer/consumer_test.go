package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/granary-go/granary/tools/internal/modules"
)

// scratch is a copy of the checkout, to be spoiled.
func scratch(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "scratch")
	if err := copyTree(dir, filepath.Join("..", "..")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// edit replaces text in a file of a scratch copy, which has to have it.
func edit(t *testing.T, dir, name, old, new string) {
	t.Helper()
	name = filepath.Join(dir, filepath.FromSlash(name))
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(data), old) {
		t.Fatalf("%s has no %q", name, old)
	}
	if err := os.WriteFile(name, []byte(strings.Replace(string(data), old, new, 1)), 0o644); err != nil {
		t.Fatal(err)
	}
}

// outcome is what a run says, whole.
func outcome(t *testing.T, dir, released, only string) string {
	t.Helper()
	var out strings.Builder
	ok, failed, err := consume(t.Context(), dir, released, regexp.MustCompile(only), &out)
	if err != nil {
		return out.String() + err.Error()
	}
	if ok+failed != 1 {
		t.Fatalf("%d ok, %d failed, want one in all", ok, failed)
	}
	return out.String()
}

const bolt = "^stores/bbolt$"

func TestConsumerIsSatisfied(t *testing.T) {
	if got := outcome(t, scratch(t), "", bolt); !strings.HasSuffix(got, " ok\n") {
		t.Error(got)
	}
}

// What a workspace forgives and a user meets.
func TestConsumerFinds(t *testing.T) {
	core := modules.Prefix + "core"
	for _, c := range []struct {
		name  string
		spoil func(t *testing.T, dir string)
		want  string
	}{
		{"a replace of somebody else's module", func(t *testing.T, dir string) {
			edit(t, dir, "stores/bbolt/go.mod", "replace ", "replace go.etcd.io/bbolt => go.etcd.io/bbolt v1.4.3\n\nreplace ")
		}, "stores/bbolt/go.mod replaces go.etcd.io/bbolt"},
		{"a require that is missing", func(t *testing.T, dir string) {
			edit(t, dir, "stores/bbolt/go.mod", "\t"+core+" v0.1.0\n", "")
		}, "no required module provides package " + core},
		{"a package that is internal to another module", func(t *testing.T, dir string) {
			edit(t, dir, "stores/bbolt/fence.go", "import (", "import (\n\t_ \""+core+"/internal/frugaljson\"\n")
		}, "use of internal package " + core + "/internal/frugaljson not allowed"},
		{"a dependency more", func(t *testing.T, dir string) {
			edit(t, dir, "tools/consumer/budgets.txt", "stores/bbolt core", "stores/bbolt")
		}, "compiles core, which is not in its budget"},
		{"a dependency less", func(t *testing.T, dir string) {
			edit(t, dir, "tools/consumer/budgets.txt", "stores/bbolt core", "stores/bbolt core example.com/more")
		}, "compiles example.com/more no more"},
		{"a module without a budget", func(t *testing.T, dir string) {
			edit(t, dir, "tools/consumer/budgets.txt", "stores/bbolt core", "stores/other core")
		}, "has no line in budgets.txt"},
		{"a go line that rises", func(t *testing.T, dir string) {
			edit(t, dir, "core/go.mod", "go 1.26.0", "go 1.26.1")
		}, "core/go.mod asks for another Go than 1.26.0"},
		{"a toolchain line", func(t *testing.T, dir string) {
			edit(t, dir, "core/go.mod", "go 1.26.0", "go 1.26.0\n\ntoolchain go1.26.1")
		}, "core/go.mod asks for another Go than 1.26.0"},
		{"a require of what is not released", func(t *testing.T, dir string) {
			edit(t, dir, "go.work", "\t./core\n", "")
		}, "requires " + core + ", which is not released"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := scratch(t)
			c.spoil(t, dir)
			if got := outcome(t, dir, "", bolt); !strings.Contains(got, c.want) {
				t.Errorf("want %q in:\n%s", c.want, got)
			}
		})
	}
}

// A release commit is taken as it is: what the release program has left in it is found.
func TestConsumerOfAReleaseCommit(t *testing.T) {
	const version = "v0.0.0-check.1"
	dir := scratch(t)
	if _, err := modules.Release(dir, version); err != nil {
		t.Fatal(err)
	}
	if got := outcome(t, dir, version, bolt); !strings.HasSuffix(got, " ok\n") {
		t.Error(got)
	}
	edit(t, dir, "stores/bbolt/go.mod", "require ", "replace "+modules.Prefix+"core => ../../core\n\nrequire ")
	if got := outcome(t, dir, version, bolt); !strings.Contains(got, "stores/bbolt/go.mod replaces "+modules.Prefix+"core") {
		t.Error(got)
	}
	if got := outcome(t, dir, "v0.0.0-check.2", bolt); !strings.Contains(got, "at "+version+", not at v0.0.0-check.2") {
		t.Error(got)
	}
}

func TestWrongUse(t *testing.T) {
	for _, args := range [][]string{{"-only", "("}, {"-what"}, {"more"}} {
		var out, errs strings.Builder
		if code := run(t.Context(), args, &out, &errs); code != 2 || errs.Len() == 0 {
			t.Errorf("%q: exit %d, %q", args, code, errs.String())
		}
	}
	var out, errs strings.Builder
	if code := run(t.Context(), []string{"-dir", t.TempDir()}, &out, &errs); code != 1 || !strings.Contains(out.String(), "consumer: 0 ok, 1 failed") {
		t.Errorf("no checkout: exit %d, %s%s", code, out.String(), errs.String())
	}
}
