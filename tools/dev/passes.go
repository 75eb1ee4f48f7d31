package main

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/build/constraint"
	"go/doc"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"unicode"
)

// pass is one run of go test over some packages of go.work. All passes together run every test once.
type pass struct {
	name     string
	flags    []string
	tags     []string // of the build, beyond those of the machine
	packages []string // patterns, seen from the root
}

// withoutRace names what the race detector has nothing to say on, wherever it is tested: what is
// allocated, and the inputs of a decoder.
const withoutRace = "Alloc|IsSmall|BytesPer|Freed|^Fuzz"

// testTags are the builds for tests. Only what stands in files with their tag is run in them.
var testTags = []string{"failpoints", "simbug"}

const shuffled, testTimeout = "-shuffle=on", "-timeout=40m"

// planPasses divides the tests: with the race detector what may race, without it the packages of
// simulated (tools/no_race.txt) and what withoutRace names; and one pass for each build for tests. A
// machine without a C compiler needs one pass for all but the last.
func planPasses(t *tree, simulated []string, race bool) []pass {
	all := t.tested(nil, func(*pkg) bool { return true })
	flags := []string{shuffled, testTimeout}
	passes := []pass{{name: "tests", flags: flags, packages: all}}
	isSimulated := func(p *pkg) bool { return slices.Contains(simulated, p.dir) }
	if race {
		plain := regexp.MustCompile(withoutRace + anyOf(t.only("race", false, isSimulated)))
		passes = []pass{
			{"tests-race", append(slices.Clone(flags), "-race", "-skip="+withoutRace), []string{"race"}, t.tested([]string{"race"}, func(p *pkg) bool { return !isSimulated(p) })},
			{"tests-simulated", flags, nil, t.tested(nil, isSimulated)},
			{"tests-plain", append(slices.Clone(flags), "-run="+plain.String()), nil, t.tested(nil, func(p *pkg) bool {
				return !isSimulated(p) && slices.ContainsFunc(p.functions(nil), plain.MatchString)
			})},
		}
	}
	for _, tag := range testTags {
		names := t.only(tag, true, func(*pkg) bool { return false })
		in := t.tested([]string{tag}, func(p *pkg) bool { return len(p.only(tag, true)) > 0 })
		if len(in) > 0 {
			run := strings.TrimPrefix(anyOf(names), "|")
			passes = append(passes, pass{"tests-" + tag, []string{shuffled, testTimeout, "-tags=" + tag, "-run=" + run}, []string{tag}, in})
		}
	}
	return passes
}

// readPasses plans the passes of this checkout on this machine.
func readPasses(w *workspace) ([]pass, error) {
	t, err := parseTree(w)
	if err != nil {
		return nil, err
	}
	dirs, err := simulated(w, t)
	return planPasses(t, dirs, canRace(w)), err
}

// anyOf is the end of a pattern that matches each of the names and nothing else.
func anyOf(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return "|^(" + strings.Join(names, "|") + ")$"
}

// tested lists the packages that have tests in a build and are wanted.
func (t *tree) tested(tags []string, wanted func(*pkg) bool) (patterns []string) {
	for _, p := range t.packages {
		if len(p.functions(tags)) > 0 && wanted(p) {
			patterns = append(patterns, "./"+p.dir)
		}
	}
	return patterns
}

