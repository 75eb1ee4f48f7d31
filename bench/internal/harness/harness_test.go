package harness

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/granary-go/granary/bench/kit"
)

func TestReadFloors(t *testing.T) {
	floors, err := ReadFloors(strings.NewReader("# comment\n\ntell1 1.0\n  ask1\t0.9 # why\n"))
	if err != nil || len(floors) != 2 || floors["tell1"] != 1 || floors["ask1"] != 0.9 {
		t.Errorf("%v, %v", floors, err)
	}
	for _, bad := range []string{"tell1", "tell1 x", "tell1 0", "tell1 -1", "tell1 1 2", "tell1 1\ntell1 1"} {
		if _, err := ReadFloors(strings.NewReader(bad)); err == nil {
			t.Errorf("%q is taken for floors", bad)
		}
	}
}

func TestFloorsOfTheRepository(t *testing.T) {
	file, err := os.Open("../../floors.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	floors, err := ReadFloors(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := CheckFloors(floors, kit.Rows()); err != nil {
		t.Error(err)
	}
	for row, floor := range floors {
		want := 1.0
		if row == "roneway1k" {
			want = 0.9
		}
		if floor != want {
			t.Errorf("floor of %s is %v, want %v", row, floor, want)
		}
	}
	delete(floors, "tell1")
	if err := CheckFloors(floors, kit.Rows()); err == nil {
		t.Error("a row without a floor passes")
	}
	floors["tell1"], floors["tell9"] = 1, 1
	if err := CheckFloors(floors, kit.Rows()); err == nil {
		t.Error("a floor without a row passes")
	}
}

func TestSpread(t *testing.T) {
	tests := []struct {
		values []float64
		want   Spread
	}{
		{nil, Spread{}},
		{[]float64{3}, Spread{3, 3, 3}},
		{[]float64{9, 1, 5}, Spread{5, 1, 9}},
		{[]float64{4, 1, 2, 9}, Spread{3, 1, 9}},
	}
	for _, tt := range tests {
		before := slices.Clone(tt.values)
		if got := NewSpread(tt.values); got != tt.want {
			t.Errorf("%v: %+v, want %+v", tt.values, got, tt.want)
		}
		if !slices.Equal(before, tt.values) {
			t.Error("the values were sorted in place")
		}
	}
}

// row returns the row of that name.
func row(t *testing.T, name string) kit.Row {
	t.Helper()
	for _, r := range kit.Rows() {
		if r.Name == name {
			return r
		}
	}
	t.Fatalf("no row %q", name)
	return kit.Row{}
}

// result is a result of 10 operations.
func result(wall, cpu int64, allocs uint64) kit.Result {
	return kit.Result{Ops: 10, WallNs: wall, CPUNs: cpu, Allocs: allocs}
}

func TestRowReportRatios(t *testing.T) {
	s := Sample{
		Granary: []kit.Result{result(1000, 2000, 0), result(3000, 1000, 0), result(2000, 3000, 0)},
		Peer:    []kit.Result{result(4000, 1000, 5), result(5000, 1500, 5), result(1000, 900, 5)},
	}
	r := NewRowReport(row(t, "tell1"), 1, 3, s)
	if r.Granary != 200 || r.GranaryMin != 100 || r.GranaryMax != 300 || r.Peer != 400 {
		t.Errorf("figures: %+v", r)
	}
	if r.RatioWall != 2 || r.RatioCPU != 0.5 || !r.OK || !r.AllocsOK || r.Notes != "" {
		t.Errorf("wall %v, CPU %v, ok %v, notes %q", r.RatioWall, r.RatioCPU, r.OK, r.Notes)
	}
}

