package app

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
)

// child is one process that the driver started.
type child struct {
	name  string
	cmd   *exec.Cmd
	stdin io.WriteCloser
	born  int64 // CLOCK_MONOTONIC
	gone  bool  // its last event was taken; the driver's

	mu sync.Mutex // guards writing to stdin
}

// spawn starts this program again in another role. Every notice of the child goes to events, and a
// last one when it is gone.
func spawn(s start, stderr io.Writer, events chan<- childEvent, done <-chan struct{}) (*child, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	told, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), startVariable+"="+string(told))
	cmd.Stderr = stderr
	cmd.SysProcAttr = ownGroup()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c := &child{name: s.Name, cmd: cmd, stdin: stdin}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", s.Name, err)
	}
	go c.listen(stdout, events, done)
	return c, nil
}

// childEvent is a notice together with who sent it; the last one of a child has none.
type childEvent struct {
	from *child
	notice
	last bool
}

func (c *child) listen(stdout io.Reader, events chan<- childEvent, done <-chan struct{}) {
	in := bufio.NewScanner(stdout)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		var n notice
		if json.Unmarshal(in.Bytes(), &n) != nil {
			continue
		}
		select {
		case events <- childEvent{from: c, notice: n}:
		case <-done:
		}
	}
	_ = c.cmd.Wait() // how it ended is seen by what it wrote
	select {
	case events <- childEvent{from: c, last: true}:
	case <-done:
	}
}

// tell writes one order; a child that is gone is noticed by its pipe.
func (c *child) tell(o order) {
	if line, err := json.Marshal(o); err == nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		_, _ = c.stdin.Write(append(line, '\n'))
	}
}

// kill sends SIGKILL and returns once the kernel has taken it.
func (c *child) kill() error { return c.cmd.Process.Kill() }
