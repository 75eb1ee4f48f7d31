//go:build !unix

package app

import "syscall"

// ownGroup leaves a child in the driver's group: children ignore Ctrl-C themselves.
func ownGroup() *syscall.SysProcAttr { return nil }
