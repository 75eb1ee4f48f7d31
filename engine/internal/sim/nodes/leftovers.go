package nodes

import (
	"fmt"
	"os"
	"runtime"
	"sync"

	"github.com/granary-go/granary/core/sim"
)

// leftovers measures now and then, while nothing runs, what the runs have left in the program: R2 and R3.
type leftovers struct {
	running sync.RWMutex // held by every run

	mu    sync.Mutex
	runs  int
	first *usage // after the first run
}

type usage struct {
	heap  uint64 // bytes in use after two collections
	files int    // open descriptors; -1: unknown
}

// Every so many runs it is measured; so much the heap and the descriptors may grow.
const (
	measured  = 4
	heapSlack = 8 << 20
	fileSlack = 2
)

func (l *leftovers) check(out *sim.Outcome) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.runs++
	if l.first != nil && l.runs%measured != 0 {
		return
	}
	l.running.Lock()
	now := measure()
	l.running.Unlock()
	if l.first == nil {
		l.first = &now
		return
	}
	note(out, "R2", now.heap <= l.first.heap*12/10+heapSlack, fmt.Sprintf("after %d runs the heap holds %d bytes, after the first %d", l.runs, now.heap, l.first.heap))
	if now.files >= 0 {
		note(out, "R3", now.files <= l.first.files+fileSlack, fmt.Sprintf("after %d runs %d files are open, after the first %d", l.runs, now.files, l.first.files))
	}
}

func note(out *sim.Outcome, invariant string, holds bool, detail string) {
	out.Checks[invariant]++
	if !holds {
		out.Violations = append(out.Violations, sim.Violation{Invariant: invariant, Detail: detail})
	}
}

func measure() usage {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	u := usage{heap: m.HeapAlloc, files: -1}
	if open, err := os.ReadDir("/proc/self/fd"); err == nil {
		u.files = len(open)
	}
	return u
}
