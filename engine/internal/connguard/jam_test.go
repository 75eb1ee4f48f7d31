package connguard

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/granary-go/granary/core"
)

// TestJam: while a write waits for the peer, only so many frames of it are read; when it is done, the rest are.
func TestJam(t *testing.T) {
	for name, frame := range map[string]struct {
		kind   byte
		length int
		most   int
	}{"headers": {frameHeaders, 100, 17}, "window updates": {8, 4, 600}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := testGate(t)
				defer g.Stop()
				near, c, a := followed(t, g)
				written := make(chan error, 1)
				go func() {
					_, err := a.Write([]byte("nobody reads this"))
					written <- err
				}()
				synctest.Wait()
				var sent atomic.Int64
				go func() {
					for i := range uint32(2_000) {
						var w wire
						w.frame(frame.kind, flagEndStream, 2*i+1, make([]byte, frame.length))
						if _, err := near.Write(w.Bytes()); err != nil {
							return
						}
						sent.Add(1)
					}
				}()
				time.Sleep(time.Minute)
				synctest.Wait()
				if n := int(sent.Load()); n > frame.most || n < frame.most/2 {
					t.Errorf("%d frames were read while nobody reads; want at most %d", n, frame.most)
				}
				_, _ = near.Read(make([]byte, 100))
				if err := <-written; err != nil || c.reason.Load() != nil {
					t.Fatalf("write: %v, %v", err, c.Reason())
				}
				time.Sleep(time.Minute)
				synctest.Wait()
				if n := sent.Load(); n != 2_000 {
					t.Errorf("%d frames of 2000 were read when there was no jam", n)
				}
			})
		})
	}
}

// TestUnwrittenBytes: when connections that do not read hold too much, that which has read nothing for longest ends;
// a member's does not count.
func TestUnwrittenBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := testGate(t)
		defer g.Stop()
		g.limits.UnwrittenBytes = 10_000
		var conns []*Conn
		for i := range 4 {
			_, c, a := followed(t, g)
			if i == 0 {
				c.Admit(true)
			}
			conns = append(conns, c)
			go func() { _, _ = a.Write(make([]byte, 4_000)) }()
			synctest.Wait()
			time.Sleep(time.Millisecond)
		}
		for i, c := range conns {
			if ended := c.reason.Load() != nil; ended != (i == 1) {
				t.Errorf("connection %d: %v", i, c.Reason())
			}
		}
		if err := conns[1].Reason(); !errors.Is(err, core.ErrOverloaded) || !strings.Contains(err.Error(), "slowest") {
			t.Errorf("reason %v", err)
		}
		if n := g.jammed.Load(); n != 8_000 {
			t.Errorf("%d bytes are counted", n)
		}
		for _, c := range conns {
			_ = c.Close()
		}
		synctest.Wait()
		if n := g.jammed.Load(); n != 0 {
			t.Errorf("%d bytes are counted at the end", n)
		}
	})
}

// TestUnwrittenBytesOfSeveral: as many end as it takes.
func TestUnwrittenBytesOfSeveral(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := testGate(t)
		defer g.Stop()
		g.limits.UnwrittenBytes = 10_000
		var conns []*Conn
		for _, n := range []int{4_000, 4_000, 9_000} {
			_, c, a := followed(t, g)
			conns = append(conns, c)
			go func() { _, _ = a.Write(make([]byte, n)) }()
			synctest.Wait()
			time.Sleep(time.Millisecond)
		}
		for i, c := range conns {
			if ended := c.reason.Load() != nil; ended != (i < 2) {
				t.Errorf("connection %d: %v", i, c.Reason())
			}
		}
		if n := g.jammed.Load(); n != 9_000 {
			t.Errorf("%d bytes are counted", n)
		}
		if conns[0].pause() {
			t.Error("one that has ended goes on after a pause")
		}
	})
}

// TestQueued: frames cost while one write is under way, those of headers most and those of data nothing, and what
// came during the write before does not count for the next.
func TestQueued(t *testing.T) {
	const window = 8 // a kind of frame
	filled := func(kind byte, length, n int) *jam {
		j := &jam{}
		j.since.Store(1)
		for range n {
			j.queued(kind, length)
		}
		return j
	}
	for name, tt := range map[string]struct {
		kind      byte
		length, n int
		full      bool
	}{
		"headers at the bound":          {frameHeaders, 0, 16, false},
		"headers beyond":                {frameHeaders, 0, 17, true},
		"more of headers":               {frameMore, 0, 17, true},
		"length of headers":             {frameHeaders, 96, 16, true},
		"windows at the bound":          {window, 0, 512, false},
		"windows beyond":                {window, 0, 513, true},
		"length of frames without data": {window, 4, 512, true},
		"data":                          {frameData, 16 << 10, 10_000, false},
	} {
		if got := filled(tt.kind, tt.length, tt.n).full(); got != tt.full {
			t.Errorf("%s: full is %v", name, got)
		}
	}
	j := filled(frameHeaders, 0, 17)
	j.since.Store(0)
	if j.full() {
		t.Error("full though no write is under way")
	}
	j.since.Store(1)
	j.count.Add(1)
	if j.full() {
		t.Error("full though another write is under way than that of the frames")
	}
	if j.queued(window, 4); j.full() {
		t.Error("frames of the write before count")
	}
	j.since.Store(0)
	for range 17 {
		j.queued(frameHeaders, 0)
	}
	if j.since.Store(1); j.full() {
		t.Error("frames count that came when no write was under way")
	}
}

