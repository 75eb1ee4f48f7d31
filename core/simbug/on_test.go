//go:build simbug

package simbug_test

import (
	"testing"

	"github.com/granary-go/granary/core/leaktest"
	"github.com/granary-go/granary/core/simbug"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

func TestOneAtATime(t *testing.T) {
	if !simbug.Built || simbug.On("x") || simbug.On("") {
		t.Error("a mistake that nobody asked for")
	}
	simbug.Set("x")
	if !simbug.On("x") || simbug.On("y") {
		t.Error("not exactly the one that was set")
	}
	simbug.Set("y")
	if simbug.On("x") || !simbug.On("y") {
		t.Error("not exactly the one that was set last")
	}
	simbug.Set("")
	if simbug.On("y") {
		t.Error("still on")
	}
}
