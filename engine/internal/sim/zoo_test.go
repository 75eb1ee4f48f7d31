//go:build simbug

package main

import (
	"bytes"
	"testing"
)

func TestZooFindsAMutant(t *testing.T) {
	var stdout, stderr bytes.Buffer
	if code := command(t.Context(), []string{"-zoo", "-mutant", "retry-after-unknown", "-json"}, &stdout, &stderr, nil); code != 0 {
		t.Errorf("exit %d: %s%s", code, stdout.String(), stderr.String())
	}
}
