package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// clone gives the tracked and new files of the checkout as a repository with one commit.
func clone(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "clone")
	if err := os.CopyFS(dir, os.DirFS("../..")); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, ".git")); err != nil {
		t.Fatal(err)
	}
	git(t, dir, "init", "-q")
	git(t, dir, "add", "-A")
	git(t, dir, "-c", "user.name=test", "-c", "user.email=test@example.com", "commit", "-q", "-m", "all")
	return dir
}

func git(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %q: %v\n%s", args, err, out)
	}
	return string(out)
}

func TestRelease(t *testing.T) {
	dir := clone(t)
	var out, errs strings.Builder
	if code := run([]string{"-dir", dir, "v0.9.0"}, &out, &errs); code != 0 {
		t.Fatalf("exit %d: %s", code, errs.String())
	}
	tags := strings.Fields(out.String())
	if len(tags) < 7 || tags[0] != "core/v0.9.0" || tags[1] != "protos/v0.9.0" || tags[2] != "engine/v0.9.0" {
		t.Errorf("tags %q", tags)
	}
	for _, tag := range tags {
		if strings.Contains(tag, "examples") || strings.Contains(tag, "internal") || strings.Contains(tag, "tools") {
			t.Errorf("a tag for %s", tag)
		}
		mod, err := os.ReadFile(filepath.Join(dir, strings.TrimSuffix(tag, "/v0.9.0"), "go.mod"))
		if err != nil || strings.Contains(string(mod), "=>") || strings.Contains(string(mod), "granary v0.1.0") {
			t.Errorf("%s: %v\n%s", tag, err, mod)
		}
	}
	first := git(t, dir, "diff")
	for line := range strings.Lines(git(t, dir, "status", "--porcelain")) {
		if !strings.HasSuffix(line, "/go.mod\n") && !strings.HasSuffix(line, "/go.sum\n") {
			t.Errorf("changed also %s", line)
		}
	}
	if code := run([]string{"-dir", dir, "v0.9.0"}, &out, &errs); code != 0 || git(t, dir, "diff") != first {
		t.Errorf("a second time: exit %d, or another tree", code)
	}
}

func TestWrongUse(t *testing.T) {
	for want, args := range map[int][][]string{
		2: {nil, {"v0.1.0", "v0.2.0"}, {"-what", "v0.1.0"}},
		1: {{"0.1.0"}, {"v1"}, {"v0.1.0+meta"}, {"-dir", t.TempDir(), "v0.1.0"}},
	} {
		for _, a := range args {
			var out, errs strings.Builder
			if code := run(a, &out, &errs); code != want || errs.Len() == 0 || out.Len() > 0 {
				t.Errorf("%q: exit %d, want %d: %s%s", a, code, want, out.String(), errs.String())
			}
		}
	}
}
