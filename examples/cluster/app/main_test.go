package app

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/granary-go/granary/core/leaktest"
	"github.com/granary-go/granary/examples/cluster/history"
)

// The test binary is the program too: as a driver, with the arguments of a test, and as the children
// that a driver makes of itself.
const (
	driverVariable = "GRANARY_EXAMPLE_CLUSTER_DRIVER" // set: be the driver
	breakVariable  = "GRANARY_EXAMPLE_CLUSTER_BREAK"  // which part of the program is broken
)

func TestMain(m *testing.M) {
	if os.Getenv(startVariable) != "" || os.Getenv(driverVariable) != "" {
		os.Exit(Main(os.Args[1:], os.Stdout, os.Stderr, broken(os.Getenv(breakVariable))))
	}
	leaktest.Main(m)
}

// program is a driver process under test, started with -json.
type program struct {
	t      *testing.T
	cmd    *exec.Cmd
	stdout bytes.Buffer
	exited chan struct{}

	mu    sync.Mutex // guards lines
	lines []string   // what it has written to standard error
	more  chan struct{}
}

// launch starts the program with a part of it broken; "" is none.
func launch(t *testing.T, breaks string, args ...string) *program {
	t.Helper()
	return launchIn(t, os.TempDir(), breaks, args...)
}

// launchIn is launch with a folder of its own for temporary files.
func launchIn(t *testing.T, temporary, breaks string, args ...string) *program {
	t.Helper()
	p := &program{t: t, exited: make(chan struct{}), more: make(chan struct{})}
	p.cmd = exec.Command(os.Args[0], append([]string{"-json"}, args...)...)
	p.cmd.Env = append(os.Environ(), driverVariable+"=1", breakVariable+"="+breaks, "TMPDIR="+temporary)
	p.cmd.Stdout = &p.stdout
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.read(bufio.NewScanner(stderr))
		_ = p.cmd.Wait() // its exit code is in ProcessState
		close(p.exited)
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // it has ended by itself, as a rule
		<-p.exited
		p.nothingLeft()
		if text := p.text(); strings.Contains(text, "DATA RACE") || strings.Contains(text, "panic: ") {
			t.Errorf("a process of the run failed:\n%s", text)
		}
		if t.Failed() {
			t.Logf("standard error:\n%s\nstandard output:\n%s", p.text(), p.stdout.String())
		}
	})
	return p
}

func (p *program) read(in *bufio.Scanner) {
	for in.Scan() {
		p.mu.Lock()
		p.lines = append(p.lines, in.Text())
		close(p.more)
		p.more = make(chan struct{})
		p.mu.Unlock()
	}
}

func (p *program) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.lines, "\n")
}

// await waits for a line that a pattern matches.
func (p *program) await(pattern string) {
	p.t.Helper()
	line := regexp.MustCompile(pattern)
	limit := time.After(time.Minute)
	for {
		p.mu.Lock()
		all, more := strings.Join(p.lines, "\n"), p.more
		p.mu.Unlock()
		if line.MatchString(all) {
			return
		}
		select {
		case <-more:
		case <-p.exited:
			p.t.Fatalf("the program ended without saying %q", pattern)
		case <-limit:
			p.t.Fatalf("the program has not said %q", pattern)
		}
	}
}

func (p *program) signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// end waits for the end of the program and returns what it printed.
func (p *program) end(limit time.Duration) (code int, sum history.Summary) {
	p.t.Helper()
	select {
	case <-p.exited:
	case <-time.After(limit):
		p.t.Fatalf("the program has not ended within %v", limit)
	}
	code = p.cmd.ProcessState.ExitCode()
	out := p.stdout.String()
	if strings.Count(out, "\n") != 1 || !strings.HasSuffix(out, "\n") {
		p.t.Fatalf("exit %d; standard output is not one line: %q", code, out)
	}
	if err := json.Unmarshal([]byte(out), &sum); err != nil {
		p.t.Fatalf("exit %d: %v: %s", code, err, out)
	}
	failures := slices.DeleteFunc(slices.Clone(sum.Reasons), func(r string) bool { return strings.HasPrefix(r, "not judged") })
	if sum.OK != (code == 0) || sum.OK != (len(failures) == 0) {
		p.t.Errorf("exit %d, ok %v, reasons %q", code, sum.OK, sum.Reasons)
	}
	if sum.Calls != sum.Replied+sum.Failed || sum.Failed != sum.FailedNotDelivered+sum.FailedDelivered+sum.FailedUnknown {
		p.t.Errorf("calls do not add up: %+v", sum)
	}
	return code, sum
}

var startedLine = regexp.MustCompile(`started, process (\d+)`)

// nothingLeft checks that every process that the driver has started is gone.
func (p *program) nothingLeft() {
	for _, m := range startedLine.FindAllStringSubmatch(p.text(), -1) {
		pid, err := strconv.Atoi(m[1])
		if err != nil {
			p.t.Error(err)
			continue
		}
		limit := time.Now().Add(10 * time.Second)
		for runs(pid) && time.Now().Before(limit) {
			time.Sleep(10 * time.Millisecond)
		}
		if runs(pid) {
			p.t.Errorf("process %d is left running", pid)
		}
	}
}

// runs reports whether a process runs. One that has ended and waits to be collected does not.
func runs(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if errors.Is(err, os.ErrNotExist) {
		return false
	}
	_, state, found := strings.Cut(string(stat), ") ")
	return !found || !strings.HasPrefix(state, "Z")
}

// reason fails the test unless the run failed for a reason with a text in it.
func (p *program) reason(code int, sum history.Summary, text string) {
	p.t.Helper()
	if code != exitFailed || sum.OK || !strings.Contains(strings.Join(sum.Reasons, "\n"), text) {
		p.t.Errorf("exit %d, ok %v, reasons %q: want 1 and one with %q", code, sum.OK, sum.Reasons, text)
	}
}
