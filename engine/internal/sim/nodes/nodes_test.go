package nodes

import (
	"context"
	"flag"
	"strings"
	"testing"
	"time"

	"github.com/granary-go/granary/core/sim"
)

var (
	from  = flag.Uint64("from", 1, "the first seed")
	count = flag.Int("seeds", 4, "how many")
	show  = flag.Bool("show", false, "print the trace of the first")
)

func TestSeeds(t *testing.T) {
	e := Engine(t)
	if *show {
		s := sim.NewSchedule(*from, e.Plan)
		o := e.Run(s, true)
		t.Logf("%v\n%s\n%+v", s, strings.Join(o.Lines, "\n"), o.Violations)
		again := e.Run(s, true)
		for i := range min(len(o.Lines), len(again.Lines)) {
			if o.Lines[i] != again.Lines[i] {
				t.Fatalf("runs differ from line %d of %d on:\n%s\n---\n%s", i, len(o.Lines), strings.Join(o.Lines[max(0, i-3):i+5], "\n"), strings.Join(again.Lines[max(0, i-3):i+5], "\n"))
			}
		}
		return
	}
	began := time.Now()
	f := sim.Explore(context.Background(), e, sim.Exploration{From: *from, Seeds: *count, Raw: true})
	t.Logf("%d runs in %v\nfaults %v\nedges %v\nchecks %v\nmismatched %v of %d", f.Runs, time.Since(began), f.Faults, f.Edges, f.Checks, f.Mismatched, f.Replayed)
	for _, v := range f.Violations {
		t.Errorf("seed %d: %s: %s", v.Seed, v.Invariant, v.Detail)
	}
}
