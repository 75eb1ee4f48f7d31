package main

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/granary-go/granary/core/sim"
	"github.com/granary-go/granary/core/simbug"
)

// mostSchedules is within how many schedules a mutant must be found.
const mostSchedules = 5_000

// mutant is one line of the code that ships, changed for the worse in builds with the tag simbug.
type mutant struct {
	Name   string `json:"name"`
	File   string `json:"file"`
	Engine string `json:"engine"` // that has the line: heap or nodes
}

// mutants is the zoo.
var mutants = []mutant{
	{"retry-after-unknown", "engine/internal/retry/retry.go", "heap"},
	{"retry-forgets-attempt", "engine/internal/retry/retry.go", "heap"},
	{"cache-keeps-dead-letter", "engine/internal/retry/retry.go", "heap"},
	{"cache-keeps-departed", "engine/internal/pidcache/cache.go", "heap"},
	{"connector-dials-after-close", "engine/internal/connector/connector.go", "heap"},
	{"newer-id-does-not-retire", "engine/internal/membership/retired.go", "heap"},
	{"flap-moves", "engine/internal/membership/reducer.go", "heap"},
	{"missing-member-kept", "engine/internal/membership/reducer.go", "heap"},
	{"gossip-merges-by-arrival", "engine/internal/gossip/state.go", "heap"},
	{"gossip-takes-foreign", "engine/internal/gossip/merge.go", "heap"},
	{"gossip-keeps-departed", "engine/internal/gossip/members.go", "heap"},
	{"gossip-commits-unacknowledged", "engine/internal/gossip/informer.go", "heap"},
	{"consensus-skips-silent", "engine/internal/gossip/consensus.go", "heap"},
	{"gossip-acknowledges-gap", "engine/internal/gossip/merge.go", "heap"},
	{"consensus-over-old-members", "engine/internal/gossip/members.go", "heap"},
	{"stale-table", "lookups/disthash/reshape.go", "heap"},
	{"epoch-stands-still", "core/viewedit/viewedit.go", "heap"},
	{"members-unsorted", "core/view.go", "heap"},
	{"suspicion-removes", "engine/internal/detector/votes.go", "heap"},
	{"loser-not-stopped", "lookups/disthash/handover.go", "nodes"},
	{"cache-keeps-stopped", "engine/cluster/process.go", "nodes"},
	{"wall-clock-in-expiry", "engine/internal/ratelimit/ratelimit.go", "nodes"},
	{"epochs-by-address", "engine/remote/handshake.go", "nodes"},
	{"leaver-blocked-for-good", "engine/cluster/members.go", "nodes"},
	{"failed-step-of-leave-aborts", "engine/cluster/stop.go", "nodes"},
	{"leave-re-registers", "engine/cluster/start.go", "nodes"},
	{"request-without-view", "engine/cluster/ask.go", "nodes"},
	{"question-without-view", "engine/cluster/activator.go", "nodes"},
	{"stamp-not-heeded", "engine/cluster/route.go", "nodes"},
	{"second-activation", "engine/cluster/activator.go", "nodes"},
	{"answered-before-turn", "engine/cluster/route.go", "nodes"},
	{"old-connection-goes-on", "engine/remote/handshake.go", "nodes"},
	{"handled-after-deactivation", "engine/cluster/activation.go", "nodes"},
}

// caught is what became of one mutant.
type caught struct {
	mutant
	Found     bool     `json:"found"`
	Seed      uint64   `json:"seed"`
	Schedules int      `json:"schedules"`
	Invariant string   `json:"invariant"`
	Unsound   []uint64 `json:"unsound,omitempty"` // seeds that fail without the mutant, and do not count
}

type zooReport struct {
	Schema  int      `json:"schema"`
	OK      bool     `json:"ok"`
	Total   int      `json:"total"`
	Found   int      `json:"found"`
	Mutants []caught `json:"mutants"`
	Reasons []string `json:"reasons,omitempty"` // why there was no run
}

func knownMutant(name string) bool {
	return name == "" || slices.ContainsFunc(mutants, func(m mutant) bool { return m.Name == name })
}

// zoo runs each mutant until it is found. Whole makes engines for those that only whole nodes have; nil: they are not
// found.
func zoo(ctx context.Context, o options, whole func() sim.Engine, stdout, stderr io.Writer) int {
	text := stdout
	if o.json {
		text = stderr
	}
	r := zooReport{Schema: 1, Mutants: []caught{}}
	for _, m := range mutants {
		if o.mutant != "" && o.mutant != m.Name || ctx.Err() != nil {
			continue
		}
		c := hunt(ctx, m, o, whole)
		r.Mutants = append(r.Mutants, c)
		r.Total++
		if c.Found {
			r.Found++
		}
		fmt.Fprintf(text, "%-30s %-40s %-5s found %v, seed %d, %d schedules, %s\n", m.Name, m.File, m.Engine, c.Found, c.Seed, c.Schedules, c.Invariant)
	}
	r.OK = r.Found == r.Total && r.Total > 0
	fmt.Fprintf(text, "zoo: %d of %d found\n", r.Found, r.Total)
	if o.json {
		printJSON(stdout, r)
	}
	if !r.OK {
		return 1
	}
	return 0
}

func hunt(ctx context.Context, m mutant, o options, whole func() sim.Engine) caught {
	defer simbug.Set("")
	fresh, most := func() sim.Engine { return engine(nil) }, mostSchedules
	if m.Engine == "nodes" {
		if whole == nil {
			return caught{mutant: m}
		}
		fresh, most = whole, mostSchedules/wholeShare
	}
	e := fresh()
	e.Replay = 0
	c := caught{mutant: m}
	for c.Schedules < most && ctx.Err() == nil {
		simbug.Set(m.Name)
		from := o.from + uint64(c.Schedules)
		f := sim.Explore(ctx, e, sim.Exploration{From: from, Seeds: most - c.Schedules, Workers: o.workers, First: true, Raw: true})
		if len(f.Violations) == 0 {
			c.Schedules += f.Runs
			break
		}
		v := f.Violations[0]
		c.Schedules = int(v.Seed-o.from) + 1
		simbug.Set("")
		if sound(fresh(), v.Seed) {
			c.Found, c.Seed, c.Invariant = true, v.Seed, v.Invariant
			break
		}
		c.Unsound = append(c.Unsound, v.Seed)
	}
	return c
}

// sound is true of a seed on which the code as it is violates nothing: what a mutant violates there, it does. The
// engine has not run before: what runs with mistakes have left in the program does not count against this one.
func sound(e sim.Engine, seed uint64) bool {
	return len(e.Run(sim.NewSchedule(seed, e.Plan), false).Violations) == 0
}
