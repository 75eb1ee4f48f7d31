package servers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// process is a server of ours: in a group of its own, ended with whoever started it, however that ends.
type process struct {
	cmd   *exec.Cmd
	over  chan struct{}
	mu    sync.Mutex
	ended error
}

// launch starts cmd and returns once it runs. The system kills a child with the thread that made it, so one
// thread is kept for that until the child has ended.
func launch(cmd *exec.Cmd) (*process, error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	p := &process{cmd: cmd, over: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer close(p.over)
		err := cmd.Start()
		started <- err
		if err == nil {
			err = cmd.Wait()
		}
		p.mu.Lock()
		p.ended = err
		p.mu.Unlock()
	}()
	return p, <-started
}

// signal sends s to the server and all that it has started.
func (p *process) signal(s syscall.Signal) error {
	if err := syscall.Kill(-p.cmd.Process.Pid, s); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("signal %v to %s: %w", s, p.cmd.Path, err)
	}
	return nil
}

// kill ends the server at once and waits for it.
func (p *process) kill() error {
	err := p.signal(syscall.SIGKILL)
	<-p.over
	return err
}

// stop asks the server to end, and kills it if it has not within a limit.
func (p *process) stop(limit time.Duration) error {
	err := errors.Join(p.signal(syscall.SIGCONT), p.signal(syscall.SIGTERM))
	select {
	case <-p.over:
		return err
	case <-time.After(limit):
		return errors.Join(err, p.kill())
	}
}

// await asks until answers is nil, the server has ended, or ctx.
func (p *process) await(ctx context.Context, log string, answers func(context.Context) error) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := answers(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.over:
			return fmt.Errorf("%s has ended: %w\n%s", p.cmd.Path, p.ended, tail(log))
		case <-ctx.Done():
			return fmt.Errorf("%s does not answer: %w: %w\n%s", p.cmd.Path, err, ctx.Err(), tail(log))
		case <-tick.C:
		}
	}
}

// tail is the end of a log.
func tail(path string) string {
	data, _ := os.ReadFile(path)
	return string(data[max(0, len(data)-2000):])
}

// freePorts are n different ports of loopback that nobody listens on now.
func freePorts(n int) ([]int, error) {
	var ports []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}
