// Package leaktest fails a test binary, or one test, that leaves goroutines behind.
//
// A package uses it with one line:
//
//	func TestMain(m *testing.M) { leaktest.Main(m) }
//
// It imports the standard library only and works together with testing/synctest.
package leaktest

import (
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"
)

// limit is how long goroutines may take to end after the last test: a client library's own may take
// up to 1 s, and a loaded machine is slow.
const limit = 5 * time.Second

// Main runs the tests of m and exits with their code. If they passed, it first waits up to 5 s until
// every goroutine that they started has ended; if one is left, it prints the stacks and exits with 1.
func Main(m *testing.M) { os.Exit(run(m.Run, limit, os.Stderr)) }

// run is Main without the exit.
func run(tests func() int, wait time.Duration, w io.Writer) int {
	before := goroutines()
	if code := tests(); code != 0 {
		return code
	}
	left := settle(before, wait)
	if len(left) == 0 {
		return 0
	}
	_, _ = fmt.Fprintf(w, "leaktest: goroutines left %v after the last test: %d\n\n%s\n", wait, len(left), stacks(left))
	return 1
}

// Check makes t fail if a goroutine that is started from here on is still there 5 s after the test
// and the cleanups registered later have ended. Tests that run in parallel see each other's
// goroutines, so it is not for those. Within a bubble of testing/synctest only the goroutines of that
// bubble count, and the 5 s are those of the bubble's clock.
func Check(t testing.TB) {
	t.Helper()
	before := goroutines()
	t.Cleanup(func() {
		if left := settle(before, limit); len(left) > 0 {
			t.Errorf("leaktest: goroutines left %v after the test: %d\n\n%s", limit, len(left), stacks(left))
		}
	})
}

// settle polls, with a back-off of 1 ms to 100 ms, until no goroutine is left that was not there
// before, and returns those that are left when wait is over. It pauses before it looks: a goroutine that is
// about to block is for a moment not shown as one of its bubble, where time goes on once all have blocked.
func settle(before []goroutine, wait time.Duration) []goroutine {
	old := make(map[string]bool, len(before))
	for _, g := range before {
		old[g.id] = true
	}
	start := time.Now()
	for pause := time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		time.Sleep(pause)
		var left []goroutine
		for _, g := range goroutines() {
			if !old[g.id] {
				left = append(left, g)
			}
		}
		if len(left) == 0 || time.Since(start) >= wait {
			return left
		}
	}
}

func stacks(gs []goroutine) string {
	var b strings.Builder
	for i, g := range gs {
		if i == 20 {
			fmt.Fprintf(&b, "… and %d more\n", len(gs)-i)
			break
		}
		b.WriteString(g.stack)
		b.WriteString("\n\n")
	}
	return b.String()
}
