package remote

import (
	"cmp"
	"io"
	"os"
	"sync"
	"time"
)

// memoryPipe is one direction of a connection of a Memory: bytes with the time at which they may be
// read.
type memoryPipe struct {
	m        *Memory
	from, to string

	mu       sync.Mutex
	wake     chan struct{} // closed and renewed on every change
	chunks   []memoryChunk
	held     int
	last     time.Time // due time of the newest chunk: order is kept under jitter
	least    time.Time // before it nothing is read: of what a cut has held
	eof      bool
	eofDue   time.Time
	readErr  error
	writeErr error
	readBy   time.Time
	writeBy  time.Time
}

type memoryChunk struct {
	data []byte
	due  time.Time
}

func newMemoryPipe(m *Memory, from, to string) *memoryPipe {
	return &memoryPipe{m: m, from: from, to: to, wake: make(chan struct{})}
}

// hold keeps what is on the way until then.
func (p *memoryPipe) hold(until time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if until.After(p.least) {
		p.least = until
	}
}

// due is when the first of what is on the way may be read, counted from now; negative: nothing is. The
// caller holds p.mu.
func (p *memoryPipe) due(now time.Time) time.Duration {
	var at time.Time
	switch {
	case len(p.chunks) > 0:
		at = p.chunks[0].due
	case p.eof:
		at = p.eofDue
	default:
		return -1
	}
	if p.least.After(at) {
		at = p.least
	}
	return max(at.Sub(now), 0)
}

// poke makes whoever waits look again.
func (p *memoryPipe) poke() {
	p.mu.Lock()
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
		case cut:
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
		return 0, io.EOF
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
	delay := p.m.delay(p.from, p.to)
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
		case p.held < p.m.cfg.Buffer:
			n := min(len(b)-done, p.m.cfg.Buffer-p.held)
			due := now.Add(delay)
			if due.Before(p.last) {
				due = p.last
			}
			p.last = due
			p.chunks = append(p.chunks, memoryChunk{append([]byte(nil), b[done:done+n]...), due})
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

// closeWrite lets the reader read what is on the way, then io.EOF.
func (p *memoryPipe) closeWrite() {
	due := p.m.cfg.Clock.Now().Add(p.m.delay(p.from, p.to))
	p.mu.Lock()
	defer p.mu.Unlock()
	if due.Before(p.last) {
		due = p.last
	}
	if !p.eof {
		p.eof, p.eofDue = true, due
	}
	p.writeErr = cmp.Or(p.writeErr, io.ErrClosedPipe)
	p.signal()
}

// closeRead drops what is on the way.
func (p *memoryPipe) closeRead(readErr, writeErr error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.readErr = cmp.Or(p.readErr, readErr)
	p.writeErr = cmp.Or(p.writeErr, writeErr)
	p.chunks, p.held = nil, 0
	p.signal()
}

func (p *memoryPipe) setDeadline(which *time.Time, t time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	*which = t
	p.signal()
}
