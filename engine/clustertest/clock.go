package clustertest

import (
	"time"

	"github.com/granary-go/granary/core"
)

// clock is the system's clock whose Elapsed follows Now: the boot time clock of the system does not
// know the time of a bubble of testing/synctest.
type clock struct {
	core.SystemClock
	started time.Time
}

func (c clock) Elapsed() time.Duration { return time.Since(c.started) }
