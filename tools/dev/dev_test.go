package main

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const stream = `{"Action":"start","Package":"a"}
{"Action":"output","Package":"a","Test":"TestParent/one","Output":"boom\n"}
{"Action":"fail","Package":"a","Test":"TestParent/one"}
{"Action":"pass","Package":"a","Test":"TestParent/two"}
{"Action":"fail","Package":"a","Test":"TestParent"}
{"Action":"pass","Package":"a","Test":"TestAlone"}
{"Action":"output","Package":"a","Test":"TestSkipped","Output":"no compiler\n"}
{"Action":"skip","Package":"a","Test":"TestSkipped"}
{"Action":"fail","Package":"a"}
{"Action":"output","Package":"b","Output":"goroutine left\n"}
{"Action":"fail","Package":"b"}
{"Action":"build-output","ImportPath":"c [c.test]","Output":"undefined: x\n"}
{"Action":"fail","Package":"c"}
`

func TestCountsLeafTestsAndPackagesThatFailWithoutOne(t *testing.T) {
	r := newReport("go test -count=1")
	if err := r.read(strings.NewReader(stream), nil); err != nil {
		t.Fatal(err)
	}
	got := r.count()
	if got.tally != (tally{passed: 2, failed: 3, skipped: 1}) {
		t.Errorf("counts %+v", got.tally)
	}
	if len(got.skips) != 1 || got.skips[0].name != "a TestSkipped" || !strings.Contains(got.skips[0].text, "no compiler") {
		t.Errorf("skips %+v", got.skips)
	}
	var names, texts []string
	for _, f := range got.failures {
		names, texts = append(names, f.name), append(texts, f.text)
	}
	if !slices.Equal(names, []string{"a TestParent/one", "b", "c"}) {
		t.Errorf("failures %q", names)
	}
	for i, want := range []string{"boom", "goroutine left", "undefined: x"} {
		if !strings.Contains(texts[i], want) {
			t.Errorf("failure %d: %q does not tell %q", i, texts[i], want)
		}
	}
	if got := got.failures[0].repeat; got != "go test -count=1 -run '^TestParent$/^one$' a" {
		t.Errorf("repeat %q", got)
	}
}

func counted(t *testing.T, text string) result {
	t.Helper()
	r := newReport("go test -count=1")
	if err := r.read(strings.NewReader(text), nil); err != nil {
		t.Fatal(err)
	}
	return r.count()
}

func TestParentThatFailsInItsOwnLinesIsAFailure(t *testing.T) {
	got := counted(t, `{"Action":"pass","Package":"a","Test":"TestParent/one"}
{"Action":"fail","Package":"a","Test":"TestParent"}
{"Action":"fail","Package":"a"}
`)
	if len(got.failures) != 1 || got.failures[0].name != "a TestParent" || got.tally != (tally{passed: 1, failed: 1}) {
		t.Errorf("%+v", got)
	}
}

// The name of a subtest may hold slashes, quotes and what a regular expression takes for itself.
func TestNamesOfSubtests(t *testing.T) {
	got := counted(t, `{"Action":"fail","Package":"a","Test":"TestFiles/b.json/it's_(1)"}
{"Action":"pass","Package":"a","Test":"TestFiles/b.json/two"}
{"Action":"fail","Package":"a","Test":"TestFiles"}
{"Action":"fail","Package":"a"}
`)
	if got.tally != (tally{passed: 1, failed: 1}) || len(got.failures) != 1 {
		t.Errorf("%+v", got)
	}
	if want := `go test -count=1 -run '^TestFiles$/^b\.json$/^it'\''s_\(1\)$' a`; got.failures[0].repeat != want {
		t.Errorf("repeat %s, want %s", got.failures[0].repeat, want)
	}
}

