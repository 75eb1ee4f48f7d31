package main

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// A checkout with a test of each sort; the tests themselves pass.
var sorts = map[string]string{
	"core/ex_test.go":            "package core\n\nimport (\n\t\"fmt\"\n\t\"testing\"\n)\n\nfunc ExampleThing() {\n\tfmt.Println(1)\n\t// Output: 1\n}\n\nfunc ExampleThing_Do() {}\n\nfunc FuzzThing(f *testing.F) { f.Fuzz(func(*testing.T, string) {}) }\n\nfunc TestThing(t *testing.T) {}\n\nfunc TestNoAllocation(t *testing.T) {}\n\nfunc Testing() {}\n\nfunc TestMain(m *testing.M) { m.Run() }\n",
	"core/race_test.go":          "//go:build race\n\npackage core\n\nimport \"testing\"\n\nfunc TestRaced(t *testing.T) {}\n",
	"core/norace_test.go":        "//go:build !race\n\npackage core\n\nimport \"testing\"\n\nfunc TestLarge(t *testing.T) {}\n",
	"core/failpoint/on_test.go":  "//go:build failpoints\n\npackage failpoint\n\nimport \"testing\"\n\nfunc TestOn(t *testing.T) {}\n",
	"core/failpoint/off_test.go": "//go:build !failpoints\n\npackage failpoint\n\nimport \"testing\"\n\nfunc TestOff(t *testing.T) {}\n",
	"core/failpoint/any_test.go": "package failpoint\n\nimport \"testing\"\n\nfunc TestBoth(t *testing.T) {}\n",
	"core/world/world_test.go":   "package world\n\nimport \"testing\"\n\nfunc TestWorld(t *testing.T) {}\n\nfunc FuzzWorld(f *testing.F) { f.Fuzz(func(*testing.T, string) {}) }\n\nfunc TestWorldIsSmall(t *testing.T) {}\n",
	"core/other/other_test.go":   "//go:build plan9\n\npackage other\n\nimport \"testing\"\n\nfunc TestOther(t *testing.T) {}\n",
	"tools/no_race.txt":          "# list\ncore/world one goroutine\n",
}

// everyTest is what is run of it: by the race detector where there is one.
var everyTest = map[bool]map[string][]string{
	true: {
		"tests-race":       {"core ExampleThing", "core TestRaced", "core TestThing", "core/failpoint TestBoth", "core/failpoint TestOff"},
		"tests-simulated":  {"core/world FuzzWorld", "core/world TestWorld", "core/world TestWorldIsSmall"},
		"tests-plain":      {"core FuzzThing", "core TestLarge", "core TestNoAllocation"},
		"tests-failpoints": {"core/failpoint TestOn"},
	},
	false: {
		"tests": {"core ExampleThing", "core FuzzThing", "core TestLarge", "core TestNoAllocation", "core TestThing",
			"core/failpoint TestBoth", "core/failpoint TestOff", "core/world FuzzWorld", "core/world TestWorld", "core/world TestWorldIsSmall"},
		"tests-failpoints": {"core/failpoint TestOn"},
	},
}

// The passes run each test that this machine can build, once, and the simulations, the inputs of decoders
// and what is allocated without the race detector.
func TestPassesRunEveryTestOnce(t *testing.T) {
	w := checkout(t, sorts)
	tree, err := parseTree(w)
	if err != nil {
		t.Fatal(err)
	}
	dirs, err := simulated(w, tree)
	if err != nil {
		t.Fatal(err)
	}
	for race, want := range everyTest {
		if race && !canRace(w) {
			continue
		}
		w.passed, w.ran = nil, nil
		got := map[string][]string{}
		passes := planPasses(tree, dirs, race)
		for _, p := range passes {
			if w.whole(passes) != nil {
				t.Error("all before the last pass")
			}
			s := passStep(w, p, "")
			before := maps.Clone(w.ran)
			if r, err := s.do(t.Context()); err != nil || r.failed > 0 {
				t.Fatalf("%s: %+v, %v", p.name, r, err)
			}
			for key := range w.ran {
				if _, old := before[key]; !old {
					got[p.name] = append(got[p.name], strings.TrimPrefix(key, prefix))
				}
			}
			slices.Sort(got[p.name])
		}
		if !maps.EqualFunc(got, want, slices.Equal) {
			t.Errorf("race %v: ran %q, want %q", race, got, want)
		}
		if err := testsComplete(w, passes); err != nil {
			t.Error(err)
		}
		delete(w.ran, prefix+"core TestThing")
		if err := testsComplete(w, passes); err == nil || !strings.Contains(err.Error(), "core TestThing is in no pass") || strings.Contains(err.Error(), "\n") {
			t.Errorf("one was lost: %v", err)
		}
	}
}