func TestRowReportVerdict(t *testing.T) {
	rounds := func(wall, cpu int64, allocs uint64) []kit.Result {
		return []kit.Result{result(wall, cpu, allocs), result(wall, cpu, allocs)}
	}
	tests := []struct {
		name, row     string
		granary, peer []kit.Result
		floor         float64
		err           error
		ok, allocsOK  bool
		note          string
	}{
		{"ahead", "rping", rounds(100, 100, 10), rounds(110, 110, 10), 1, nil, true, true, ""},
		{"equal", "rping", rounds(100, 100, 10), rounds(100, 100, 10), 1, nil, true, true, ""},
		{"ahead in CPU only", "rping", rounds(100, 100, 10), rounds(50, 101, 10), 1, nil, true, true, ""},
		{"ahead in wall only", "rping", rounds(100, 100, 10), rounds(101, 50, 10), 1, nil, true, true, ""},
		{"behind in both", "rping", rounds(100, 100, 10), rounds(99, 99, 10), 1, nil, false, true, ""},
		{"behind, but above a lower floor", "roneway1k", rounds(100, 100, 10), rounds(91, 50, 10), 0.9, nil, true, true, ""},
		{"allocates more", "rping", rounds(100, 100, 11), rounds(200, 200, 10), 1, nil, true, false, "allocations above the bar"},
		{"ask may not allocate", "ask1", rounds(100, 100, 1), rounds(200, 200, 100), 1, nil, true, false, "allocations above the bar"},
		{"error", "rping", rounds(100, 100, 10), rounds(200, 200, 10), 1, errors.New("lost"), false, false, "error: lost"},
		{"a round is missing", "rping", rounds(100, 100, 10)[:1], rounds(200, 200, 10), 1, nil, false, false, "not all rounds"},
		{"nothing at all", "rping", nil, nil, 1, errors.New("lost"), false, false, "lost"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := NewRowReport(row(t, tt.row), tt.floor, 2, Sample{tt.granary, tt.peer, tt.err})
			if r.OK != tt.ok || r.AllocsOK != tt.allocsOK || !strings.Contains(r.Notes, tt.note) {
				t.Errorf("ok %v, allocsOK %v, notes %q; want %v, %v, %q", r.OK, r.AllocsOK, r.Notes, tt.ok, tt.allocsOK, tt.note)
			}
		})
	}
}

func TestRowReportOwnMetricAndExtras(t *testing.T) {
	own := kit.Result{Ops: 1, WallNs: 9e9, CPUNs: 1, Extra: map[string]float64{"form_ms": 200, "first_call_us": 300}, Note: "memberlist"}
	peer := kit.Result{Ops: 1, WallNs: 1, CPUNs: 1, Extra: map[string]float64{"form_ms": 1000, "first_call_us": 900}, Note: "in memory"}
	r := NewRowReport(row(t, "form3"), 1, 1, Sample{[]kit.Result{own}, []kit.Result{peer}, nil})
	if r.Metric != "form_ms" || r.Granary != 200 || r.Peer != 1000 || r.RatioWall != 5 {
		t.Errorf("%+v", r)
	}
	if len(r.Extra) != 1 || r.Extra["first_call_us"] != (Pair{300, 900}) {
		t.Errorf("extra %v", r.Extra)
	}
	if r.Notes != "memberlist; in memory" {
		t.Errorf("notes %q", r.Notes)
	}
}

func TestReportNames(t *testing.T) {
	text, err := json.Marshal(Report{Schema: 1, Rows: []RowReport{{Row: "tell1"}}})
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"schema", "ok", "cpu", "go", "peer", "rounds", "rows"} {
		if _, there := got[name]; !there {
			t.Errorf("no field %q in the report", name)
		}
	}
	fields := got["rows"].([]any)[0].(map[string]any)
	for _, name := range []string{
		"row", "metric", "granary", "granaryMin", "granaryMax", "peer", "peerMin", "peerMax",
		"ratioWall", "ratioCPU", "allocs", "peerAllocs", "bytes", "floor", "ok", "notes",
	} {
		if _, there := fields[name]; !there {
			t.Errorf("no field %q in a row", name)
		}
	}
}

// scripted is a side that notes in which order rows are run.
type scripted struct {
	name string
	log  *[]string
	fail string // row that fails
}

func (s scripted) run(_ context.Context, row string, _ int) (kit.Result, error) {
	*s.log = append(*s.log, s.name+" "+row)
	if row == s.fail {
		return kit.Result{}, fmt.Errorf("%s: cannot", s.name)
	}
	r := result(1000, 1000, 0)
	r.Row = row
	return r, nil
}