// The command that repeats a failure runs the tests in the order in which it was seen.
func TestRepeatHasTheSeedOfTheOrder(t *testing.T) {
	r := newReport(repeatCommand(".", nil, []string{shuffled, "-race", "-skip=A|^Fuzz", "-run=x"}))
	if err := r.read(strings.NewReader(`{"Action":"output","Package":"a","Output":"-test.shuffle 1795434985799414506\n"}
{"Action":"output","Package":"a","Test":"TestX","Output":"-test.shuffle 1\n"}
{"Action":"fail","Package":"a","Test":"TestX"}
{"Action":"fail","Package":"a"}
{"Action":"output","Package":"b","Output":"-test.shuffle 7\n"}
{"Action":"fail","Package":"b"}
{"Action":"fail","Package":"c"}
`), nil); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range r.count().failures {
		got = append(got, f.repeat)
	}
	if want := []string{
		"go test -count=1 -shuffle=1795434985799414506 -race -run '^TestX$' a",
		"go test -count=1 -shuffle=7 -race '-skip=A|^Fuzz' -run=x b",
		"go test -count=1 -shuffle=on -race '-skip=A|^Fuzz' -run=x c", // it was not built: there was no order
	}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestRepeatCommand(t *testing.T) {
	for want, got := range map[string]string{
		"go test -count=1 -race":                  repeatCommand(".", nil, []string{"-race"}),
		"go test -count=1 '-run=A|B'":             repeatCommand(".", nil, []string{"-run=A|B"}),
		"cd bench && GOWORK=off go test -count=1": repeatCommand("bench", outsideWork, nil),
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestStepsEndInTheVerdict(t *testing.T) {
	broken := func(context.Context) error { return errors.New("broken") }
	fine := func(context.Context) error { return nil }
	tests := func(r result, err error) step {
		return step{"tests", "go test work", func(context.Context) (result, error) { return r, err }}
	}
	skips := result{tally: tally{passed: 3, skipped: 1}, skips: []note{{name: "a TestX", text: "no compiler"}}}
	for _, tt := range []struct {
		name  string
		ci    string
		steps []step
		only  string
		want  int
		last  string
		says  string
	}{
		{"all pass", "", []step{check("a", "", fine)}, "", 0, "1 passed, 0 failed, 0 skipped", "step a … ok 0.0s"},
		{"one fails", "", []step{check("a", "", fine), check("b", "make b", broken)}, "", 1, "1 passed, 1 failed, 0 skipped", "FAILED b\n  broken\n  repeat: make b"},
		{"the one that fails is not asked for", "", []step{check("a", "", fine), check("b", "", broken)}, "^a$", 0, "1 passed, 0 failed, 0 skipped", ""},
		{"no step is asked for", "", []step{check("a", "", fine), check("b", "", fine)}, "c", 1, "0 passed, 1 failed, 0 skipped", "no step matches \"c\""},
		{"a skip by hand", "", []step{tests(skips, nil)}, "", 0, "3 passed, 0 failed, 1 skipped", "SKIPPED a TestX\n  no compiler"},
		{"a skip in CI", "true", []step{tests(skips, nil)}, "", 1, "3 passed, 0 failed, 1 skipped", "SKIPPED a TestX"},
		{"go test fails with no failed test", "", []step{tests(result{tally: tally{passed: 3}}, errors.New("killed"))}, "", 1, "3 passed, 1 failed, 0 skipped", "FAILED tests\n  killed\n  repeat: go test work"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("CI", tt.ci)
			var out strings.Builder
			if got := runSteps(t.Context(), &out, tt.steps, regexp.MustCompile(tt.only)); got != tt.want {
				t.Errorf("exit %d, want %d", got, tt.want)
			}
			if !strings.HasSuffix(out.String(), "\n"+tt.last+"\n") || !strings.Contains(out.String(), tt.says) {
				t.Errorf("want %q at the end, and %q:\n%s", tt.last, tt.says, out.String())
			}
		})
	}
}

// A run that is interrupted has not passed.
func TestInterrupt(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	first := check("a", "", func(context.Context) error { cancel(); return nil })
	second := check("b", "make b", func(context.Context) error { t.Error("b was run"); return nil })
	var out strings.Builder
	if got := runSteps(ctx, &out, []step{first, second}, regexp.MustCompile("")); got != 1 || !strings.HasSuffix(out.String(), "\n1 passed, 1 failed, 0 skipped\n") {
		t.Errorf("exit %d\n%s", got, out.String())
	}
}

func TestJudgeFuzz(t *testing.T) {
	const progress = "fuzz: elapsed: 3s, execs: 6441 (2134/sec), new interesting: 35 (total: 36)\n"
	failed := errors.New("exit status 1")
	for _, tt := range []struct {
		name, out string
		err       error
		want      fuzzed
		crash     bool
	}{
		{"nothing found", progress + "PASS\n", nil, fuzzed{execs: 6441, fresh: 35}, false},
		{"crash", progress + "--- FAIL: FuzzX (1.00s)\n    --- FAIL: FuzzX (0.00s)\n        x_test.go:1: bad\n\n    Failing input written to testdata/fuzz/FuzzX/0a\nFAIL\n", failed, fuzzed{execs: 6441, fresh: 35, input: "testdata/fuzz/FuzzX/0a"}, true},
		{"time is up", progress + "--- FAIL: FuzzX (3.01s)\n    context deadline exceeded\nFAIL\nexit status 1\n", failed, fuzzed{execs: 6441, fresh: 35}, false},
		{"time is up before the first input", "fuzz: elapsed: 1s, gathering baseline coverage: 0/9 completed\n", nil, fuzzed{}, true},
		{"time is up before the first input, as a failure", "fuzz: elapsed: 1s, gathering baseline coverage: 0/9 completed\n--- FAIL: FuzzX (1.01s)\n    context deadline exceeded\nFAIL\nexit status 1\n", failed, fuzzed{}, true},
		{"baseline only", "fuzz: elapsed: 1s, execs: 0 (0/sec), new interesting: 0 (total: 9)\nPASS\n", nil, fuzzed{}, true},
		{"an error of the target's own", "--- FAIL: FuzzX (3.01s)\n    --- FAIL: FuzzX (0.00s)\n        x_test.go:9: context deadline exceeded\nFAIL\nexit status 1\n", failed, fuzzed{}, true},
		{"does not build", "x_test.go:1: undefined: y\nFAIL\n", failed, fuzzed{}, true},
		{"nothing tried", "testing: warning: no fuzz tests to fuzz\nPASS\n", nil, fuzzed{}, true},
	} {
		got := judgeFuzz(tt.out, tt.err)
		if (got.err != nil) != tt.crash {
			t.Errorf("%s: %v", tt.name, got.err)
		}
		if got.err = nil; got != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
		}
	}
}

func TestFuzzAmount(t *testing.T) {
	for text, good := range map[string]bool{
		"10s": true, "1m30s": true, shortExecs: true, "1x": true,
		"": false, "0s": false, "-1s": false, "0x": false, "-1x": false, "10": false, "x": false, "1sx": false,
	} {
		a := fuzzAmount("10s")
		if err := a.Set(text); (err == nil) != good || good && a.String() != text {
			t.Errorf("%q: %v, %s", text, err, &a)
		}
	}
}

// The command that a failing step names does what the step did.
func TestFuzzShortIsRepeatedByItsCommand(t *testing.T) {
	s := fuzzShort(new(workspace))
	amount, found := strings.CutPrefix(s.repeat, "make fuzz FUZZTIME=")
	if parsed := fuzzAmount(""); !found || amount != shortExecs || parsed.Set(amount) != nil {
		t.Errorf("repeated by %s, it gives each target %s", s.repeat, shortExecs)
	}
}

func TestShellBlocks(t *testing.T) {
	tests := []struct {
		name, text string
		want       []string
	}{
		{"plain", "make test  # all\n# comment\n\ngo version\n", []string{"make test", "go version"}},
		{"comments", "make bench ROWS='^a' # some\nmake '#1'\n", []string{"make bench ROWS='^a'", "make '#1'"}},
		{"prompts", "$ go version\ngo version go1.26\n", []string{"go version"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := shellCommands(tt.text); !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestFences(t *testing.T) {
	got := fences("x.md", "text\n```go\na\nb\n```\nmore\n```sh\nc\n```\n```go\nlost\n")
	want := []block{{"x.md", 2, "go", "a\nb\n"}, {"x.md", 7, "sh", "c\n"}, {"x.md", 10, "unclosed go", "lost\n\n"}}
	if !slices.Equal(got, want) {
		t.Errorf("got %+v", got)
	}
}
