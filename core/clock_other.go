//go:build !linux

package core

import "time"

// started gives monotonic readings an origin; only differences of readings mean anything.
var started = time.Now()

// Elapsed is the monotonic clock: on this system it may stand still while the machine is suspended.
func (SystemClock) Elapsed() time.Duration { return time.Since(started) }
