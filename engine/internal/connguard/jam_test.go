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
