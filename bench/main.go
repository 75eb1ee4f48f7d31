// Command bench runs Granary and Proto.Actor Go side by side: it builds both programs, takes them
// in turn and prints the table, or with -json one line of JSON. The exit code is 1 if a row is below
// its floor, fails or does not finish, and 2 for wrong use.
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
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/granary-go/granary/bench/internal/harness"
	"github.com/granary-go/granary/bench/kit"
)

// peerName is the peer and its version, as peers/protoactor/go.mod has it.
const peerName = "protoactor v0.0.0-20240822202345"

// options are the flags; their defaults come from the environment.
type options struct {
	rows   string
	rounds int
	json   bool
	dir    string
}

func main() {
	opts, err := parse(os.Args[1:], os.Getenv, os.Stderr)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	report := run(ctx, opts, os.Stderr)
	stop()
	if err := write(os.Stdout, os.Stderr, opts.json, report); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	if !report.OK {
		os.Exit(1)
	}
}

// parse reads flags, and the environment where a flag is not given.
func parse(args []string, env func(string) string, errOut io.Writer) (options, error) {
	rounds := 5
	if v := env("ROUNDS"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil {
			return options{}, fmt.Errorf("ROUNDS=%q is not a number", v)
		}
		rounds = n
	}
	var o options
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.SetOutput(errOut)
	fs.StringVar(&o.rows, "rows", env("ROWS"), "regexp of the rows to run; empty: all (env ROWS)")
	fs.IntVar(&o.rounds, "rounds", rounds, "rounds of each row (env ROUNDS)")
	fs.BoolVar(&o.json, "json", env("JSON") == "1", "print one line of JSON (env JSON=1)")
	fs.StringVar(&o.dir, "dir", ".", "folder of the bench module")
	if err := fs.Parse(args); err != nil {
		return options{}, err
	}
	if fs.NArg() > 0 {
		return options{}, fmt.Errorf("unexpected argument %q", fs.Arg(0))
	}
	if o.rounds < 1 {
		return options{}, errors.New("rounds must be at least 1")
	}
	if _, err := regexp.Compile(o.rows); err != nil {
		return options{}, fmt.Errorf("rows: %w", err)
	}
	return o, nil
}

// run builds the programs, runs the rows and reports; what goes wrong is in the report.
func run(ctx context.Context, o options, progress io.Writer) harness.Report {
	start := time.Now()
	report := harness.Report{Schema: 1, CPU: cpuName(), Go: runtime.Version(), Peer: peerName, Rounds: o.rounds, Rows: []harness.RowReport{}}
	rows, err := measure(ctx, o, progress)
	report.Seconds = time.Since(start).Seconds()
	report.Interrupted = ctx.Err() != nil
	if err != nil {
		report.Error = err.Error()
		return report
	}
	report.Rows = rows
	report.OK, report.AllocsOK = !report.Interrupted, true
	for _, r := range rows {
		report.OK = report.OK && r.OK
		report.AllocsOK = report.AllocsOK && r.AllocsOK
	}
	return report
}

func measure(ctx context.Context, o options, progress io.Writer) ([]harness.RowReport, error) {
	rows, err := choose(kit.Rows(), o.rows)
	if err != nil {
		return nil, err
	}
	file, err := os.Open(filepath.Join(o.dir, "floors.txt"))
	if err != nil {
		return nil, err
	}
	defer file.Close()
	floors, err := harness.ReadFloors(file)
	if err != nil {
		return nil, err
	}
	if err := harness.CheckFloors(floors, kit.Rows()); err != nil {
		return nil, err
	}
	out, err := os.MkdirTemp("", "granary-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(out)
	fmt.Fprintln(progress, "building both programs")
	own, err := harness.Build(ctx, "granary", o.dir, "./cmd/granary", out)
	if err != nil {
		return nil, err
	}
	peer, err := harness.Build(ctx, "peer", filepath.Join(o.dir, "peers", "protoactor"), ".", out)
	if err != nil {
		return nil, err
	}
	plan := harness.Plan{Rows: rows, Rounds: o.rounds, Granary: own.Run, Peer: peer.Run, Floors: floors, Progress: progress}
	return plan.Run(ctx), nil
}

// choose returns the rows that the pattern matches, as go test -run does: anywhere in the name.
func choose(rows []kit.Row, pattern string) ([]kit.Row, error) {
	if pattern == "" {
		return rows, nil
	}
	re, err := regexp.Compile(pattern)
	if err != nil {
		return nil, fmt.Errorf("rows: %w", err)
	}
	var chosen []kit.Row
	for _, r := range rows {
		if re.MatchString(r.Name) {
			chosen = append(chosen, r)
		}
	}
	if len(chosen) == 0 {
		return nil, fmt.Errorf("rows: %q matches none", pattern)
	}
	return chosen, nil
}

// write prints the report: JSON alone on standard output, or the table.
func write(out, errOut io.Writer, asJSON bool, r harness.Report) error {
	if !asJSON {
		return harness.WriteTable(out, r)
	}
	if err := harness.WriteTable(errOut, r); err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(r)
}

// cpuName is the processor's name and the number of processors used.
func cpuName() string {
	name := runtime.GOARCH
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(text)) {
			if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
				name = strings.TrimSpace(value)
				break
			}
		}
	}
	return fmt.Sprintf("%s, %d processors", name, runtime.GOMAXPROCS(0))
}
