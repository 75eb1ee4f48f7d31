package harness

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/granary-go/granary/bench/kit"
)

// runLimit is how long a program may take for one row: set-up and at most 10 s of measured work.
const runLimit = 60 * time.Second

// Program is one side of the comparison: a program that runs a row and prints a [kit.Result].
type Program struct {
	Name string // "granary" or "peer", for people
	Path string
}

// Build compiles the main package of a module folder into folder out, outside any workspace.
func Build(ctx context.Context, name, module, pkg, out string) (Program, error) {
	path := filepath.Join(out, name)
	cmd := exec.CommandContext(ctx, "go", "build", "-o", path, pkg)
	cmd.Dir = module
	cmd.Env = append(os.Environ(), "GOWORK=off")
	if text, err := cmd.CombinedOutput(); err != nil {
		return Program{}, fmt.Errorf("build %s: %w\n%s", name, err, text)
	}
	return Program{Name: name, Path: path}, nil
}

// Run runs one row; n is the amount of work, 0 the row's own.
func (p Program) Run(ctx context.Context, row string, n int) (kit.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, runLimit)
	defer cancel()
	log, err := os.CreateTemp("", "bench-*.log")
	if err != nil {
		return kit.Result{}, fmt.Errorf("%s: %w", row, err)
	}
	defer os.Remove(log.Name())
	defer log.Close()
	cmd := exec.CommandContext(ctx, p.Path, "-row", row, "-n", fmt.Sprint(n))
	cmd.Stderr = log // a file, so that no goroutine of ours copies what a library logs
	cmd.WaitDelay = 5 * time.Second
	text, err := cmd.Output()
	if err := ctx.Err(); err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			return kit.Result{}, fmt.Errorf("%s: not finished after %v", p.Name, runLimit)
		}
		return kit.Result{}, err
	}
	var res kit.Result
	if bad := json.Unmarshal(bytes.TrimSpace(text), &res); bad != nil {
		return kit.Result{}, fmt.Errorf("%s: no result (%w): %s", p.Name, errors.Join(err, bad), tail(log.Name()))
	}
	if err := res.Check(row); err != nil {
		return kit.Result{}, fmt.Errorf("%s: %w", p.Name, err)
	}
	return res, nil
}

// tail returns the end of a log, on one line.
func tail(path string) string {
	const most = 400
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	if len(text) > most {
		text = text[len(text)-most:]
	}
	return strings.Join(strings.Fields(string(text)), " ")
}
