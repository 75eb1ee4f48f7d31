//go:build !unix

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
	sigPause = syscall.Signal(-1)
	sigGoOn  = syscall.Signal(-2)
)

// signal can only end a server here.
func signal(cmd *exec.Cmd, s syscall.Signal) error {
	switch s {
	case sigKill, sigTerm:
		return cmd.Process.Kill()
	case sigGoOn:
		return nil
	}
	return fmt.Errorf("pause %s: %w", cmd.Path, errors.ErrUnsupported)
}

// tryLock locks nothing here: each installation is whole, and the last one counts.
func tryLock(string) (release func(), err error) { return func() {}, nil }

// owned asks for nothing: a server is ended by Stop alone.
func owned() *syscall.SysProcAttr { return nil }

// halted cannot be asked here.
func halted(int) bool { return true }
