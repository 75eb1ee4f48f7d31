package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/granary-go/granary/core/sim"
	"github.com/granary-go/granary/engine/internal/sim/nodes"
)

// An edge that was reached fewer than rare times in enough runs is one that the simulation is blind for. Of
// fewer runs, down to some, half as much is demanded in proportion: whether a state comes is chance there.
const (
	rare   = 100
	enough = 1000
	some   = 100
)

// demanded is how often each edge must be reached in so many runs on the heap.
func demanded(runs int) int {
	switch {
	case runs < some:
		return 0
	case runs < enough:
		return rare * runs / enough / 2
	}
	return rare
}

// enoughWhole is the same for whole nodes, of whose runs 4,000 schedules bring as many.
const enoughWhole = 100

// report is what is printed; programs read it.
type report struct {
	Schema           int             `json:"schema"`
	OK               bool            `json:"ok"`
	Interrupted      bool            `json:"interrupted"`
	Lookup           string          `json:"lookup"`
	Heap             int             `json:"heap"`
	Nodes            int             `json:"nodes"`
	From             uint64          `json:"from"`
	Replayed         int             `json:"replayed"`
	ReplayMismatches int             `json:"replayMismatches"`
	Mismatched       []uint64        `json:"mismatched"`
	Faults           sim.Tally       `json:"faults"`
	Edges            sim.Tally       `json:"edges"`
	EdgesTooRare     []string        `json:"edgesTooRare"`
	EdgesUnknown     []string        `json:"edgesUnknown"` // reached, and not on the list
	Checks           sim.Tally       `json:"checks"`
	ChecksNever      []string        `json:"checksNever"`
	Violations       []sim.Violation `json:"violations"`
	Seconds          float64         `json:"seconds"`
	Reasons          []string        `json:"reasons,omitempty"` // why there was no run
}

func newReport(o options, f, whole sim.Findings, took time.Duration, interrupted bool) report {
	heap, onHeap := f.Runs, f.Checks
	f.Add(whole)
	r := report{
		Schema: 1, Interrupted: interrupted, Lookup: o.lookup, Heap: heap, Nodes: whole.Runs, From: o.from, Replayed: f.Replayed,
		ReplayMismatches: f.ReplayMismatches, Mismatched: append([]uint64{}, f.Mismatched...),
		Faults: f.Faults, Edges: f.Edges, Checks: f.Checks, EdgesUnknown: []string{}, ChecksNever: []string{},
		Violations: append([]sim.Violation{}, f.Violations...), Seconds: took.Seconds(),
	}
	for _, name := range slices.Sorted(maps.Keys(f.Edges)) {
		if !slices.Contains(slices.Concat(edges, nodes.Edges()), name) {
			r.EdgesUnknown = append(r.EdgesUnknown, name)
		}
	}
	r.EdgesTooRare = append([]string{}, slices.DeleteFunc(f.Edges.Rare(demanded(heap)), func(name string) bool { return !slices.Contains(edges, name) })...)
	if whole.Runs >= enoughWhole {
		r.EdgesTooRare = append(r.EdgesTooRare, slices.DeleteFunc(whole.Edges.Rare(rare), func(name string) bool { return !slices.Contains(nodes.Edges(), name) })...)
	}
	if heap >= some {
		r.ChecksNever = onHeap.Rare(1)
	}
	if whole.Runs >= enoughWhole {
		for _, name := range whole.Checks.Rare(1) { // each engine makes its own: what one does the other does not excuse
			r.ChecksNever = append(r.ChecksNever, "nodes."+name)
		}
	}
	r.OK = len(r.Violations) == 0 && r.ReplayMismatches == 0 && len(r.EdgesTooRare) == 0 && len(r.ChecksNever) == 0
	return r
}

// tell prints the report, for people or for programs.
func (r report) tell(o options, stdout, stderr io.Writer) {
	text := stdout
	if o.json {
		text = stderr
		printJSON(stdout, r)
	}
	for _, v := range r.Violations {
		r.tellViolation(o, text, v)
	}
	for _, seed := range r.Mismatched {
		fmt.Fprintf(text, "seed %d gave two different traces: an unseeded source of chance\n", seed)
	}
	for _, name := range r.EdgesTooRare {
		fmt.Fprintf(text, "edge %q was reached %d times: too rarely\n", name, r.Edges[name])
	}
	for _, name := range r.ChecksNever {
		fmt.Fprintf(text, "invariant %s was never evaluated\n", name)
	}
	fmt.Fprintf(text, "sim: %d schedules on the heap, %d on whole nodes, %d run twice, %d violations, %.1fs\n",
		r.Heap, r.Nodes, r.Replayed, len(r.Violations), r.Seconds)
}

func (r report) tellViolation(o options, w io.Writer, v sim.Violation) {
	repeat := fmt.Sprintf("make sim SEED=%d", v.Seed)
	if v.Engine != "heap" {
		repeat += " ENGINE=" + v.Engine
	}
	if v.Keep != nil {
		repeat += " KEEP=" + sim.Places(v.Keep)
	}
	if o.mutant != "" {
		repeat += " MUTANT=" + o.mutant
	}
	fmt.Fprintf(w, "VIOLATION %s, seed %d, engine %s: %s\n  schedule: %s\n  repeat: %s\n", v.Invariant, v.Seed, v.Engine, v.Detail, v.Schedule, repeat)
}
