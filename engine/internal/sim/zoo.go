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
	Name string `json:"name"`
	File string `json:"file"`
}

// mutants is the zoo.
var mutants = []mutant{
	{"retry-after-unknown", "engine/internal/retry/retry.go"},
	{"retry-forgets-attempt", "engine/internal/retry/retry.go"},
	{"cache-keeps-dead-letter", "engine/internal/retry/retry.go"},
	{"cache-keeps-departed", "engine/internal/pidcache/cache.go"},
	{"connector-dials-after-close", "engine/internal/connector/connector.go"},
	{"newer-id-does-not-retire", "engine/internal/membership/retired.go"},
	{"flap-moves", "engine/internal/membership/reducer.go"},
	{"missing-member-kept", "engine/internal/membership/reducer.go"},
	{"gossip-merges-by-arrival", "engine/internal/gossip/state.go"},
	{"gossip-takes-foreign", "engine/internal/gossip/merge.go"},
	{"gossip-keeps-departed", "engine/internal/gossip/members.go"},
	{"gossip-commits-unacknowledged", "engine/internal/gossip/informer.go"},
	{"consensus-skips-silent", "engine/internal/gossip/consensus.go"},
	{"stale-table", "lookups/disthash/reshape.go"},
	{"epoch-stands-still", "core/viewedit/viewedit.go"},
	{"members-unsorted", "core/view.go"},
}

// caught is what became of one mutant.
type caught struct {
	mutant
	Found     bool   `json:"found"`
	Seed      uint64 `json:"seed"`
	Schedules int    `json:"schedules"`
	Invariant string `json:"invariant"`
}

type zooReport struct {
	Schema  int      `json:"schema"`
	OK      bool     `json:"ok"`
	Total   int      `json:"total"`
	Found   int      `json:"found"`
	Mutants []caught `json:"mutants"`
}

func knownMutant(name string) bool {
	return name == "" || slices.ContainsFunc(mutants, func(m mutant) bool { return m.Name == name })
}

// zoo runs each mutant until it is found.
func zoo(ctx context.Context, o options, stdout, stderr io.Writer) int {
	text := stdout
	if o.json {
		text = stderr
	}
	r := zooReport{Schema: 1, Mutants: []caught{}}
	for _, m := range mutants {
		if o.mutant != "" && o.mutant != m.Name || ctx.Err() != nil {
			continue
		}
		c := hunt(ctx, m, o)
		r.Mutants = append(r.Mutants, c)
		r.Total++
		if c.Found {
			r.Found++
		}
		fmt.Fprintf(text, "%-40s %-28s found %v, seed %d, %d schedules, %s\n", m.Name, m.File, c.Found, c.Seed, c.Schedules, c.Invariant)
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

func hunt(ctx context.Context, m mutant, o options) caught {
	simbug.Set(m.Name)
	defer simbug.Set("")
	e := engine(nil)
	e.Replay = 0
	f := sim.Explore(ctx, e, sim.Exploration{From: o.from, Seeds: mostSchedules, Workers: o.workers, First: true, Raw: true})
	c := caught{mutant: m, Schedules: f.Runs}
	if len(f.Violations) > 0 {
		c.Found, c.Seed, c.Invariant = true, f.Violations[0].Seed, f.Violations[0].Invariant
	}
	return c
}
