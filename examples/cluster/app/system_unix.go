//go:build unix

package app

import "syscall"

// ownGroup puts a child into a process group of its own, so that Ctrl-C reaches the driver alone.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// lock takes a folder for this process, until release or its end; an error says that another has it.
func lock(dir string) (release func(), err error) {
	// No os.File: the collector would close it, and with that let go of the folder.
	fd, err := syscall.Open(dir, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(fd, syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = syscall.Close(fd) // nothing was written
		return nil, err
	}
	return func() { _ = syscall.Close(fd) }, nil
}
