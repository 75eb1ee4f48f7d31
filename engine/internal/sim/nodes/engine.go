package nodes

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/granary-go/granary/core/sim"
)

// The bounds that the world lives by: everything is quick, so that little time has to pass.
const (
	length     = 30 * time.Second // of the faults
	leaseTTL   = 2 * time.Second
	handover   = 2 * time.Second        // patience of a new owner
	converge   = 5 * time.Second        // C
	formed     = 4 * time.Second        // by when the first members are all up, unless something goes wrong
	callLimit  = 2 * time.Second        // of the calls of the load
	late       = 250 * time.Millisecond // by which a call may miss its limit
	probeLimit = 4 * time.Second
	stopLimit  = 10 * time.Second
	identities = 50
	kind       = "Cart"
)

// invariants are those that this world evaluates, as the project's documents number them.
var invariants = []string{
	"S0", "S1", "S2", "S3", "S4", "S6", "S7", "S8", "S9", "S10",
	"L1", "L2", "L3", "L4", "L6", "L7", "L8", "L9", "R1", "R2", "R3", "R4", "R5",
}

// edges are states that a hundred schedules come through often. Calls that end as not delivered, and members
// that are voted out, are counted but not demanded: they are what the promises are to make rare.
var edges = []string{
	"nodes.call.answered", "nodes.call.unknown", "nodes.call.again", "nodes.view.installed", "nodes.activation.moved",
	"nodes.member.suspected", "nodes.restart.same address",
}

// Edges are the states that a run of many seeds must have come through.
func Edges() []string { return slices.Clone(edges) }

// Kinds is the alphabet of faults that whole nodes can suffer from.
func Kinds() []sim.Kind {
	return slices.DeleteFunc(sim.Alphabet(), func(k sim.Kind) bool { return k == sim.Duplicate })
}

// linkKinds are those that nobody but links suffers from.
func linkKinds() []sim.Kind {
	return []sim.Kind{sim.Cut, sim.OneWayCut, sim.Delay, sim.Drop, sim.Reorder}
}

func plan() sim.Plan {
	return sim.Plan{
		Kinds: Kinds(), Focus: linkKinds(), FocusShare: 125, LeastNodes: 3, Nodes: 5, LeastFaults: 4, Most: 16, Length: length,
		LongestFault: 8 * time.Second, BackendShare: 250, Half: 500,
	}
}

// Engine runs schedules on whole nodes, in bubbles of t, each of them twice. t has to be running as long
// as the engine is used, and is failed by a run that panics.
func Engine(t *testing.T) sim.Engine { return engine(t, nil) }

// engine has wrap, if any, put mistakes into each world.
func engine(t *testing.T, wrap func(*world)) sim.Engine {
	left := &leftovers{}
	return sim.Engine{
		Name: "nodes", Plan: plan(), Replay: 1, Checks: slices.Clone(invariants), Edges: slices.Clone(edges),
		Run: func(s sim.Schedule, keepTrace bool) sim.Outcome {
			left.running.RLock()
			out := run(t, s, keepTrace, wrap)
			left.running.RUnlock()
			left.check(&out)
			return out
		},
	}
}

// run plays one schedule.
func run(t *testing.T, s sim.Schedule, keepTrace bool, wrap func(*world)) sim.Outcome {
	w := newWorld(s, keepTrace)
	if wrap != nil {
		wrap(w)
	}
	w.checkBubble(bubble(t, w.play))
	return w.finish()
}

// checkBubble is R1: all goroutines of a run end with it. err is how its bubble ended.
func (w *world) checkBubble(err error) {
	invariant := "R1"
	if err != nil && !strings.Contains(err.Error(), "goroutines remain") {
		invariant = "panic"
	}
	w.check(invariant, err == nil, func() string { return fmt.Sprint(err) })
}
