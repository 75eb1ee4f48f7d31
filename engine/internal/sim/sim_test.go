package main

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/granary-go/granary/core/leaktest"
	"github.com/granary-go/granary/core/sim"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// The code as it is keeps its promises, and a seed gives the same trace whenever it is run.
func TestNothingIsViolated(t *testing.T) {
	e := engine(nil)
	e.Replay = 4
	f := sim.Explore(t.Context(), e, sim.Exploration{From: 1, Seeds: 24})
	if len(f.Violations) > 0 || f.ReplayMismatches > 0 || f.Replayed != 6 {
		t.Errorf("%d replayed, mismatches %v, violations %+v", f.Replayed, f.Mismatched, f.Violations)
	}
	for _, name := range []string{"S0", "S1", "S2", "S3", "S6", "S7", "S8", "S10", "L1", "L3", "L4", "L7", "R5"} {
		if f.Checks[name] == 0 {
			t.Errorf("%s was never evaluated", name)
		}
	}
}

func has(o sim.Outcome, invariant string) bool {
	return slices.ContainsFunc(o.Violations, func(v sim.Violation) bool { return v.Invariant == invariant })
}

// A panic of the code under test is a finding, not the end of the program.
func TestPanicIsAViolation(t *testing.T) {
	e := engine(func(n *node) { n.proc.After(time.Second, func() { panic("boom") }) })
	if o := e.Run(sim.NewSchedule(1, e.Plan), false); !has(o, "panic") {
		t.Errorf("%+v", o.Violations)
	}
}

func TestCommand(t *testing.T) {
	for _, tt := range []struct {
		args []string
		code int
		want string // in either output
	}{
		{[]string{"-seeds", "3", "-json"}, 0, `"heap":3`},
		{[]string{"-seeds", "2", "-from", "7"}, 0, "2 schedules on the heap"},
		{[]string{"-seed", "5"}, 0, "boots"},
		{[]string{"-seed", "5", "-keep", "none", "-json"}, 0, "no faults"},
		{[]string{"-seed", "5", "-keep", "0,1"}, 0, "seed 5"},
		{[]string{"-seed", "5", "-keep", "x"}, 2, "no number"},
		{[]string{"-lookup", "partition"}, 2, "disthash only"},
		{[]string{"-seeds", "0"}, 2, "want 1 or more"},
		{[]string{"-engine", "x"}, 2, "heap or nodes"},
		{[]string{"more"}, 2, "flags only"},
		{[]string{"-what"}, 2, "not defined"},
	} {
		t.Run(strings.Join(tt.args, " "), func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			code := command(t.Context(), tt.args, &stdout, &stderr, nil)
			if text := stdout.String() + stderr.String(); code != tt.code || !strings.Contains(text, tt.want) {
				t.Errorf("exit %d, want %d with %q in\n%.2000s", code, tt.code, tt.want, text)
			}
			if slices.Contains(tt.args, "-json") {
				var r report
				if err := json.Unmarshal(stdout.Bytes(), &r); err != nil || r.Schema != 1 || strings.Count(stdout.String(), "\n") != 1 {
					t.Errorf("%v: %.300s", err, stdout.String())
				}
			}
		})
	}
}

// What one engine checks does not excuse the other, and whole nodes are judged when they run alone too.
func TestChecksAreDemandedOfEachEngine(t *testing.T) {
	at := func(runs int, n int) sim.Findings { return sim.Findings{Runs: runs, Checks: sim.Tally{"S0": n}} }
	for _, tt := range []struct {
		heap, whole sim.Findings
		never       []string
	}{
		{at(100, 1), at(100, 1), []string{}},
		{at(100, 0), at(100, 1), []string{"S0"}},
		{at(100, 1), at(100, 0), []string{"nodes.S0"}},
		{sim.Findings{}, at(100, 0), []string{"nodes.S0"}},
		{at(99, 0), at(99, 0), []string{}},
	} {
		r := newReport(options{}, tt.heap, tt.whole, time.Second, false)
		if !slices.Equal(r.ChecksNever, tt.never) {
			t.Errorf("%d and %d runs: %v, want %v", tt.heap.Runs, tt.whole.Runs, r.ChecksNever, tt.never)
		}
	}
}

