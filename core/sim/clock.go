package sim

import (
	"hash/fnv"
	"math/rand/v2"
	"time"
)

// epoch is the wall clock at the beginning of every run.
var epoch = time.Unix(1_700_000_000, 0).UTC()

// Clock is how one machine sees virtual time.
type Clock struct {
	heap   *Heap
	offset time.Duration
	rate   float64
	since  time.Duration // virtual time of the last change of rate
	passed time.Duration // by this clock until then
}

// local is the time by this clock.
func (c *Clock) local() time.Duration {
	return c.after(0)
}

// virtual is how long d by this clock takes; never less, so that a timer is never early.
func (c *Clock) virtual(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	v := time.Duration(float64(d) / c.rate)
	for c.after(v) < c.local()+d {
		v++
	}
	return v
}

// after is the time by this clock in v.
func (c *Clock) after(v time.Duration) time.Duration {
	return c.offset + c.passed + time.Duration(float64(c.heap.now+v-c.since)*c.rate)
}

func (c *Clock) setRate(rate float64) {
	c.passed = c.local() - c.offset
	c.since, c.rate = c.heap.now, rate
}

// Rand is a source of chance that depends on nothing but the seed and the name of who uses it, so that
// leaving out one fault changes no number that anybody else draws.
func Rand(seed uint64, name string) *rand.Rand {
	h := fnv.New64a()
	_, _ = h.Write([]byte(name)) // it cannot fail
	return rand.New(rand.NewPCG(seed, h.Sum64()))
}
