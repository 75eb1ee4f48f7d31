package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// exampleShape is the contract of the demonstration's object.
const exampleShape = "tools/dev/testdata/example_cluster.txt"

// exampleCluster runs the demonstration as a newcomer does and holds its object against the
// contract: one line of JSON that says ok, with the keys of testdata/example_cluster.txt and no other.
func exampleCluster(ctx context.Context, w *workspace) error {
	cmd := w.command(ctx, ".", nil, "go", "run", "./examples/cluster", "-for", "20s", "-json")
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	contract, shapeErr := readShape(w.path(exampleShape))
	if shapeErr != nil {
		return shapeErr
	}
	if err = errors.Join(judgeExample(contract, stdout.String()), err, printedByCluster(w, stderr.String())); err != nil {
		return fmt.Errorf("%w\n%s\n%s", err, stdout.String(), stderr.String())
	}
	return nil
}

// judgeExample holds what the demonstration printed against its contract.
func judgeExample(contract shape, stdout string) error {
	line, found := strings.CutSuffix(stdout, "\n")
	if !found || strings.Contains(line, "\n") {
		return fmt.Errorf("standard output has %d lines, want one JSON object", strings.Count(stdout, "\n"))
	}
	object, err := contract.check(line)
	if err != nil {
		return err
	}
	if object["ok"] != true || object["schema"] != 1.0 || object["kills"] != 1.0 || object["joins"] != 1.0 {
		return fmt.Errorf("ok %v, reasons %v, schema %v, %v killed, %v joined", object["ok"], object["reasons"], object["schema"], object["kills"], object["joins"])
	}
	return tookPlace(object)
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
