package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/granary-go/granary/bench/internal/harness"
	"github.com/granary-go/granary/bench/kit"
)

func TestParse(t *testing.T) {
	env := map[string]string{"ROWS": "tell", "ROUNDS": "3", "JSON": "1"}
	o, err := parse(nil, func(k string) string { return env[k] }, io.Discard)
	if err != nil || o.rows != "tell" || o.rounds != 3 || !o.json {
		t.Errorf("from the environment: %+v, %v", o, err)
	}
	o, err = parse([]string{"-rows", "ask", "-rounds", "1", "-json=false"}, func(k string) string { return env[k] }, io.Discard)
	if err != nil || o.rows != "ask" || o.rounds != 1 || o.json {
		t.Errorf("flags win: %+v, %v", o, err)
	}
	o, err = parse(nil, func(string) string { return "" }, io.Discard)
	if err != nil || o.rows != "" || o.rounds != 5 || o.json {
		t.Errorf("defaults: %+v, %v", o, err)
	}
}

func TestParseRefuses(t *testing.T) {
	none := func(string) string { return "" }
	for _, args := range [][]string{{"-rounds", "0"}, {"-rounds", "x"}, {"-rows", "("}, {"-what"}, {"tell1"}} {
		if _, err := parse(args, none, io.Discard); err == nil {
			t.Errorf("%v is taken", args)
		}
	}
	if _, err := parse(nil, func(k string) string { return map[string]string{"ROUNDS": "many"}[k] }, io.Discard); err == nil {
		t.Error("ROUNDS=many is taken")
	}
}

// Wrong use is told to programs too, by the object that they wait for, wherever -json stands.
func TestRefusalAsJSON(t *testing.T) {
	for _, tt := range []struct {
		args   []string
		rounds string // of the environment
		want   string
	}{
		{[]string{"-rounds", "0"}, "", "at least 1"},
		{[]string{"-rounds", "x"}, "", "rounds"},
		{[]string{"-rounds", "x"}, "x", "ROUNDS"},
		{[]string{"-rows", "("}, "", "rows"},
		{[]string{"-rows", "nothing"}, "", "matches none"},
		{[]string{"-what"}, "", "-what"},
		{[]string{"tell1"}, "", "tell1"},
		{[]string{"-json=maybe"}, "", "-json"},
	} {
		for name, with := range map[string]struct {
			args   []string
			json   string
			object bool
		}{
			"text":           {tt.args, "", false},
			"first":          {append([]string{"-json"}, tt.args...), "", true},
			"last":           {append(tt.args[:len(tt.args):len(tt.args)], "--json=true"), "", true},
			"off":            {append(tt.args[:len(tt.args):len(tt.args)], "-json=false"), "", false},
			"as make has it": {tt.args, "1", true},
		} {
			env := map[string]string{"ROUNDS": tt.rounds, "JSON": with.json}
			var out, errOut bytes.Buffer
			if code := command(t.Context(), with.args, func(k string) string { return env[k] }, &out, &errOut); code != 2 || !strings.Contains(errOut.String(), tt.want) {
				t.Errorf("%s %q: exit %d, %q", name, with.args, code, errOut.String())
			}
			if !with.object {
				if out.Len() > 0 {
					t.Errorf("%s %q: standard output %q", name, with.args, out.String())
				}
				continue
			}
			if r := object(t, out.String()); r.OK || r.Schema != 1 || len(r.Reasons) != 1 || !strings.Contains(r.Reasons[0], tt.want) || r.Error != r.Reasons[0] || r.Rows == nil {
				t.Errorf("%s %q: %+v", name, with.args, r)
			}
		}
	}
}

// object is the one line of standard output.
func object(t *testing.T, out string) (r harness.Report) {
	t.Helper()
	if err := json.Unmarshal([]byte(out), &r); err != nil || strings.Count(out, "\n") != 1 {
		t.Fatalf("standard output is not one object: %v, %q", err, out)
	}
	return r
}

