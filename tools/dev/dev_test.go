package main

import (
	"context"
	"errors"
	"io"
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
	counts, failures := r.count()
	if *counts != (tally{passed: 2, failed: 3, skipped: 1}) {
		t.Errorf("counts %+v", *counts)
	}
	var names, texts []string
	for _, f := range failures {
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
	if got := failures[0].repeat; got != "go test -count=1 -run '^TestParent$/^one$' a" {
		t.Errorf("repeat %q", got)
	}
}

func TestParentThatFailsInItsOwnLinesIsAFailure(t *testing.T) {
	r := newReport("go test -count=1")
	text := `{"Action":"pass","Package":"a","Test":"TestParent/one"}
{"Action":"fail","Package":"a","Test":"TestParent"}
{"Action":"fail","Package":"a"}
`
	if err := r.read(strings.NewReader(text), nil); err != nil {
		t.Fatal(err)
	}
	if _, failures := r.count(); len(failures) != 1 || failures[0].name != "a TestParent" {
		t.Errorf("failures %+v", failures)
	}
}

func TestStepsEndInTheVerdict(t *testing.T) {
	fails := func(context.Context) error { return errors.New("broken") }
	passes := func(context.Context) error { return nil }
	counted := step{"counted", "", func(context.Context) (*tally, []failure, error) { return &tally{passed: 3, skipped: 1}, nil, nil }}
	all := regexp.MustCompile("")
	tests := []struct {
		name  string
		ci    string
		steps []step
		want  int
	}{
		{"all pass", "", []step{check("a", "", passes)}, 0},
		{"one fails", "", []step{check("a", "", passes), check("b", "", fails)}, 1},
		{"a skip by hand", "", []step{counted}, 0},
		{"a skip in CI", "true", []step{counted}, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("CI", tt.ci)
			if got := runSteps(t.Context(), io.Discard, tt.steps, all); got != tt.want {
				t.Errorf("exit %d, want %d", got, tt.want)
			}
		})
	}
}

func TestShellBlocks(t *testing.T) {
	tests := []struct {
		name, text string
		want       []string
	}{
		{"plain", "make test  # all\n# comment\n\ngo version\n", []string{"make test", "go version"}},
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
	got := fences("x.md", "text\n```go\na\nb\n```\nmore\n```sh\nc\n```\n")
	want := []block{{"x.md", 2, "go", "a\nb\n"}, {"x.md", 7, "sh", "c\n"}}
	if !slices.Equal(got, want) {
		t.Errorf("got %+v", got)
	}
}

func TestHabitsAreFound(t *testing.T) {
	w, err := openWorkspace()
	if err != nil {
		t.Fatal(err)
	}
	tree, err := parseTree(w)
	if err != nil {
		t.Fatal(err)
	}
	if len(tree.packages) < 10 {
		t.Errorf("only %d packages found", len(tree.packages))
	}
}
