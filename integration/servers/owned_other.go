//go:build unix && !linux

package servers

import "syscall"

// owned puts a server into a group of its own. Who kills the process that started it must end it too.
func owned() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// halted cannot be asked here.
func halted(int) bool { return true }
