package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
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
