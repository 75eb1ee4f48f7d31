package history

import (
	"syscall"
	"unsafe"
)

// monotonic reads CLOCK_MONOTONIC: all processes of one machine read the same clock.
func monotonic() (int64, error) {
	var ts syscall.Timespec
	_, _, errno := syscall.Syscall(syscall.SYS_CLOCK_GETTIME, 1, uintptr(unsafe.Pointer(&ts)), 0)
	if errno != 0 {
		return 0, errno
	}
	return ts.Nano(), nil
}
