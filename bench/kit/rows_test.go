package kit

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
)

// small is an amount of work that every row finishes at once with the toy.
const small = 2_048

func TestEveryRowFinishes(t *testing.T) {
	for _, row := range Rows() {
		t.Run(row.Name, func(t *testing.T) {
			n := small
			if row.Name == "grainkill" {
				n = 60
			}
			res := runRow(&toy{}, row.Name, n)
			if err := res.Check(row.Name); err != nil {
				t.Fatal(err)
			}
			if want := "toy " + row.Name; res.Note != want {
				t.Errorf("note %q, want %q", res.Note, want)
			}
			if _, ok := res.Extra[row.Metric]; row.Metric != "ns/op" && !ok {
				t.Errorf("no figure %q in %v", row.Metric, res.Extra)
			}
		})
	}
}

func TestRowsAreThoseOfTheTable(t *testing.T) {
	const want = "tell1 tell4 fanout pingpong ask1 ask64 spawn spawnstop roneway roneway1k rping rask64 rask64_1k " +
		"form3 form10 grainlocal1 grainlocal64 grainremote1 grainremote64 grainact grainkill"
	var names []string
	for _, r := range Rows() {
		names = append(names, r.Name)
		if r.About == "" || r.Ops < 1 {
			t.Errorf("row %s: no description or no work", r.Name)
		}
	}
	if got := strings.Join(names, " "); got != want {
		t.Errorf("rows\n%s\nwant\n%s", got, want)
	}
}

func TestOpsAreWhatWasDone(t *testing.T) {
	tests := []struct {
		row     string
		n, want int
	}{
		{"tell1", 1001, 1001},
		{"tell4", 1001, 1000}, // four producers, 250 each
		{"fanout", 100, 100},
		{"ask64", 130, 128},
		{"spawn", 7, 7},
		{"roneway", 333, 333},
		{"form10", 5, 1},
	}
	for _, tt := range tests {
		if res := runRow(&toy{}, tt.row, tt.n); res.Ops != tt.want || res.Error != "" {
			t.Errorf("%s -n %d: %d ops, want %d (error %q)", tt.row, tt.n, res.Ops, tt.want, res.Error)
		}
	}
}

func TestFaultsFailTheRow(t *testing.T) {
	refused := errors.New("refused")
	tests := []struct {
		name, row string
		subject   *toy
		want      string
	}{
		{"refused message", "tell1", &toy{refuse: refused}, "refused"},
		{"refused by one of four", "tell4", &toy{refuse: refused}, "refused"},
		{"message counted twice", "tell1", &toy{twice: true}, "received"},
		{"call fails", "ask64", &toy{noGrain: refused}, "refused"},
		{"grain fails", "grainact", &toy{noGrain: refused}, "refused"},
		{"unknown row", "tell2", &toy{}, "unknown row"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			res := runRow(tt.subject, tt.row, small)
			if !strings.Contains(res.Error, tt.want) {
				t.Errorf("error %q, want %q in it", res.Error, tt.want)
			}
		})
	}
}

func TestHotCallsGoOverAllGrains(t *testing.T) {
	subject := &toy{}
	c, err := subject.Cluster(3)
	if err != nil {
		t.Fatal(err)
	}
	targets, err := identities(c, OnOthers, "hot", 10)
	if err != nil {
		t.Fatal(err)
	}
	turn := &inTurn{targets: targets, next: 7}
	if err := turn.Call(20, NewLatencies(1, 20)); err != nil {
		t.Fatal(err)
	}
	for key, g := range c.(*toyCluster).grains {
		if got := g.calls.Load(); got != 2 {
			t.Errorf("%s: %d calls, want 2", key, got)
		}
	}
}

func TestActivateCallsEachOnce(t *testing.T) {
	c := &toyCluster{toy: &toy{}, grains: map[string]*toyGrain{}}
	targets, err := identities(c, OnAll, "new", 101)
	if err != nil {
		t.Fatal(err)
	}
	if err := activate(targets, 64, nil); err != nil {
		t.Fatal(err)
	}
	for key, g := range c.grains {
		if got := g.calls.Load(); got != 1 {
			t.Errorf("%s: %d calls, want 1", key, got)
		}
	}
}

func TestKindHosts(t *testing.T) {
	tests := []struct {
		kind  Kind
		hosts [3]bool
	}{
		{OnCaller, [3]bool{true, false, false}},
		{OnOthers, [3]bool{false, true, true}},
		{OnAll, [3]bool{true, true, true}},
	}
	for _, tt := range tests {
		for i, want := range tt.hosts {
			if got := tt.kind.Hosts(i); got != want {
				t.Errorf("%s on member %d: %v, want %v", tt.kind, i, got, want)
			}
		}
	}
}

func TestRunPrintsOneLine(t *testing.T) {
	tests := []struct {
		args []string
		code int
	}{
		{[]string{"-row", "tell1", "-n", "100"}, 0},
		{[]string{"-row", "nothing"}, 1},
	}
	for _, tt := range tests {
		var out, errOut bytes.Buffer
		if code := Run(&toy{}, tt.args, os.Stdin, &out, &errOut); code != tt.code {
			t.Errorf("%v: exit code %d, want %d: %s", tt.args, code, tt.code, errOut.String())
		}
		var res Result
		if err := json.Unmarshal(out.Bytes(), &res); err != nil || strings.Count(out.String(), "\n") != 1 {
			t.Errorf("%v: %v: %q", tt.args, err, out.String())
		}
	}
	if code := Run(&toy{}, []string{"-rows"}, os.Stdin, &bytes.Buffer{}, &bytes.Buffer{}); code != 2 {
		t.Errorf("unknown flag: exit code %d, want 2", code)
	}
}

func TestRunWritesProfiles(t *testing.T) {
	cpu, mem := t.TempDir()+"/cpu", t.TempDir()+"/mem"
	args := []string{"-row", "tell1", "-n", "100", "-cpuprofile", cpu, "-memprofile", mem}
	if code := Run(&toy{}, args, os.Stdin, &bytes.Buffer{}, &bytes.Buffer{}); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	for _, path := range []string{cpu, mem} {
		if info, err := os.Stat(path); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", path, err)
		}
	}
}
