package kit

import (
	"slices"
	"time"
)

// Latencies samples how long operations take: one in every 1, 2, 4, 8… of them, because reading the
// clock twice would be a good part of the shortest ones. Used by one goroutine.
type Latencies struct {
	mask    uint32
	seen    uint32
	samples []time.Duration
}

// NewLatencies returns a sampler of one in every operations, which is a power of two, with room for
// n operations: it allocates nothing later.
func NewLatencies(every, n int) *Latencies {
	return &Latencies{mask: uint32(every - 1), samples: make([]time.Duration, 0, n/every+1)}
}

// Begin is called before an operation. The zero time means that it is not sampled.
func (l *Latencies) Begin() time.Time {
	l.seen++
	if l.seen&l.mask != 0 {
		return time.Time{}
	}
	return time.Now()
}

// End is called after an operation, with what Begin returned.
func (l *Latencies) End(begun time.Time) {
	if !begun.IsZero() {
		l.samples = append(l.samples, time.Since(begun))
	}
}

// percentiles returns the median and the 99th percentile of all samples, in microseconds.
func percentiles(all []*Latencies) (p50, p99 float64, ok bool) {
	var merged []time.Duration
	for _, l := range all {
		merged = append(merged, l.samples...)
	}
	if len(merged) == 0 {
		return 0, 0, false
	}
	slices.Sort(merged)
	at := func(q float64) float64 {
		return float64(merged[int(q*float64(len(merged)-1))].Nanoseconds()) / 1e3
	}
	return at(0.50), at(0.99), true
}
