package servers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
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
	cmd.SysProcAttr = owned()
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

// kill ends the server at once and waits for it.
func (p *process) kill() error {
	err := signal(p.cmd, sigKill)
	<-p.over
	return err
}

// stop asks the server to end, and kills it if it has not within a limit.
func (p *process) stop(limit time.Duration) error {
	err := errors.Join(signal(p.cmd, sigGoOn), signal(p.cmd, sigTerm))
	select {
	case <-p.over:
		return err
	case <-time.After(limit):
		return errors.Join(err, p.kill())
	}
}

// pause stops the server without ending it, and returns once none of it runs any more.
func (p *process) pause() error {
	if err := signal(p.cmd, sigPause); err != nil {
		return err
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !halted(p.cmd.Process.Pid) {
		<-tick.C
	}
	return nil
}

// resume ends a pause.
func (p *process) resume() error { return signal(p.cmd, sigGoOn) }

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
