package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
)

// exampleCluster runs the demonstration as a newcomer does and holds its object against the
// contract: one line of JSON that says ok.
func exampleCluster(ctx context.Context, w *workspace) error {
	cmd := w.command(ctx, ".", nil, "go", "run", "./examples/cluster", "-for", "20s", "-json")
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	lines := strings.Split(strings.TrimRight(stdout.String(), "\n"), "\n")
	if len(lines) != 1 {
		return fmt.Errorf("standard output has %d lines, want one JSON object\n%s\n%s", len(lines), stdout.String(), stderr.String())
	}
	var object struct {
		Schema  int
		OK      bool
		Reasons []string
	}
	if jsonErr := json.Unmarshal([]byte(lines[0]), &object); jsonErr != nil {
		return fmt.Errorf("standard output is no JSON object: %w\n%s\n%s", jsonErr, lines[0], stderr.String())
	}
	if err != nil || !object.OK || object.Schema != 1 {
		return fmt.Errorf("ok %v, reasons %v, exit: %v\n%s\n%s", object.OK, object.Reasons, err, lines[0], stderr.String())
	}
	return nil
}

// simShort runs some schedules of faults, on the heap and on whole nodes, too few to demand that every state was come through.
func simShort(ctx context.Context, w *workspace) error {
	cmd := w.command(ctx, "engine/internal/sim", outsideWork, "go", "run", ".", "-seeds", "200", "-json")
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	runErr := cmd.Run()
	var object struct {
		OK                    bool
		Heap, Nodes, Replayed int
	}
	if err := json.Unmarshal([]byte(stdout.String()), &object); err != nil {
		return fmt.Errorf("no JSON object: %w (exit: %v)\n%s\n%s", err, runErr, stdout.String(), stderr.String())
	}
	if !object.OK || object.Heap != 200 || object.Nodes != 5 || object.Replayed == 0 || runErr != nil {
		return fmt.Errorf("exit: %v\n%s", runErr, stderr.String())
	}
	return nil
}

// benchShort runs a few rows of the benchmark once: it shows that both programs build and do their
// work to the end. Ratios are judged by make bench alone, on a quiet machine.
func benchShort(ctx context.Context, w *workspace) error {
	cmd := w.command(ctx, "bench", outsideWork, "go", "run", ".", "-rows", "^(tell1|ask64|rask64|grainremote64)$", "-rounds", "1", "-json")
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	runErr := cmd.Run()
	var object struct {
		Schema int
		Rows   []struct {
			Row           string
			Granary, Peer float64
		}
	}
	if err := json.Unmarshal([]byte(stdout.String()), &object); err != nil {
		return fmt.Errorf("no JSON object: %w (exit: %v)\n%s\n%s", err, runErr, stdout.String(), stderr.String())
	}
	if len(object.Rows) != 4 {
		return fmt.Errorf("%d rows, want 4\n%s", len(object.Rows), stdout.String())
	}
	for _, r := range object.Rows {
		if r.Granary <= 0 || r.Peer <= 0 {
			return fmt.Errorf("row %s did not finish on both sides\n%s\n%s", r.Row, stdout.String(), stderr.String())
		}
	}
	return nil
}
