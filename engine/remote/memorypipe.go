package remote

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"os"
	"sync"
	"time"
)

// memoryPipe is one direction of a connection of a Memory: bytes with the time at which they may be
// read.
type memoryPipe struct {
	m        *Memory
	from, to string
	own      time.Duration // of the delay: no two pipes have the same one

	mu       sync.Mutex
	stalled  bool          // what is on the way does not arrive
	wake     chan struct{} // closed and renewed on every change
	chunks   []memoryChunk
	held     int
	sent     time.Time // when the newest chunk was written
	last     time.Time // when it is due: order is kept under jitter
	over     error     // what the reader is told when it has read everything
	overDue  time.Time
	deaf     bool // nobody reads any more: what is written is lost
	readErr  error
	writeErr error
	readBy   time.Time
	writeBy  time.Time
}

type memoryChunk struct {
	data []byte
	due  time.Time
}

// gap is between what was sent at two instants and is held until one: the first is dealt with before the
// second arrives, so that their effects have an order. What is sent at one instant arrives at one: into how
// many writes it is cut is chance.
const gap = time.Microsecond

// newMemoryPipe makes the pipe of the n-th connection between two hosts.
func newMemoryPipe(m *Memory, from, to string, n uint64) *memoryPipe {
	h := fnv.New64a()
	_, _ = fmt.Fprint(h, from, " ", to, " ", n) // it cannot fail
	return &memoryPipe{m: m, from: from, to: to, own: time.Duration(h.Sum64() % uint64(gap)), wake: make(chan struct{})}
}

// delay is how long what is written now takes.
func (p *memoryPipe) delay() time.Duration {
	d := p.m.delay(p.from, p.to)
	if d > 0 {
		d += p.own
	}
	return d
}

// release has what is on the way arrive from then on, not before.
func (p *memoryPipe) release(at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at = at.Add(p.own)
	before := time.Time{} // due time of the chunk before, as it was
	for i := range p.chunks {
		c := &p.chunks[i]
		if i > 0 && !c.due.Equal(before) {
			at = at.Add(gap)
		}
		before = c.due
		if c.due.Before(at) {
			c.due = at
		}
		at = c.due
	}
	if len(p.chunks) > 0 {
		p.last = at
	}
	if p.over != nil && p.overDue.Before(at.Add(gap)) {
		p.overDue = at.Add(gap)
	}
}

// due is when the first of what is on the way may be read, counted from now; negative: nothing is. The
// caller holds p.mu.
func (p *memoryPipe) due(now time.Time) time.Duration {
	switch {
	case len(p.chunks) > 0:
		return max(p.chunks[0].due.Sub(now), 0)
	case p.over != nil:
		return max(p.overDue.Sub(now), 0)
	}
	return -1
}

// arrival is when what is sent now with this delay may be read: after everything that was sent before, and
// with everything that was sent at this very instant. The caller holds p.mu.
func (p *memoryPipe) arrival(now time.Time, delay time.Duration) time.Time {
	due := now.Add(delay)
	switch {
	case (p.sent.Equal(now) || delay == 0) && due.Before(p.last): // the link may have become slower since
		due = p.last
	case p.sent.Equal(now):
	case delay > 0 && !due.After(p.last):
		due = p.last.Add(gap)
	}
	p.sent, p.last = now, due
	return due
}

// poke makes whoever waits look again.
func (p *memoryPipe) poke() {
	p.mu.Lock()
	p.signal()
	p.mu.Unlock()
}

// stall holds what is on the way, or lets it go on.
func (p *memoryPipe) stall(on bool) {
	p.mu.Lock()
	p.stalled = on
	p.signal()
	p.mu.Unlock()
}

func (p *memoryPipe) signal() {
	close(p.wake)
	p.wake = make(chan struct{})
}

func (p *memoryPipe) changes() chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.wake
}

func (p *memoryPipe) read(b []byte) (int, error) {
	for {
		wake := p.changes() // before the look at the cut, so that no change is missed
		cut := p.m.isCut(p.from, p.to)
		p.mu.Lock()
		now := p.m.cfg.Clock.Now()
		wait := time.Duration(-1)
		switch {
		case p.readErr != nil:
			defer p.mu.Unlock()
			return 0, p.readErr
		case !p.readBy.IsZero() && !now.Before(p.readBy):
			p.mu.Unlock()
			return 0, os.ErrDeadlineExceeded
		case cut || p.stalled:
		default:
			if wait = p.due(now); wait == 0 {
				defer p.mu.Unlock()
				return p.take(b)
			}
		}
		if !p.readBy.IsZero() && (wait < 0 || p.readBy.Sub(now) < wait) {
			wait = p.readBy.Sub(now)
		}
		p.mu.Unlock()
		p.sleep(wake, wait)
	}
}

// take moves what is there into b. The caller holds p.mu.
func (p *memoryPipe) take(b []byte) (int, error) {
	if len(p.chunks) == 0 {
		p.readErr = p.over
		return 0, p.over
	}
	c := &p.chunks[0]
	n := copy(b, c.data)
	c.data = c.data[n:]
	p.held -= n
	if len(c.data) == 0 {
		p.chunks[0].data = nil
		p.chunks = p.chunks[1:]
	}
	p.signal()
	return n, nil
}

// sleep returns when wake is closed or d is over; a negative d has no end.
func (p *memoryPipe) sleep(wake chan struct{}, d time.Duration) {
	if d < 0 {
		<-wake
		return
	}
	over := make(chan struct{})
	stop := p.m.cfg.Clock.AfterFunc(d, func() { close(over) })
	defer stop()
	select {
	case <-wake:
	case <-over:
	}
}

func (p *memoryPipe) write(b []byte) (int, error) {
	done := 0
	delay := p.delay()
	for done < len(b) {
		p.mu.Lock()
		now := p.m.cfg.Clock.Now()
		wait := time.Duration(-1)
		switch {
		case p.writeErr != nil:
			defer p.mu.Unlock()
			return done, p.writeErr
		case !p.writeBy.IsZero() && !now.Before(p.writeBy):
			p.mu.Unlock()
			return done, os.ErrDeadlineExceeded
		case p.deaf, p.over != nil:
			p.mu.Unlock()
			return len(b), nil
		case p.held < p.m.cfg.Buffer:
			n := min(len(b)-done, p.m.cfg.Buffer-p.held)
			p.chunks = append(p.chunks, memoryChunk{append([]byte(nil), b[done:done+n]...), p.arrival(now, delay)})
			p.held += n
			done += n
			p.signal()
			p.mu.Unlock()
			continue
		case !p.writeBy.IsZero():
			wait = p.writeBy.Sub(now)
		}
		wake := p.wake
		p.mu.Unlock()
		p.sleep(wake, wait)
	}
	return done, nil
}

// end lets the reader read what is on the way, then tells it why there is no more.
func (p *memoryPipe) end(why error) {
	delay := p.delay()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over == nil {
		p.over, p.overDue = why, p.arrival(p.m.cfg.Clock.Now(), delay)
	}
	p.signal()
}

// refuse fails all writes from now on.
func (p *memoryPipe) refuse(why error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.writeErr = cmp.Or(p.writeErr, why)
	p.signal()
}

// abandon drops what is on the way and what will be: nobody reads it.
func (p *memoryPipe) abandon(why error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.readErr = cmp.Or(p.readErr, why)
	p.chunks, p.held, p.deaf = nil, 0, true
	p.signal()
}

func (p *memoryPipe) setDeadline(which *time.Time, t time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	*which = t
	p.signal()
}
