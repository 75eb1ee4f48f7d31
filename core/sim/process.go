package sim

import (
	"time"

	"github.com/granary-go/granary/core"
)

// Process is one program on one machine. What was set up in it happens only while it lives; while it is
// paused it waits, and happens at once when it goes on.
type Process struct {
	Name string // of the machine: links of the Net are found by it

	heap    *Heap
	clock   Clock
	paused  int
	dead    bool
	backlog []func()
}

// Start makes a running process, whose clock differs from virtual time by offset and runs rate times
// as fast.
func (h *Heap) Start(name string, offset time.Duration, rate float64) *Process {
	return &Process{Name: name, heap: h, clock: Clock{heap: h, offset: offset, rate: rate, since: h.now}}
}

// Alive is false once the process was killed.
func (p *Process) Alive() bool { return !p.dead }

// Paused is true between Pause and Resume.
func (p *Process) Paused() bool { return p.paused > 0 }

// Kill ends the process: nothing of it happens any more.
func (p *Process) Kill() { p.dead, p.backlog = true, nil }

// Pause stops it, as SIGSTOP does; pauses nest.
func (p *Process) Pause() { p.paused++ }

// Resume lets it go on.
func (p *Process) Resume() {
	if p.paused--; p.paused > 0 || p.dead {
		return
	}
	waiting := p.backlog
	p.backlog = nil
	for _, f := range waiting {
		p.heap.After(0, func() { p.Do(f) })
	}
}

// Do has f happen now, or when the process goes on, or never if it is dead.
func (p *Process) Do(f func()) {
	switch {
	case p.dead:
	case p.paused > 0:
		p.backlog = append(p.backlog, f)
	default:
		f()
	}
}

// After has f happen in the process when d has passed by its clock.
func (p *Process) After(d time.Duration, f func()) *Timer {
	return p.heap.After(p.clock.virtual(d), func() { p.Do(f) })
}

// Every has f happen again and again, the first time after a part of d, until the process dies.
func (p *Process) Every(first, d time.Duration, f func()) {
	p.After(first, func() {
		f()
		p.Every(d, d, f)
	})
}

// While is Every that ends when f returns false.
func (p *Process) While(first, d time.Duration, f func() bool) {
	p.After(first, func() {
		if f() {
			p.While(d, d, f)
		}
	})
}

// Clock is the clock of the process. Its AfterFunc is After.
func (p *Process) Clock() *ProcessClock { return &ProcessClock{p} }

// SetRate makes the clock run rate times as fast as virtual time from now on.
func (p *Process) SetRate(rate float64) { p.clock.setRate(rate) }

// ProcessClock is a core.Clock of a simulated process.
type ProcessClock struct{ p *Process }

// Now is the time by the process. Its only reading is monotonic: it never jumps, and means nothing to
// other processes.
func (c *ProcessClock) Now() time.Time { return epoch.Add(c.p.clock.local()) }

// Elapsed is the same as a duration.
func (c *ProcessClock) Elapsed() time.Duration { return c.p.clock.local() }

// AfterFunc has f called after d, unless stop is called before or the process dies.
func (c *ProcessClock) AfterFunc(d time.Duration, f func()) (stop func() bool) {
	return c.p.After(d, f).Stop
}

var _ core.Clock = (*ProcessClock)(nil)
