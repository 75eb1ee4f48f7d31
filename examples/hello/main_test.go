package main

import (
	"testing"

	"github.com/granary-go/granary/core/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

func Example() {
	main()
	// Output: hello you, 1 <nil>
}
