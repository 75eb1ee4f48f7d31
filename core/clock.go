package core

import "time"

// Clock is time as a part may know it. Safe for concurrent use.
type Clock interface {
	Now() time.Time // with a monotonic reading
	AfterFunc(d time.Duration, f func()) (stop func() bool)

	// Elapsed goes on while the machine is suspended (CLOCK_BOOTTIME on Linux, else monotonic). A
	// system call on the real clock: only leases and guards use it.
	Elapsed() time.Duration
}

// SystemClock is the clock of the machine. It is safe for concurrent use; the zero value is ready.
type SystemClock struct{}

// Now is time.Now.
func (SystemClock) Now() time.Time { return time.Now() }

// AfterFunc runs f on a goroutine of its own after d, unless stop is called before.
func (SystemClock) AfterFunc(d time.Duration, f func()) (stop func() bool) {
	return time.AfterFunc(d, f).Stop
}

var _ Clock = SystemClock{}
