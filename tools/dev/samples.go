package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// The commands of which the docs show what they print: a block says so behind its language, as in
// "text go run ./examples/cluster".
const (
	ofCluster     = "go run ./examples/cluster"
	ofClusterJSON = "go run ./examples/cluster -json"
	ofTest        = "make test"
)

// exampleLimit is how many lines the program in the readme may have.
const exampleLimit = 20

// checkSample holds a block that is neither Go nor for a shell: text is what a named command prints, json
// its object, proto what the generator takes. Any other stands in tools/not_checked.txt with the reason.
func checkSample(ctx context.Context, w *workspace, b block, steps []string) error {
	lang, of, _ := strings.Cut(b.lang, " ")
	switch {
	case lang == "proto":
		return generates(ctx, w, b.text)
	case lang == "json" && of == ofClusterJSON:
		contract, err := readShape(w.path(exampleShape))
		if err != nil {
			return err
		}
		_, err = contract.check(b.text)
		return err
	case lang == "text" && of == ofTest:
		return linesOfTest(b.text, steps)
	case lang == "text" && of == ofCluster:
		return nil // the step example-cluster compares it with what is printed
	}
	return fmt.Errorf("nothing checks this %s of %q: name the command that prints it (%q, %q, %q), or put it into tools/not_checked.txt with the reason",
		lang, of, ofCluster, ofClusterJSON, ofTest)
}

// generates has the generator make messages and grains of a .proto.
func generates(ctx context.Context, w *workspace, text string) error {
	dir, err := os.MkdirTemp("", "granary-docs-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	name := filepath.Join(dir, "sample.proto")
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		return err
	}
	_, err = w.combined(ctx, ".", nil, "go", "run", "./cmd/granary-gen", "-I", dir, "-out", filepath.Join(dir, "out"), name)
	return err
}

var (
	lineOfStep  = regexp.MustCompile(`^step (\S+) … (?:ok|FAILED)(?: \(\d+ passed, \d+ skipped\))? [\d.]+s$`)
	lineOfCount = regexp.MustCompile(`^\d+ passed, \d+ failed, \d+ skipped$`)
)

// linesOfTest wants lines that make test prints, of steps that there are, and the count at the end.
func linesOfTest(text string, steps []string) error {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	for i, line := range lines {
		m := lineOfStep.FindStringSubmatch(line)
		switch last := i == len(lines)-1; {
		case last && lineOfCount.MatchString(line), !last && line == "…":
		case !last && m != nil && slices.Contains(steps, m[1]):
		default:
			return fmt.Errorf("make test prints no line %q there", line)
		}
	}
	return nil
}

var someNumber = regexp.MustCompile(`\d+(\.\d+)?`)

// likeness is a line without what differs from run to run.
func likeness(line string) string { return squeeze(someNumber.ReplaceAllString(line, "0")) }

// printedByCluster compares the blocks that show what examples/cluster prints with what it has printed:
// each line, but for its numbers, is one of those.
func printedByCluster(w *workspace, printed string) error {
	blocks, err := docBlocks(w)
	if err != nil {
		return err
	}
	have := map[string]bool{"": true, "…": true}
	for line := range strings.Lines(printed) {
		have[likeness(line)] = true
	}
	var bad findings
	found := false
	for _, b := range blocks {
		if b.lang != "text "+ofCluster {
			continue
		}
		found = true
		for line := range strings.Lines(b.text) {
			if !have[likeness(line)] {
				bad.addf("%s:%d: %s prints no line like %q", b.file, b.line, ofCluster, strings.TrimRight(line, "\n"))
			}
		}
	}
	if !found {
		bad.addf("no document shows what %s prints", ofCluster)
	}
	return bad.err()
}

// readNotChecked reads tools/not_checked.txt: a file, a space, the first line of its block, a tab, and the
// reason why nothing checks the block.
func readNotChecked(w *workspace) (map[string]bool, error) { return readReasons(w, "not_checked.txt") }

// naming is how the list of what is not checked names a block.
func (b block) naming() string {
	first, _, _ := strings.Cut(strings.TrimLeft(b.text, "\n"), "\n")
	return b.file + " " + squeeze(first)
}
