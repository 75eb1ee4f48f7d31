//go:build !simbug

package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestZooNeedsItsBuild(t *testing.T) {
	for _, args := range [][]string{{"-zoo"}, {"-mutant", "retry-after-unknown"}} {
		var stdout, stderr bytes.Buffer
		if code := command(t.Context(), args, &stdout, &stderr, nil); code != 2 || !strings.Contains(stderr.String(), "simbug") {
			t.Errorf("%v: exit %d: %s", args, code, stderr.String())
		}
	}
}
