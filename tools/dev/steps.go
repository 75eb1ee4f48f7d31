package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// testAll is make test: every check that a newcomer needs to trust the project.
func testAll(ctx context.Context, w *workspace, only *regexp.Regexp, logFile string) int {
	if logFile != "" {
		abs, err := filepath.Abs(logFile)
		if err == nil {
			err = os.WriteFile(abs, nil, 0o644)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 2
		}
		logFile = abs
	}
	steps := []step{
		check("go-version", "go version", func(context.Context) error { return goVersion(w) }),
		check("format", "gofmt -l .", func(context.Context) error { return formatted(w) }),
		check("vet", "go vet work", w.runs(".", nil, "go", "vet", "work")),
		check("servers", "make redis consul", w.getServers),
	}
	passes, err := readPasses(w)
	if err != nil {
		steps = append(steps, check("tests", "make test ONLY=tests", func(context.Context) error { return err }))
	}
	for _, p := range passes {
		steps = append(steps, passStep(w, p, logFile))
	}
	steps = append(steps, check("tests-complete", "make test ONLY=tests", func(context.Context) error { return testsComplete(w, passes) }))
	steps = append(steps,
		check("versions", "make test ONLY=versions", func(context.Context) error { return sameVersions(w) }),
	)
	for _, m := range w.modules {
		steps = append(steps, moduleStep(w, m))
	}
	for _, m := range w.outside {
		if m != consulModule { // it has no package: step servers builds what it requires
			steps = append(steps, outsideStep(w, m, logFile))
		}
	}
	steps = append(steps,
		check("generated", "make generate && git diff", func(ctx context.Context) error { return generated(ctx, w) }),
		check("wire", "make wire", w.runs("tools", outsideWork, "go", "run", "./wirecheck")),
		check("verify", "make verify", func(context.Context) error { return verifyError(w) }),
		check("differences", "make test ONLY='tests|differences'", func(context.Context) error { return checkDifferences(w, w.whole(passes)) }),
		check("docs", "make test ONLY=docs", func(ctx context.Context) error { return checkDocs(ctx, w, names(steps)) }),
		check("consumer", "make consumer", w.runs("tools", outsideWork, "go", "run", "./consumer")),
		fuzzShort(w),
		check("sim-short", "make sim SEEDS=200", func(ctx context.Context) error { return simShort(ctx, w) }),
		check("bench-short", "make bench ROWS='^(tell1|ask64|rask64|grainremote64)$' ROUNDS=1", func(ctx context.Context) error { return benchShort(ctx, w) }),
		check("example-cluster", "go run ./examples/cluster -for 20s -json", func(ctx context.Context) error { return exampleCluster(ctx, w) }),
	)
	return runSteps(ctx, os.Stdout, steps, only)
}

// consulModule is the module that Consul is built in.
const consulModule = "tools/consul"

// serversRequired makes a server that is missing a failure of the tests that need it.
var serversRequired = []string{"GRANARY_SERVERS=required"}

// getServers gets the servers that tests run against; what takes long is told on standard error.
func (w *workspace) getServers(ctx context.Context) error {
	cmd := w.command(ctx, integration, outsideWork, "go", "run", "./servers/get", "redis", "consul")
	var said strings.Builder
	cmd.Stderr = io.MultiWriter(os.Stderr, &said)
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%w\n%s", err, said.String())
	}
	return nil
}

var outsideWork = []string{"GOWORK=off"}

// runs makes a check of one command.
func (w *workspace) runs(dir string, env []string, args ...string) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := w.combined(ctx, dir, env, args...)
		return err
	}
}

// moduleStep checks one module alone, as its users get it: without the workspace.
func moduleStep(w *workspace, m string) step {
	repeat := fmt.Sprintf("cd %s && GOWORK=off go mod tidy -diff && GOWORK=off go build ./... && GOWORK=off go vet ./...", m)
	return check("alone:"+m, repeat, func(ctx context.Context) error {
		for _, args := range [][]string{{"mod", "tidy", "-diff"}, {"build", "./..."}, {"vet", "./..."}} {
			if _, err := w.combined(ctx, m, outsideWork, append([]string{"go"}, args...)...); err != nil {
				return err
			}
		}
		return nil
	})
}

// outsideStep builds, vets and tests a module that stays out of go.work.
func outsideStep(w *workspace, m, logFile string) step {
	repeat := fmt.Sprintf("cd %s && GOWORK=off go vet ./... && GOWORK=off go test -count=1 ./...", m)
	return step{"outside:" + m, repeat, func(ctx context.Context) (result, error) {
		for _, args := range [][]string{{"mod", "tidy", "-diff"}, {"vet", "./..."}} {
			if _, err := w.combined(ctx, m, outsideWork, append([]string{"go"}, args...)...); err != nil {
				return result{}, err
			}
		}
		return goTest(ctx, w, m, logFile, outsideWork, nil, "./...")
	}}
}

func goVersion(w *workspace) error {
	out, err := w.output(".", nil, "go", "env", "GOVERSION")
	if err != nil {
		return err
	}
	var major, minor int
	if _, err := fmt.Sscanf(string(out), "go%d.%d", &major, &minor); err != nil {
		return fmt.Errorf("cannot read the version of Go from %q: %w", out, err)
	}
	if major == 1 && minor < 26 {
		return fmt.Errorf("%s is too old: Granary needs Go 1.26 or newer", strings.TrimSpace(string(out)))
	}
	return nil
}

func formatted(w *workspace) error {
	out, err := w.output(".", nil, "gofmt", "-l", ".")
	if err != nil {
		return err
	}
	if len(out) > 0 {
		return fmt.Errorf("not formatted by gofmt:\n%s", out)
	}
	return nil
}

// generated regenerates everything that is committed as generated and compares it byte by byte.
func generated(ctx context.Context, w *workspace) error {
	_, err := w.combined(ctx, "tools", outsideWork, "go", "run", "./genprotos", "-check")
	return err
}

func names(steps []step) (list []string) {
	for _, s := range steps {
		list = append(list, s.name)
	}
	return list
}
