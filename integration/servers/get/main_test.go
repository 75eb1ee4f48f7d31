package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Wrong use is told; what is had is told by its path; what cannot be had ends with 1 and says what to do.
func TestRun(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "consul"), []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", t.TempDir())
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv("GRANARY_REDIS", "")
	t.Setenv("GRANARY_CONSUL", filepath.Join(dir, "consul"))
	for args, want := range map[string]struct {
		code           int
		stdout, stderr string
	}{
		"":             {2, "", "usage"},
		"consul mysql": {2, "", "usage"},
		"consul":       {0, "consul: " + dir + "/consul\n", ""},
		"consul redis": {1, "consul: " + dir + "/consul\n", "GRANARY_REDIS"},
	} {
		var stdout, stderr bytes.Buffer
		code := run(t.Context(), strings.Fields(args), &stdout, &stderr)
		if code != want.code || stdout.String() != want.stdout || !strings.Contains(stderr.String(), want.stderr) {
			t.Errorf("get %s: exit %d, %q, %q; want %+v", args, code, stdout.String(), stderr.String(), want)
		}
	}
}