// TestWholeMessages: what is whole counts until it is taken, and while it takes the room nobody begins more.
func TestWholeMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := testGate(t)
		defer g.Stop()
		one := untaken(t, g)
		var w wire
		w.frame(frameHeaders, 0, 1, nil)
		w.data(1, torso(11_000, 11_000)...)
		_, _ = one.near.Write(w.Bytes())
		synctest.Wait()
		if n := g.partial.Load(); n < 11_000 {
			t.Fatalf("%d bytes are counted", n)
		}
		s := one.c.Stream()
		if s == nil || s.id != 1 {
			t.Fatalf("the stream is %v", s)
		}
		two := untaken(t, g)
		done := make(chan error, 1)
		go func() {
			_, err := two.near.Write(w.Bytes()) // one frame may come, no more
			if err == nil {
				_, err = two.near.Write(w.Bytes())
			}
			done <- err
		}()
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(done) != 0 {
			t.Fatal("more was read though there was no room")
		}
		s.Taken(11_000)
		two.c.Stream().Taken(11_000)
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(done) == 0 || <-done != nil {
			t.Error("nothing more was read when there was room")
		}
		(*Stream)(nil).Taken(1) // of a connection that is not followed
	})
}

type quiet struct {
	near net.Conn
	c    *Conn
}

// untaken is a connection that is read, and whose messages nobody takes.
func untaken(t *testing.T, g *Gate) quiet {
	near, far := net.Pipe()
	g.enter(netip.Addr{})
	c := newConn(far, g, netip.Addr{})
	if c.Stream() != nil {
		t.Error("a stream before all headers")
	}
	conn := c.Follow(c)
	t.Cleanup(func() { _ = c.Close(); _ = near.Close() })
	go func() {
		for b := make([]byte, 32<<10); ; {
			if _, err := conn.Read(b); err != nil {
				return
			}
		}
	}()
	_, _ = near.Write(make([]byte, clientPreface))
	return quiet{near, c}
}

// endless reads as much as is asked for.
type endless struct{ net.Conn }

func (endless) Read(b []byte) (int, error) { return len(b), nil }

// TestBuffers: the buffer of a connection is small until it is used up or the connection is a member's, and only so
// many that are not are large.
func TestBuffers(t *testing.T) {
	var all atomic.Int32
	var fs []*buffer
	read := func(f *buffer, member bool) int {
		for range 3 * smallBuffer {
			if n, err := f.read(make([]byte, 9), member, &all); n == 0 || err != nil {
				t.Fatal(n, err)
			}
		}
		return f.r.Size()
	}
	for range largeBuffers {
		f := &buffer{from: endless{}}
		if n := read(f, false); n != largeBuffer {
			t.Fatalf("a busy one has %d bytes", n)
		}
		fs = append(fs, f)
	}
	if n := read(&buffer{from: endless{}}, false); n != smallBuffer {
		t.Errorf("one too many has %d bytes", n)
	}
	if n := read(&buffer{from: endless{}}, true); n != largeBuffer {
		t.Errorf("a member's has %d bytes", n)
	}
	fs[0].leave(&all)
	fs[0].leave(&all)
	if n := read(&buffer{from: endless{}}, false); n != largeBuffer || all.Load() != largeBuffers {
		t.Errorf("after one has left: %d bytes, %d large ones", n, all.Load())
	}
	idle := &buffer{from: endless{}}
	if _, err := idle.read(make([]byte, 9), false, &all); err != nil || idle.r.Size() != smallBuffer {
		t.Errorf("an idle one has %d bytes, %v", idle.r.Size(), err)
	}
}

// drops reads a few bytes at a time.
type drops struct{ net.Conn }

func (drops) Read(b []byte) (int, error) { return min(len(b), 10), nil }

// TestBuffersOfIdle: one of which little comes at a time keeps its small buffer, also when much came once while
// there was no room for a large one.
func TestBuffersOfIdle(t *testing.T) {
	for name, before := range map[string]bool{"always": false, "after much": true} {
		var all atomic.Int32
		f := &buffer{from: drops{}}
		if before {
			f.from = endless{}
			all.Store(largeBuffers)
			if _, err := f.read(make([]byte, 9), false, &all); err != nil || !f.busy {
				t.Fatalf("busy %v, %v", f.busy, err)
			}
			f.r.Reset(drops{})
			if _, err := f.read(make([]byte, 9), false, &all); err != nil {
				t.Fatal(err)
			}
			all.Store(0)
		}
		for range 100 {
			if _, err := f.read(make([]byte, 9), false, &all); err != nil {
				t.Fatal(err)
			}
		}
		if f.r.Size() != smallBuffer || all.Load() != 0 {
			t.Errorf("%s: %d bytes, %d large ones", name, f.r.Size(), all.Load())
		}
	}
}

// TestHandshakesOfAll: streams that are about to shake hands are bounded over all connections too.
func TestHandshakesOfAll(t *testing.T) {
	g := testGate(t)
	g.limits.Handshakes = 3
	one, two := &Conn{g: g}, &Conn{g: g}
	if !one.Begin(2) || !one.Begin(2) || one.Begin(2) || !two.Begin(2) || two.Begin(2) {
		t.Error("want two of one connection and three in all")
	}
	one.End()
	if !two.Begin(2) {
		t.Error("no room after one has ended")
	}
}
