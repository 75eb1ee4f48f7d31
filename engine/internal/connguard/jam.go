package connguard

import (
	"bufio"
	"fmt"
	"net"
	"sync/atomic"

	"github.com/granary-go/granary/core"
)

// Sizes of the read buffers of connections. One that is not a member's has a large one when its small one
// was filled, while few others have.
const (
	smallBuffer  = 2 << 10
	largeBuffer  = 32 << 10 // gRPC's own
	largeBuffers = 32
)

// buffer is what a connection is read into. Used by one goroutine, leave excepted.
type buffer struct {
	from  net.Conn
	r     *bufio.Reader
	busy  bool        // the small one was filled
	large atomic.Bool // counted as a large one
}

// read reads as a buffered reader does. all counts the large buffers of those that are no members.
func (f *buffer) read(b []byte, member bool, all *atomic.Int32) (int, error) {
	if f.r == nil {
		f.r = bufio.NewReaderSize(f.from, smallBuffer)
	}
	if f.r.Buffered() == 0 && f.r.Size() < largeBuffer && (member || f.busy && f.enlarge(all)) {
		f.r = bufio.NewReaderSize(f.from, largeBuffer)
	}
	empty := f.r.Buffered() == 0
	n, err := f.r.Read(b)
	if empty {
		f.busy = f.r.Buffered()+n >= smallBuffer
	}
	return n, err
}

// enlarge reports whether there is room for one more large buffer.
func (f *buffer) enlarge(all *atomic.Int32) bool {
	if all.Add(1) > largeBuffers {
		all.Add(-1)
		return false
	}
	f.large.Store(true)
	return true
}

// leave gives back what enlarge took.
func (f *buffer) leave(all *atomic.Int32) {
	if f.large.Swap(false) {
		all.Add(-1)
	}
}

// jam follows the writes of a connection. gRPC keeps what a frame leads to until the write under way is
// done, however many frames come meanwhile: of a peer that does not read, no more are read then.
type jam struct {
	since     atomic.Int64 // when the write under way began, in nanoseconds since the gate was made; 0: there is none
	count     atomic.Int64 // of writes that are done
	unwritten atomic.Int64 // bytes of the write under way that count for the gate

	seen int64 // count, when frames were queued last; of the goroutine that reads
	cost int   // of the frames since
}

// What frames cost that are read during one write.
const (
	headersCost = 4 << 10 // of a stream, beside its headers
	frameCost   = 128
	jamCost     = 64 << 10
)

// begin notes a write of n bytes, and reports whether connections that do not read hold too much.
func (j *jam) begin(g *Gate, n int, member bool) (over bool) {
	j.since.Store(g.now())
	if member {
		return false
	}
	j.unwritten.Store(int64(n))
	return g.jammed.Add(int64(n)) > int64(g.limits.UnwrittenBytes)
}

// end notes that the write is done.
func (j *jam) end(g *Gate) {
	j.since.Store(0)
	j.count.Add(1)
	g.jammed.Add(-j.unwritten.Swap(0))
}

// queued counts a frame that was read, if a write is under way.
func (j *jam) queued(kind byte, length int) {
	if count := j.count.Load(); count != j.seen || j.since.Load() == 0 {
		j.seen, j.cost = count, 0
	}
	switch kind {
	case frameData: // see assembly
	case frameHeaders, frameMore:
		j.cost += headersCost + length
	default:
		j.cost += frameCost + length
	}
}

// full reports whether enough has come during one write.
func (j *jam) full() bool {
	return j.cost > jamCost && j.since.Load() != 0 && j.count.Load() == j.seen
}

// wait waits for the end of the write. False: the connection has ended.
func (j *jam) wait(c *Conn) bool {
	for j.full() {
		if !c.pause() {
			return false
		}
	}
	return true
}

// pause waits a little. False: the connection has ended.
func (c *Conn) pause() bool {
	again := make(chan struct{})
	stop := c.g.clock.AfterFunc(crowdedPause, func() { close(again) })
	select {
	case <-again:
		return true
	case <-c.closed:
		stop()
		return false
	}
}

// relieve ends connections, those first that have read nothing for longest, until what is being written is
// within its bound.
func (g *Gate) relieve() {
	for g.jammed.Load() > int64(g.limits.UnwrittenBytes) {
		slowest := g.slowest()
		if slowest == nil {
			return
		}
		g.jammed.Add(-slowest.jam.unwritten.Swap(0))
		slowest.c.Fail(fmt.Errorf("it reads slowest of those that hold too much together: %w", core.ErrOverloaded))
	}
}

// slowest is the connection whose write has been under way for longest, members' excepted.
func (g *Gate) slowest() (out *assembly) {
	g.mu.Lock()
	defer g.mu.Unlock()
	var first int64
	for a := range g.parts {
		since := a.jam.since.Load()
		if since != 0 && a.jam.unwritten.Load() > 0 && (out == nil || since < first) {
			out, first = a, since
		}
	}
	return out
}
