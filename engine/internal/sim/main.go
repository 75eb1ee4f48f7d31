// Command sim runs seeded schedules of faults against the very packages that ship: membership, gossip,
// the failure detector, ownership, the cache of places, the retry rule and the machine that dials. See
// the Makefile's targets sim and zoo.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/granary-go/granary/core/sim"
	"github.com/granary-go/granary/core/simbug"
	"github.com/granary-go/granary/engine/internal/sim/nodes"
)

func main() {
	nodes.Main(func(t *testing.T) int {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		return command(ctx, os.Args[1:], os.Stdout, os.Stderr, func() sim.Engine { return nodes.Engine(t) })
	})
}

// options are what the command line says.
type options struct {
	from, seed uint64
	seeds      int
	workers    int
	keep       string
	engine     string
	lookup     string
	mutant     string
	json       bool
	zoo        bool
}

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("sim", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.IntVar(&o.seeds, "seeds", 500, "how many schedules")
	flags.Uint64Var(&o.from, "from", 1, "the first seed")
	flags.Uint64Var(&o.seed, "seed", 0, "this one seed alone, with its trace")
	flags.StringVar(&o.keep, "keep", "", "with -seed: only these of its faults, as 1,4, or none")
	flags.StringVar(&o.engine, "engine", "", "heap or nodes alone; default: heap, and one schedule in forty on whole nodes")
	flags.StringVar(&o.lookup, "lookup", "disthash", "the lookup: disthash")
	flags.StringVar(&o.mutant, "mutant", "", "run with this mistake, in a build with the tag simbug")
	flags.IntVar(&o.workers, "workers", 0, "goroutines; 0: one a processor")
	flags.BoolVar(&o.json, "json", false, "one JSON object on standard output")
	flags.BoolVar(&o.zoo, "zoo", false, "find every mutant, or the one of -mutant")
	err := flags.Parse(args)
	if err == nil {
		err = o.check(flags.NArg())
	}
	if err != nil { // the object is printed all the same, where it is asked for behind what is wrong
		o.json, o.zoo = o.json || asks(args, "json"), o.zoo || asks(args, "zoo")
	}
	return o, err
}

// asks finds a flag that is on among arguments of which another is wrong.
func asks(args []string, flag string) bool {
	return slices.ContainsFunc(args, func(a string) bool {
		name, value, set := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(a, "-"), "-"), "=")
		on, err := strconv.ParseBool(value)
		return a != name && name == flag && (!set || err == nil && on)
	})
}

// refuse tells why there is no run, also to a program that reads the object, and returns the exit code.
func refuse(o options, why error, stdout, stderr io.Writer) int {
	fmt.Fprintln(stderr, "sim:", why)
	switch {
	case !o.json:
	case o.zoo:
		printJSON(stdout, zooReport{Schema: 1, Mutants: []caught{}, Reasons: []string{why.Error()}})
	default:
		r := newReport(o, sim.Findings{Faults: sim.Tally{}, Edges: sim.Tally{}, Checks: sim.Tally{}}, sim.Findings{}, 0, false)
		r.OK, r.Reasons = false, []string{why.Error()}
		printJSON(stdout, r)
	}
	return 2
}

func (o options) check(rest int) error {
	switch {
	case rest > 0:
		return fmt.Errorf("sim takes flags only")
	case o.seeds < 1:
		return fmt.Errorf("-seeds is %d, want 1 or more", o.seeds)
	case o.lookup != "disthash":
		return fmt.Errorf("-lookup is %q, there is disthash only", o.lookup)
	case !slices.Contains([]string{"", "heap", "nodes"}, o.engine):
		return fmt.Errorf("-engine is %q, want heap or nodes", o.engine)
	case (o.zoo || o.mutant != "") && !simbug.Built:
		return fmt.Errorf("mutants are in builds with the tag simbug only: use make zoo, or make sim MUTANT=name")
	}
	return nil
}

// command is main with everything handed in. Whole makes engines of whole nodes; nil: there is the heap only. It
// returns the exit code.
func command(ctx context.Context, args []string, stdout, stderr io.Writer, whole func() sim.Engine) int {
	o, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err == nil && !knownMutant(o.mutant) {
		err = fmt.Errorf("there is no mutant %q", o.mutant)
	}
	if err != nil {
		return refuse(o, err, stdout, stderr)
	}
	if o.zoo {
		return zoo(ctx, o, whole, stdout, stderr)
	}
	simbug.Set(o.mutant)
	heap := engine(nil)
	if o.seed > 0 {
		if o.engine == "nodes" && whole != nil {
			heap = whole()
		}
		return one(heap, o, stdout, stderr)
	}
	r := explore(ctx, heap, whole, o)
	r.tell(o, stdout, stderr)
	if !r.OK {
		return 1
	}
	return 0
}

// wholeShare is how many schedules on the heap come to one on whole nodes, which takes as much longer.
const wholeShare = 40

// explore runs the schedules of all engines that are wanted.
func explore(ctx context.Context, heap sim.Engine, whole func() sim.Engine, o options) report {
	begin := time.Now()
	x := sim.Exploration{From: o.from, Seeds: o.seeds, Workers: o.workers}
	var onHeap, onNodes sim.Findings
	if o.engine != "nodes" {
		onHeap = sim.Explore(ctx, heap, x)
		x.Seeds = max(1, o.seeds/wholeShare)
	}
	if whole != nil && o.engine != "heap" {
		onNodes = sim.Explore(ctx, whole(), x)
	}
	return newReport(o, onHeap, onNodes, time.Since(begin), ctx.Err() != nil)
}

// one runs a single seed and prints its trace.
func one(e sim.Engine, o options, stdout, stderr io.Writer) int {
	s := sim.NewSchedule(o.seed, e.Plan)
	if o.keep != "" {
		places, err := parsePlaces(o.keep)
		if err != nil {
			return refuse(o, err, stdout, stderr)
		}
		s = s.Only(places)
	}
	begin := time.Now()
	out, again := e.Run(s, true), e.Run(s, false)
	text := stdout
	if o.json {
		text = stderr
	}
	fmt.Fprintf(text, "seed %d, %d machines: %v\n%s\n", o.seed, s.Nodes, s, strings.Join(out.Lines, "\n"))
	f := sim.Findings{Runs: 1, Replayed: 1, Faults: out.Faults, Edges: out.Edges, Checks: out.Checks}
	if out.Trace != again.Trace {
		f.ReplayMismatches, f.Mismatched = 1, []uint64{o.seed}
	}
	for _, v := range out.Violations {
		v.Seed, v.Engine, v.Schedule, v.Keep = o.seed, e.Name, s.String(), s.Keep
		f.Violations = append(f.Violations, v)
	}
	r := newReport(o, f, sim.Findings{}, time.Since(begin), false)
	r.tell(o, stdout, stderr)
	if !r.OK {
		return 1
	}
	return 0
}

func parsePlaces(text string) (places []int, err error) {
	if text == "none" {
		return nil, nil
	}
	for part := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(part)
		if err != nil {
			return nil, fmt.Errorf("-keep: %q is no number", part)
		}
		places = append(places, n)
	}
	return places, nil
}

func printJSON(w io.Writer, v any) {
	data, err := json.Marshal(v)
	if err != nil {
		data = fmt.Appendf(nil, "{%q:%q}", "error", err)
	}
	fmt.Fprintf(w, "%s\n", data)
}
