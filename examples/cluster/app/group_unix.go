//go:build unix

package app

import "syscall"

// ownGroup puts a child into a process group of its own, so that Ctrl-C reaches the driver alone.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