// A run that fails, or that is interrupted, prints the object as well.
func TestFailureAsJSON(t *testing.T) {
	none := func(string) string { return "" }
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for name, tt := range map[string]struct {
		ctx    context.Context
		args   []string
		reason string
	}{
		"failure":      {t.Context(), []string{"-json", "-dir", t.TempDir()}, "floors.txt"},
		"interruption": {over, []string{"-json"}, "interrupted"},
	} {
		var out, errOut bytes.Buffer
		if code := command(tt.ctx, tt.args, none, &out, &errOut); code != 1 {
			t.Errorf("%s: exit %d", name, code)
		}
		if r := object(t, out.String()); r.OK || r.Rounds != 5 || len(r.Reasons) == 0 || !strings.Contains(r.Reasons[0], tt.reason) {
			t.Errorf("%s: %+v", name, r)
		}
	}
	var out bytes.Buffer
	if err := encode(&out, harness.Report{Schema: 1, OK: true, Seconds: math.NaN()}); err == nil {
		t.Error("a figure that is no number is taken")
	}
	if r := object(t, out.String()); r.OK || r.Schema != 1 || len(r.Reasons) != 1 {
		t.Errorf("no number: %+v", r)
	}
}

func TestHelp(t *testing.T) {
	var out, errOut bytes.Buffer
	code := command(t.Context(), []string{"-h"}, func(string) string { return "" }, &out, &errOut)
	if code != 0 || out.Len() > 0 || !strings.Contains(errOut.String(), "-rounds") {
		t.Errorf("exit %d, standard output %q, %q", code, out.String(), errOut.String())
	}
}

func TestChoose(t *testing.T) {
	tests := []struct {
		pattern string
		want    string
	}{
		{"^tell", "tell1 tell4"},
		{"rask64", "rask64 rask64_1k"},
		{"^(ask1|form3)$", "ask1 form3"},
	}
	for _, tt := range tests {
		rows, err := choose(kit.Rows(), tt.pattern)
		var names []string
		for _, r := range rows {
			names = append(names, r.Name)
		}
		if got := strings.Join(names, " "); err != nil || got != tt.want {
			t.Errorf("%s: %q, %v; want %q", tt.pattern, got, err, tt.want)
		}
	}
	if rows, err := choose(kit.Rows(), ""); err != nil || len(rows) != len(kit.Rows()) {
		t.Errorf("empty pattern: %d rows, %v", len(rows), err)
	}
	if _, err := choose(kit.Rows(), "nothing"); err == nil {
		t.Error("a pattern that matches nothing is taken")
	}
}

func TestWriteJSONIsOneLine(t *testing.T) {
	var out, errOut bytes.Buffer
	if err := write(&out, &errOut, true, harness.Report{Schema: 1, Rows: []harness.RowReport{}}); err != nil {
		t.Fatal(err)
	}
	var r harness.Report
	if err := json.Unmarshal(out.Bytes(), &r); err != nil || strings.Count(out.String(), "\n") != 1 {
		t.Errorf("%v: %q", err, out.String())
	}
	if errOut.Len() == 0 {
		t.Error("no table on standard error")
	}
}

func TestReportOfFailure(t *testing.T) {
	r := run(t.Context(), options{dir: t.TempDir(), rounds: 1}, io.Discard)
	if r.OK || r.Error == "" || r.Rows == nil {
		t.Errorf("without floors: %+v", r)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r = run(ctx, options{dir: ".", rounds: 1}, io.Discard)
	if r.OK || !r.Interrupted {
		t.Errorf("interrupted: %+v", r)
	}
}

func TestPeerIsTheVersionThatIsBuilt(t *testing.T) {
	text, err := os.ReadFile("peers/protoactor/go.mod")
	if err != nil {
		t.Fatal(err)
	}
	if _, version, _ := strings.Cut(peerName, " "); !strings.Contains(string(text), "protoactor-go "+version) {
		t.Errorf("peers/protoactor/go.mod does not require %s", version)
	}
}
