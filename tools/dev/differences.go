package main

import (
	"fmt"
	"os"
	"regexp"
	"strings"
)

// The rows of docs/differences.md: an id, what Granary does, and either the tests that show it or
// why it cannot arise.
var (
	differenceRow  = regexp.MustCompile(`^\| *([A-Z])-(\d+) *\|(.*)\|(.*)\|$`)
	differenceTest = regexp.MustCompile("`([a-z][\\w/-]*) (Test\\w+|Fuzz\\w+|Example\\w*)`")
)

// differenceIDs is how many ids each group of weaknesses has: none may be left out.
var differenceIDs = map[string]int{"A": 25, "P": 20, "Q": 14, "R": 23, "L": 9, "K": 7, "G": 20, "M": 10, "V": 15}

// checkDifferences holds docs/differences.md: every id is there, every test that it names exists,
// and those that ran in this run passed. Ran is empty when the tests were not part of the run.
func checkDifferences(w *workspace, ran map[string]string) error {
	text, err := os.ReadFile(w.path("docs", "differences.md"))
	if err != nil {
		return err
	}
	tree, err := parseTree(w)
	if err != nil {
		return err
	}
	var bad findings
	have := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		m := differenceRow.FindStringSubmatch(strings.TrimSpace(line))
		if m == nil {
			continue
		}
		id := m[1] + "-" + m[2]
		have[id] = true
		checkDifference(tree, id, m[4], ran, &bad)
	}
	if !have["C-07"] { // the one row of its group
		bad.addf("docs/differences.md has no row for C-07")
	}
	for group, n := range differenceIDs {
		for i := 1; i <= n; i++ {
			if id := fmt.Sprintf("%s-%02d", group, i); !have[id] {
				bad.addf("docs/differences.md has no row for %s", id)
			}
		}
	}
	return bad.err()
}

func checkDifference(t *tree, id, proof string, ran map[string]string, bad *findings) {
	tests := differenceTest.FindAllStringSubmatch(proof, -1)
	if len(tests) == 0 {
		if !strings.Contains(proof, "cannot arise:") {
			bad.addf("docs/differences.md %s: names no test, and not why it cannot arise", id)
		}
		return
	}
	for _, m := range tests {
		dir, name := m[1], m[2]
		if !t.hasTest(dir, name) {
			bad.addf("docs/differences.md %s: %s has no %s", id, dir, name)
			continue
		}
		outcome := ran[prefix+dir+" "+name]
		if len(ran) > 0 && outcome != "pass" {
			bad.addf("docs/differences.md %s: %s %s did not pass in this run (%q)", id, dir, name, outcome)
		}
	}
}

func (t *tree) hasTest(dir, name string) bool {
	for _, p := range t.packages {
		if p.dir != dir {
			continue
		}
		for _, f := range p.tests {
			if f.ast.Scope.Lookup(name) != nil {
				return true
			}
		}
	}
	return false
}
