//go:build !failpoints

package failpoint_test

import (
	"testing"

	"github.com/granary-go/granary/core/failpoint"
	"github.com/granary-go/granary/core/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

func TestPointsAreNothing(t *testing.T) {
	t.Setenv("GRANARY_FAILPOINTS", "a=panic")
	if n := testing.AllocsPerRun(100, func() {
		failpoint.Here("a")
		if err := failpoint.Err("a"); err != nil {
			t.Error(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
