//go:build !unix

package app

import (
	"errors"
	"syscall"
)

// ownGroup leaves a child in the driver's group: children ignore Ctrl-C themselves.
func ownGroup() *syscall.SysProcAttr { return nil }

// lock cannot be had here, so nothing that another run has left is removed.
func lock(string) (release func(), err error) { return nil, errors.ErrUnsupported }
