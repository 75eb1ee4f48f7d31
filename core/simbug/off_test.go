//go:build !simbug

package simbug_test

import (
	"testing"

	"github.com/granary-go/granary/core/leaktest"
	"github.com/granary-go/granary/core/simbug"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

func TestOff(t *testing.T) {
	simbug.Set("x")
	if simbug.Built || simbug.On("x") || simbug.On("") {
		t.Error("a build without the tag makes a mistake")
	}
	if n := testing.AllocsPerRun(100, func() { simbug.On("x") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