// only collects what p.only has in each package that is not left out, once.
func (t *tree) only(tag string, with bool, leftOut func(*pkg) bool) (names []string) {
	for _, p := range t.packages {
		if !leftOut(p) {
			names = append(names, p.only(tag, with)...)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// only lists the tests of a package that a build has with a tag and has not without, or the reverse.
func (p *pkg) only(tag string, with bool) (names []string) {
	in, out := p.functions([]string{tag}), p.functions(nil)
	if !with {
		in, out = out, in
	}
	for _, n := range in {
		if !slices.Contains(out, n) {
			names = append(names, n)
		}
	}
	return names
}

// functions lists what go test runs of a package in a build with these tags.
func (p *pkg) functions(tags []string) (names []string) {
	for _, f := range p.tests {
		if !f.builds(tags) {
			continue
		}
		for _, d := range f.ast.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name != "TestMain" && (isTestName(fn.Name.Name, "Test") || isTestName(fn.Name.Name, "Fuzz")) {
				names = append(names, fn.Name.Name)
			}
		}
		for _, e := range doc.Examples(f.ast) {
			if e.Output != "" || e.EmptyOutput {
				names = append(names, "Example"+e.Name)
			}
		}
	}
	return names
}

// isTestName is the rule of go test: a prefix, and then no lower-case letter.
func isTestName(name, prefix string) bool {
	rest, ok := strings.CutPrefix(name, prefix)
	return ok && (rest == "" || !unicode.IsLower([]rune(rest)[0]))
}

// builds reports whether a file is part of a build on this machine with these tags.
func (f *file) builds(tags []string) bool {
	for _, c := range f.ast.Comments {
		if c.Pos() >= f.ast.Package {
			break
		}
		for _, line := range c.List {
			expr, err := constraint.Parse(line.Text)
			if err == nil && !expr.Eval(func(tag string) bool { return ofMachine(tag) || slices.Contains(tags, tag) }) {
				return false
			}
		}
	}
	return true
}

func ofMachine(tag string) bool {
	return tag == runtime.GOOS || tag == runtime.GOARCH || tag == "unix" && runtime.GOOS != "windows" || strings.HasPrefix(tag, "go1.")
}

// passStep runs one pass and keeps what became of each test.
func passStep(w *workspace, p pass, logFile string) step {
	return step{p.name, fmt.Sprintf("make test ONLY='^%s$'", p.name), func(ctx context.Context) (result, error) {
		r, err := goTest(ctx, w, ".", logFile, serversRequired, p.flags, p.packages...)
		if err == nil && r.passed+r.failed == 0 {
			err = errors.New("no test was found")
		}
		return r, errors.Join(err, w.took(p, r.outcomes))
	}}
}

// took adds what a pass has run to what has run before. That a test has run twice is an error.
func (w *workspace) took(p pass, outcomes map[string]string) error {
	w.passed = append(w.passed, p.name)
	if w.ran == nil {
		w.ran = map[string]string{}
	}
	var bad findings
	for key, outcome := range outcomes {
		_, test, _ := strings.Cut(key, " ")
		if _, twice := w.ran[key]; twice && !strings.Contains(test, "/") {
			bad.addf("%s has run before: every test is in one pass only", key)
		}
		w.ran[key] = outcome
	}
	slices.Sort(bad)
	return bad.err()
}

// whole is what every test has come to, if all passes were part of this run; else nil.
func (w *workspace) whole(passes []pass) map[string]string {
	for _, p := range passes {
		if !slices.Contains(w.passed, p.name) {
			return nil
		}
	}
	return w.ran
}

// testsComplete holds what has run against the source: every test has, and none of it was lost.
func testsComplete(w *workspace, passes []pass) error {
	ran := w.whole(passes)
	if ran == nil {
		return errors.New("it needs the tests of all passes: make test ONLY=tests")
	}
	t, err := parseTree(w)
	if err != nil {
		return err
	}
	return everyTestRan(t, passes, ran)
}

// everyTestRan compares what the passes have run with what the source has.
func everyTestRan(t *tree, passes []pass, ran map[string]string) error {
	var bad findings
	for _, p := range t.packages {
		for _, pass := range passes {
			for _, name := range p.functions(pass.tags) {
				if ran[prefix+p.dir+" "+name] == "" {
					bad.addf("%s %s is in no pass: it did not run", p.dir, name)
				}
			}
		}
	}
	slices.Sort(bad)
	bad = slices.Compact(bad)
	return bad.err()
}

// simulated reads tools/no_race.txt: a folder and the reason why its tests need no race detector.
func simulated(w *workspace, t *tree) ([]string, error) {
	text, err := os.ReadFile(w.path("tools", "no_race.txt"))
	if err != nil {
		return nil, err
	}
	var dirs []string
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		dir, reason, _ := strings.Cut(line, " ")
		if strings.TrimSpace(reason) == "" {
			return nil, fmt.Errorf("tools/no_race.txt: %s has no reason", dir)
		}
		if !slices.ContainsFunc(t.packages, func(p *pkg) bool { return p.dir == dir && len(p.tests) > 0 }) {
			return nil, fmt.Errorf("tools/no_race.txt: %s has no tests", dir)
		}
		dirs = append(dirs, dir)
	}
	return dirs, nil
}
