//go:build unix

package servers

import (
	"errors"
	"fmt"
	"os/exec"
	"syscall"
)

const (
	sigTerm  = syscall.SIGTERM
	sigKill  = syscall.SIGKILL
	sigPause = syscall.SIGSTOP
	sigGoOn  = syscall.SIGCONT
)

// signal sends s to the server and all that it has started.
func signal(cmd *exec.Cmd, s syscall.Signal) error {
	if err := syscall.Kill(-cmd.Process.Pid, s); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("signal %v to %s: %w", s, cmd.Path, err)
	}
	return nil
}

// tryLock has a file for this process alone, until release or its end.
func tryLock(path string) (release func(), err error) {
	// No os.File: the collector would close it, and with that let go of the lock.
	fd, err := syscall.Open(path, syscall.O_RDWR|syscall.O_CREAT|syscall.O_CLOEXEC, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	err = syscall.Flock(fd, syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		return func() { _ = syscall.Close(fd) }, nil // nothing was written
	}
	_ = syscall.Close(fd) // nothing was written
	if errors.Is(err, syscall.EWOULDBLOCK) || errors.Is(err, syscall.EINTR) {
		return nil, errLocked
	}
	return nil, fmt.Errorf("lock %s: %w", path, err)
}