func TestPlanTakesSidesInTurn(t *testing.T) {
	var log []string
	rows := []kit.Row{row(t, "tell1"), row(t, "ask1")}
	plan := Plan{
		Rows: rows, Rounds: 2, Floors: Floors{"tell1": 1, "ask1": 1}, Progress: io.Discard,
		Granary: scripted{"own", &log, ""}.run, Peer: scripted{"peer", &log, ""}.run,
	}
	reports := plan.Run(t.Context())
	want := "own tell1, peer tell1, own ask1, peer ask1, peer tell1, own tell1, peer ask1, own ask1"
	if got := strings.Join(log, ", "); got != want {
		t.Errorf("order\n%s\nwant\n%s", got, want)
	}
	for _, r := range reports {
		if !r.OK {
			t.Errorf("%s is not ok: %s", r.Row, r.Notes)
		}
	}
}

func TestPlanKeepsFailedRows(t *testing.T) {
	var log []string
	plan := Plan{
		Rows: []kit.Row{row(t, "tell1"), row(t, "ask1")}, Rounds: 3, Floors: Floors{"tell1": 1, "ask1": 1}, Progress: io.Discard,
		Granary: scripted{"own", &log, ""}.run, Peer: scripted{"peer", &log, "tell1"}.run,
	}
	reports := plan.Run(t.Context())
	if r := reports[0]; r.OK || r.Notes != "error: peer: cannot" {
		t.Errorf("failed row: ok %v, notes %q", r.OK, r.Notes)
	}
	if !reports[1].OK {
		t.Errorf("the other row is not ok: %s", reports[1].Notes)
	}
	if got := strings.Count(strings.Join(log, ","), "peer tell1"); got != 1 {
		t.Errorf("the failed row was run %d times", got)
	}
}

func TestPlanInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	stop := func(context.Context, string, int) (kit.Result, error) {
		cancel()
		return kit.Result{}, ctx.Err()
	}
	plan := Plan{Rows: []kit.Row{row(t, "tell1"), row(t, "ask1")}, Rounds: 1, Progress: io.Discard, Granary: stop, Peer: stop}
	reports := plan.Run(ctx)
	if len(reports) != 2 || reports[0].OK || reports[1].OK || !strings.Contains(reports[0].Notes, "interrupted") {
		t.Errorf("%+v", reports)
	}
}

// script writes an executable shell script and returns a program of it.
func script(t *testing.T, text string) Program {
	t.Helper()
	path := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o755); err != nil {
		t.Fatal(err)
	}
	return Program{Name: "granary", Path: path}
}

func TestProgramRun(t *testing.T) {
	good := script(t, `echo '{"row":"'$2'","ops":'$4',"wallNs":5,"cpuNs":6}'`)
	res, err := good.Run(t.Context(), "tell1", 7)
	if err != nil || res.Row != "tell1" || res.Ops != 7 || res.CPUNs != 6 {
		t.Errorf("%+v, %v", res, err)
	}
	tests := []struct{ name, script, want string }{
		{"dies", "echo the cause >&2; exit 3", "the cause"},
		{"says nothing", "exit 0", "no result"},
		{"says why", `echo '{"row":"tell1","error":"5 left"}'; exit 1`, "5 left"},
		{"another row", `echo '{"row":"ask1","ops":1,"wallNs":1}'`, "answered for row"},
	}
	for _, tt := range tests {
		if _, err := script(t, tt.script).Run(t.Context(), "tell1", 7); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q in it", tt.name, err, tt.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := good.Run(ctx, "tell1", 7); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestWriteTable(t *testing.T) {
	r := Report{CPU: "cpu", Go: "go1", Peer: "p", Rounds: 1, Rows: []RowReport{
		{Row: "tell1", Metric: "ns/op", Granary: 50, Peer: 139.25, RatioWall: 2.785, Floor: 1, OK: true, AllocsOK: true},
		{Row: "ask1", Metric: "ns/op", Notes: "error: lost", Extra: map[string]Pair{"p50_us": {1, 2}}},
	}}
	var out bytes.Buffer
	if err := WriteTable(&out, r); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"tell1", "139.2 (0–0)", "2.79", "p50_us", "NO", "ask1: error: lost", "1 of 2 rows below"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	r.Rows = r.Rows[:1]
	if got := Summary(r); got != "bench: 1 rows, all at or above their floor" {
		t.Errorf("summary %q", got)
	}
	r.Interrupted = true
	if got := Summary(r); got != "bench: interrupted" {
		t.Errorf("summary %q", got)
	}
}
