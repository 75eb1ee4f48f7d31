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
	"slices"
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
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	code := command(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// command is main with everything handed in. It returns the exit code.
func command(ctx context.Context, args []string, env func(string) string, stdout, stderr io.Writer) int {
	opts, err := parse(args, env, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		return refuse(opts, err, stdout, stderr)
	}
	report := run(ctx, opts, stderr)
	if err := write(stdout, stderr, opts.json, report); err != nil {
		fmt.Fprintln(stderr, "bench:", err)
		return 1
	}
	if !report.OK {
		return 1
	}
	return 0
}

// refuse tells why there is no run, also to a program that reads the object, and returns the exit code.
func refuse(o options, why error, stdout, stderr io.Writer) int {
	fmt.Fprintln(stderr, "bench:", why)
	if o.json {
		report := newReport(o)
		report.Error = why.Error()
		report.Reasons = harness.Reasons(report)
		if err := encode(stdout, report); err != nil {
			fmt.Fprintln(stderr, "bench:", err)
		}
	}
	return 2
}

// parse reads flags, and the environment where a flag is not given. Of wrong ones it still tells whether the
// object was asked for.
func parse(args []string, env func(string) string, errOut io.Writer) (options, error) {
	o, err := parseFlags(args, env, errOut)
	if err != nil {
		o.json = o.json || env("JSON") == "1" || asksJSON(args)
	}
	return o, err
}

// asksJSON finds -json among arguments of which another is wrong.
func asksJSON(args []string) bool {
	return slices.ContainsFunc(args, func(a string) bool {
		name, value, set := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(a, "-"), "-"), "=")
		on, err := strconv.ParseBool(value)
		return a != name && name == "json" && (!set || err == nil && on)
	})
}

func parseFlags(args []string, env func(string) string, errOut io.Writer) (options, error) {
	var o options
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.SetOutput(errOut)
	fs.StringVar(&o.rows, "rows", env("ROWS"), "regexp of the rows to run; empty: all (env ROWS)")
	fs.IntVar(&o.rounds, "rounds", 5, "rounds of each row (env ROUNDS)")
	fs.BoolVar(&o.json, "json", env("JSON") == "1", "print one line of JSON (env JSON=1)")
	fs.StringVar(&o.dir, "dir", ".", "folder of the bench module")
	if v := env("ROUNDS"); v != "" {
		if err := fs.Set("rounds", v); err != nil {
			return o, fmt.Errorf("ROUNDS=%q is not a number", v)
		}
	}
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	return o, o.check(fs.Args())
}

func (o options) check(rest []string) error {
	if len(rest) > 0 {
		return fmt.Errorf("unexpected argument %q", rest[0])
	}
	if o.rounds < 1 {
		return errors.New("rounds must be at least 1")
	}
	if _, err := choose(kit.Rows(), o.rows); err != nil {
		return err
	}
	return nil
}

func newReport(o options) harness.Report {
	return harness.Report{Schema: 1, CPU: cpuName(), Go: runtime.Version(), Peer: peerName, Rounds: o.rounds, Rows: []harness.RowReport{}}
}

// run builds the programs, runs the rows and reports; what goes wrong is in the report.
func run(ctx context.Context, o options, progress io.Writer) harness.Report {
	start := time.Now()
	report := newReport(o)
	rows, err := measure(ctx, o, progress)
	report.Seconds = time.Since(start).Seconds()
	report.Interrupted = ctx.Err() != nil
	if err != nil {
		report.Error = err.Error()
		report.Reasons = harness.Reasons(report)
		return report
	}
	report.Rows, report.AllocsOK = rows, true
	for _, r := range rows {
		report.AllocsOK = report.AllocsOK && r.AllocsOK
	}
	report.Reasons = harness.Reasons(report)
	report.OK = len(report.Reasons) == 0
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
	return encode(out, r)
}

// encode prints one line with one object, whatever the report holds.
func encode(out io.Writer, r harness.Report) error {
	line, err := json.Marshal(r)
	if err != nil { // a figure that is no number
		line = fmt.Appendf(nil, `{"schema":1,"ok":false,"reasons":[%q],"rows":[]}`, err)
	}
	_, printed := fmt.Fprintf(out, "%s\n", line)
	return errors.Join(err, printed)
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
