package convert_test

import (
	"runtime"
	"testing"

	"github.com/granary-go/granary/core/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// frugal runs f and fails t if it allocates more than 8 bytes for each byte of its input, and 64 KiB.
func frugal(t *testing.T, input []byte, f func()) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	if used, limit := after.TotalAlloc-before.TotalAlloc, uint64(8*len(input)+64<<10); used > limit {
		t.Fatalf("%d bytes allocated for %d of input, the limit is %d", used, len(input), limit)
	}
}