// Wrong use is told to programs too, by the object that they wait for, wherever -json stands.
func TestRefusalAsJSON(t *testing.T) {
	simFields := map[string]any{
		"schema": 1.0, "ok": false, "lookup": "", "heap": 0.0, "nodes": 0.0, "from": 0.0, "replayed": 0.0, "replayMismatches": 0.0, "faults": map[string]any{},
		"edges": map[string]any{}, "edgesTooRare": []any{}, "checks": map[string]any{}, "violations": []any{}, "seconds": 0.0,
	}
	zooFields := map[string]any{"schema": 1.0, "ok": false, "total": 0.0, "found": 0.0, "mutants": []any{}}
	for args, fields := range map[string]map[string]any{
		"-lookup partition": simFields, "-seeds 0": simFields, "-seeds x": simFields, "-nonsense": simFields, "extra": simFields,
		"-seed 5 -keep x": simFields, "-engine x": simFields, "-mutant x": simFields, "-zoo -lookup partition": zooFields, "extra -zoo": zooFields, "-zoo -mutant x": zooFields,
	} {
		words := strings.Fields(args)
		for _, args := range [][]string{append([]string{"-json"}, words...), append(words, "--json=true"), words} {
			var stdout, stderr bytes.Buffer
			if code := command(t.Context(), args, &stdout, &stderr, nil); code != 2 || stderr.Len() == 0 {
				t.Errorf("%q: exit %d, %q", args, code, stderr.String())
			}
			if !slices.ContainsFunc(args, func(a string) bool { return strings.Contains(a, "json") }) {
				if stdout.Len() > 0 {
					t.Errorf("%q: standard output %q", args, stdout.String())
				}
				continue
			}
			var got map[string]any
			if err := json.Unmarshal(stdout.Bytes(), &got); err != nil || strings.Count(stdout.String(), "\n") != 1 {
				t.Fatalf("%q: %v in %q", args, err, stdout.String())
			}
			if reasons, _ := got["reasons"].([]any); len(reasons) != 1 || !strings.Contains(stderr.String(), reasons[0].(string)) {
				t.Errorf("%q: reasons %v, and to people %q", args, got["reasons"], stderr.String())
			}
			for name, example := range fields {
				if v, there := got[name]; !there || reflect.TypeOf(v) != reflect.TypeOf(example) || name == "ok" && v != false {
					t.Errorf("%q: %s is %v", args, name, v)
				}
			}
		}
	}
}

func TestReportFails(t *testing.T) {
	good := sim.Findings{Runs: 1200, Checks: sim.Tally{"S0": 1}, Edges: sim.Tally{edges[0]: 100}}
	for name, change := range map[string]func(*sim.Findings){
		"":                             func(*sim.Findings) {},
		"VIOLATION S0":                 func(f *sim.Findings) { f.Violations = []sim.Violation{{Invariant: "S0", Keep: []int{}}} },
		"two different traces":         func(f *sim.Findings) { f.ReplayMismatches, f.Mismatched = 1, []uint64{3} },
		"was never evaluated":          func(f *sim.Findings) { f.Checks = sim.Tally{"S0": 0} },
		"reached 99 times: too rarely": func(f *sim.Findings) { f.Edges = sim.Tally{edges[0]: 99} },
		"reached 24 times: too rarely": func(f *sim.Findings) { f.Runs, f.Edges = 500, sim.Tally{edges[0]: 24} },
	} {
		t.Run(name, func(t *testing.T) {
			f := good
			change(&f)
			var out bytes.Buffer
			r := newReport(options{lookup: "disthash"}, f, sim.Findings{}, time.Second, false)
			r.tell(options{}, &out, &out)
			if r.OK != (name == "") || !strings.Contains(out.String(), name) {
				t.Errorf("ok %v: %s", r.OK, out.String())
			}
		})
	}
}