// What has run already, and what was not run at all, are failures.
func TestPassesThatGoWrong(t *testing.T) {
	w := checkout(t, sorts)
	p := pass{"tests-failpoints", []string{"-tags=failpoints"}, []string{"failpoints"}, []string{"./core/failpoint"}}
	s := passStep(w, p, "")
	if r, err := s.do(t.Context()); r.passed != 2 || err != nil {
		t.Errorf("%+v, %v", r.tally, err)
	}
	if _, err := s.do(t.Context()); err == nil || !strings.Contains(err.Error(), "core/failpoint TestBoth has run before") {
		t.Errorf("twice: %v", err)
	}
	none := pass{name: "none", flags: []string{"-run=Nope"}, packages: []string{"./core"}}
	if _, err := passStep(w, none, "").do(t.Context()); err == nil || !strings.Contains(err.Error(), "no test was found") {
		t.Errorf("none: %v", err)
	}
	if err := testsComplete(w, []pass{p, {name: "tests-race"}}); err == nil || !strings.Contains(err.Error(), "ONLY=tests") {
		t.Errorf("one of two passes: %v", err)
	}
}

// Tests that need a server fail without it, and the command that repeats one does so too.
func TestServersAreRequired(t *testing.T) {
	const needy = "package core\n\nimport (\n\t\"os\"\n\t\"testing\"\n)\n\nfunc TestServer(t *testing.T) {\n\tif os.Getenv(\"GRANARY_SERVERS\") == \"required\" {\n\t\tt.Fatal(\"missing\")\n\t}\n\tt.Skip()\n}\n"
	w := checkout(t, map[string]string{"core/server_test.go": needy})
	r, err := passStep(w, pass{name: "tests", flags: []string{"-run=TestServer"}, packages: []string{"./core"}}, "").do(t.Context())
	if err != nil || r.failed != 1 || r.skipped != 0 || !strings.HasPrefix(r.failures[0].repeat, "GRANARY_SERVERS=required go test") {
		t.Errorf("%+v, %v", r, err)
	}
}

// The step servers runs the program that gets them, in its folder, and tells what it said when it fails.
func TestGetServers(t *testing.T) {
	program := func(body string) map[string]string {
		return map[string]string{
			"integration/go.mod":              "module github.com/granary-go/granary/integration\n\ngo 1.26.0\n",
			"integration/servers/get/main.go": "package main\n\nimport \"os\"\n\nfunc main() {\n" + body + "\n}\n",
		}
	}
	const right = "\tif len(os.Args) != 3 || os.Args[1] != \"redis\" || os.Args[2] != \"consul\" {\n\t\tos.Exit(2)\n\t}\n\tif _, err := os.Stat(\"servers/get\"); err != nil {\n\t\tos.Exit(3)\n\t}"
	if err := checkout(t, program(right)).getServers(t.Context()); err != nil {
		t.Error(err)
	}
	const wrong = "\tprintln(\"install redis-server\")\n\tos.Exit(1)"
	if err := checkout(t, program(wrong)).getServers(t.Context()); err == nil || !strings.Contains(err.Error(), "install redis-server") {
		t.Errorf("error %v, want what the program said", err)
	}
}

func TestListOfSimulations(t *testing.T) {
	for line, want := range map[string]string{"core/world": "has no reason", "core/nope it is not there": "has no tests", "core/world it is one": ""} {
		w := checkout(t, map[string]string{"core/world/world_test.go": sorts["core/world/world_test.go"], "tools/no_race.txt": line + "\n"})
		_, err := readPasses(w)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", line, err)
		}
	}
}
