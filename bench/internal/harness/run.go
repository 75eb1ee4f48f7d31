// Package harness takes two programs in turn, row by row and round by round, and makes the table
// and the JSON object of the benchmark from what they print.
package harness

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/granary-go/granary/bench/kit"
)

// Runner runs one row on one side; [Program.Run] is one.
type Runner func(ctx context.Context, row string, n int) (kit.Result, error)

// Plan says what to run.
type Plan struct {
	Rows          []kit.Row
	Rounds        int
	Granary, Peer Runner
	Floors        Floors
	Progress      io.Writer // a line a row and round
}

// Run runs all rounds of all rows. Round by round the sides take turns in going first. A row that
// fails is not run again; it stays in the report with its error. When ctx ends, what is there is
// reported.
func (p Plan) Run(ctx context.Context) []RowReport {
	samples := make([]Sample, len(p.Rows))
	for round := range p.Rounds {
		for i, row := range p.Rows {
			if ctx.Err() != nil || samples[i].Err != nil {
				continue
			}
			samples[i].Err = p.round(ctx, round, row, &samples[i])
		}
	}
	reports := make([]RowReport, len(p.Rows))
	for i, row := range p.Rows {
		reports[i] = NewRowReport(row, p.Floors[row.Name], p.Rounds, samples[i])
	}
	return reports
}

// round runs both sides of a row once.
func (p Plan) round(ctx context.Context, round int, row kit.Row, s *Sample) error {
	start := time.Now()
	own := func() error { return keep(ctx, p.Granary, row, &s.Granary) }
	peer := func() error { return keep(ctx, p.Peer, row, &s.Peer) }
	order := []func() error{own, peer}
	if round%2 == 1 {
		order = []func() error{peer, own}
	}
	for _, side := range order {
		if err := side(); err != nil {
			if ctx.Err() != nil {
				return fmt.Errorf("interrupted")
			}
			fmt.Fprintf(p.Progress, "round %d/%d  %-14s error: %v\n", round+1, p.Rounds, row.Name, err)
			return err
		}
	}
	of := figure(row)
	fmt.Fprintf(p.Progress, "round %d/%d  %-14s %s: %s, peer %s  (%.1fs)\n", round+1, p.Rounds, row.Name, row.Metric,
		short(of(s.Granary[len(s.Granary)-1])), short(of(s.Peer[len(s.Peer)-1])), time.Since(start).Seconds())
	return nil
}

func keep(ctx context.Context, run Runner, row kit.Row, into *[]kit.Result) error {
	res, err := run(ctx, row.Name, 0)
	if err != nil {
		return err
	}
	*into = append(*into, res)
	return nil
}

// CheckFloors returns an error unless there is a floor for each row and a row for each floor.
func CheckFloors(floors Floors, rows []kit.Row) error {
	known := map[string]bool{}
	for _, row := range rows {
		known[row.Name] = true
		if _, ok := floors[row.Name]; !ok {
			return fmt.Errorf("floors: row %q has none", row.Name)
		}
	}
	for name := range floors {
		if !known[name] {
			return fmt.Errorf("floors: there is no row %q", name)
		}
	}
	return nil
}
