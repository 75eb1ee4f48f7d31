package connguard

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/granary-go/granary/core"
)

// wire writes HTTP/2 frames.
type wire struct{ bytes.Buffer }

func (w *wire) frame(kind, flags byte, stream uint32, payload []byte) {
	n := len(payload)
	w.Write([]byte{byte(n >> 16), byte(n >> 8), byte(n), kind, flags})
	_ = binary.Write(&w.Buffer, binary.BigEndian, stream)
	w.Write(payload)
}

func (w *wire) data(stream uint32, payload ...byte) { w.frame(frameData, 0, stream, payload) }

// message is a gRPC message of n bytes, of which only have come.
func torso(n, have int) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(n)), make([]byte, have)...)
}

func testGate(t testing.TB) *Gate {
	t.Helper()
	return New(Limits{
		Connections: 100, ConnectionsPerIP: 100, Handshakes: 100, HandshakesPerIP: 100, Handshake: time.Hour, HandshakeBytes: 1 << 30,
		Frame: 10 * time.Second, PartialBytes: 10_000, ConnectionPartialBytes: 20_000,
	}, core.SystemClock{}, func(net.Addr) {}, func(net.Addr, error) {})
}

// followed is a connection with its assembly; what is written to near arrives, and is read as it comes.
func followed(t testing.TB, g *Gate) (near net.Conn, c *Conn, a *assembly) {
	t.Helper()
	near, far := net.Pipe()
	g.enter(netip.Addr{})
	c = newConn(far, g, netip.Addr{})
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
	return near, c, conn.(*assembly)
}

// TestAssemblyCounts: what of a message has come is counted, however it is cut, until it is complete or its
// stream ends, on either side.
func TestAssemblyCounts(t *testing.T) {
	tests := map[string]struct {
		in, out func(w *wire)
		least   int64
	}{
		"whole":            {in: func(w *wire) { w.data(1, torso(100, 100)...) }},
		"two in a frame":   {in: func(w *wire) { w.data(1, append(torso(10, 10), torso(0, 0)...)...) }},
		"half":             {in: func(w *wire) { w.data(1, torso(100, 50)...) }, least: 55},
		"half of the head": {in: func(w *wire) { w.data(1, 0, 0) }, least: 2},
		"one and a half":   {in: func(w *wire) { w.data(1, append(torso(10, 10), torso(100, 50)...)...) }, least: 55},
		"the other half":   {in: func(w *wire) { w.data(1, torso(100, 50)...); w.data(1, make([]byte, 50)...) }},
		"of two streams":   {in: func(w *wire) { w.frame(frameHeaders, 0, 3, nil); w.data(1, torso(9, 8)...); w.data(3, torso(9, 8)...) }, least: 26},
		"padded": {in: func(w *wire) {
			w.frame(frameData, flagPadded, 1, append(append([]byte{7}, torso(9, 9)...), make([]byte, 7)...))
		}},
		"padded beyond":      {in: func(w *wire) { w.frame(frameData, flagPadded, 1, []byte{200, 1, 2}) }},
		"no stream":          {in: func(w *wire) { w.data(5, torso(100, 50)...) }},
		"reset by the peer":  {in: func(w *wire) { w.data(1, torso(100, 50)...); w.frame(frameReset, 0, 1, make([]byte, 4)) }},
		"ended by the peer":  {in: func(w *wire) { w.frame(frameData, flagEndStream, 1, torso(100, 50)) }},
		"an empty end":       {in: func(w *wire) { w.data(1, torso(100, 50)...); w.frame(frameData, flagEndStream, 1, nil) }},
		"reset by this side": {in: func(w *wire) { w.data(1, torso(100, 50)...) }, out: func(w *wire) { w.frame(frameReset, 0, 1, make([]byte, 4)) }},
		"ended by this side": {in: func(w *wire) { w.data(1, torso(100, 50)...) }, out: func(w *wire) { w.frame(frameHeaders, flagEndStream, 1, nil) }},
		"answered":           {in: func(w *wire) { w.data(1, torso(100, 50)...) }, out: func(w *wire) { w.frame(frameHeaders, 0, 1, nil); w.data(1, 1, 2, 3) }, least: 55},
		"other frames between": {in: func(w *wire) {
			w.data(1, torso(100, 50)...)
			w.frame(8, 0, 1, make([]byte, 4))
			w.data(1, make([]byte, 50)...)
		}},
	}
	for name, tt := range tests {
		for _, cut := range []int{1, 7, 1 << 20} {
			t.Run(name, func(t *testing.T) {
				g := testGate(t)
				a := &assembly{c: &Conn{g: g}, streams: map[uint32]*message{}}
				near, far := net.Pipe()
				go func() { _, _ = bytes.NewBuffer(nil).ReadFrom(far) }()
				defer near.Close()
				a.Conn = near
				var in, out wire
				in.frame(frameHeaders, 0, 1, []byte("headers"))
				tt.in(&in)
				if tt.out != nil {
					tt.out(&out)
				}
				for b := range chunks(in.Bytes(), cut) {
					if err := a.arrived(b); err != nil {
						t.Fatal(err)
					}
				}
				for b := range chunks(out.Bytes(), cut) {
					if _, err := a.Write(b); err != nil {
						t.Fatal(err)
					}
				}
				held := a.held.Load()
				if held < tt.least || tt.least == 0 && held != 0 || held > tt.least+3*pieceCost {
					t.Errorf("%d bytes are held, want %d and the pieces around", held, tt.least)
				}
				if all := g.partial.Load(); all != held {
					t.Errorf("the gate counts %d, the connection %d", all, held)
				}
				if began := a.oldest(); (began != 0) != (held > 0) {
					t.Errorf("the oldest began at %d, %d bytes are held", began, held)
				}
				a.leave()
				if all := g.partial.Load(); all != 0 {
					t.Errorf("%d bytes are counted after the end", all)
				}
			})
		}
	}
}

func chunks(b []byte, n int) func(func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for len(b) > 0 {
			k := min(n, len(b))
			if !yield(b[:k]) {
				return
			}
			b = b[k:]
		}
	}
}

// TestFrameTime: a message that has begun must be complete in time; whole ones may pause for ever.
func TestFrameTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := testGate(t)
		var w, whole wire
		w.frame(frameHeaders, 0, 1, nil)
		w.data(1, torso(100, 50)...)
		whole.frame(frameHeaders, 0, 1, nil)
		whole.data(1, torso(100, 100)...)
		slow, c, _ := followed(t, g)
		idle, other, _ := followed(t, g)
		_, _ = slow.Write(w.Bytes())
		_, _ = idle.Write(whole.Bytes())
		time.Sleep(9 * time.Second)
		synctest.Wait()
		if c.reason.Load() != nil {
			t.Fatalf("ended after 9 s: %v", c.Reason())
		}
		time.Sleep(4 * time.Second)
		synctest.Wait()
		if err := c.Reason(); !errors.Is(err, core.ErrOverloaded) || !strings.Contains(err.Error(), "not complete") {
			t.Errorf("after 13 s: %v", err)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if other.reason.Load() != nil || g.partial.Load() != 0 {
			t.Errorf("the other one: %v; %d bytes are counted", other.Reason(), g.partial.Load())
		}
		_ = other.Close()
		g.Stop()
		if len(g.parts) != 0 {
			t.Errorf("%d connections are left", len(g.parts))
		}
	})
}

// TestPartialBytes: beyond the bound connections wait, those with the oldest messages go on, and who does not
// complete what it began is ended. One that is over its own bound is ended at once. Members are no strangers.
func TestPartialBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := testGate(t)
		defer g.Stop()
		begin := func(n, have int) (net.Conn, *Conn, *assembly) {
			near, c, a := followed(t, g)
			var w wire
			w.frame(frameHeaders, 0, 1, nil)
			w.data(1, torso(n, have)...)
			_, _ = near.Write(w.Bytes())
			synctest.Wait()
			time.Sleep(time.Millisecond)
			return near, c, a
		}
		var stuck []*Conn
		for range 5 {
			_, c, _ := begin(4_000, 3_000)
			stuck = append(stuck, c)
		}
		near, c, a := begin(4_000, 3_000)
		if !a.waiting.Load() {
			t.Fatal("it does not wait")
		}
		var rest wire
		rest.data(1, make([]byte, 1_000)...)
		done := make(chan bool, 1)
		go func() { _, err := near.Write(rest.Bytes()); done <- err == nil }()
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if len(done) == 0 || !<-done || c.reason.Load() != nil || a.held.Load() != 0 {
			t.Errorf("an honest one: %v, %d bytes are held", c.Reason(), a.held.Load())
		}
		ended := 0
		for _, c := range stuck {
			if c.reason.Load() != nil {
				ended++
			}
		}
		if ended == 0 || ended == len(stuck) {
			t.Errorf("%d of those that complete nothing were ended; want as many as there was need of", ended)
		}
		if held := g.partial.Load(); held > 10_000 {
			t.Errorf("%d bytes are held", held)
		}
		near, member, m := followed(t, g)
		member.Admit(true)
		before := g.partial.Load()
		var w wire
		w.frame(frameHeaders, 0, 1, nil)
		w.data(1, torso(15_000, 9_000)...)
		_, _ = near.Write(w.Bytes())
		synctest.Wait()
		if member.reason.Load() != nil || m.held.Load() < 9_000 || g.partial.Load() != before {
			t.Errorf("a member: %v, %d bytes are held, %d more are counted", member.Reason(), m.held.Load(), g.partial.Load()-before)
		}
	})
}

// TestConnectionPartialBytes: a connection that is over its own bound ends at once.
func TestConnectionPartialBytes(t *testing.T) {
	g := testGate(t)
	near, c, _ := followed(t, g)
	var w wire
	w.frame(frameHeaders, 0, 1, nil)
	w.frame(frameHeaders, 0, 3, nil)
	w.data(1, torso(1<<20, 9_000)...)
	w.data(3, torso(1<<20, 12_000)...)
	_, _ = near.Write(w.Bytes())
	<-c.closed
	if err := c.Reason(); !errors.Is(err, core.ErrOverloaded) || !strings.Contains(err.Error(), "at most 20000") {
		t.Errorf("reason %v", err)
	}
	for end := time.Now().Add(10 * time.Second); g.partial.Load() != 0; runtime.Gosched() { // Close goes on
		if time.Now().After(end) {
			t.Fatalf("%d bytes are counted", g.partial.Load())
		}
	}
}

// TestShares: rooms and bounds of connections and of all.
func TestShares(t *testing.T) {
	b := NewBudget(1600, 1200)
	x, y := b.Share(), b.Share()
	if !x.Room(900) || x.Room(901) {
		t.Error("a connection's own requests have three quarters of its bound")
	}
	x.Take(900)
	y.Take(301)
	if y.Room(1) || !b.Share().Room(100) || b.Share().Room(200) {
		t.Error("in the last quarter each has its part of it")
	}
	x.Take(301)
	if !x.Full() || y.Full() || b.Over() {
		t.Errorf("full %v, %v, over %v", x.Full(), y.Full(), b.Over())
	}
	y.Take(200)
	if !y.Over() {
		t.Error("more than all may have is not over")
	}
	now := time.Unix(0, 0)
	x.Leave(now)
	y.Leave(now)
	y.Give(501)
	if !b.Sweep(now, time.Hour) || b.Used() != 1201 {
		t.Errorf("%d are used while calls of a connection that has ended are under way", b.Used())
	}
	if b.Sweep(now.Add(time.Hour), time.Hour) || b.Used() != 0 {
		t.Errorf("%d are used that nobody will give back", b.Used())
	}
	x.Give(1201)
	x.Take(5)
	if b.Used() != 0 || x.Held() != 0 {
		t.Errorf("%d are used after the write-off", b.Used())
	}
}

// FuzzAssembly: whatever the bytes are and however they are cut, the count is the same, never negative, and
// nothing is left of it at the end.
func FuzzAssembly(f *testing.F) {
	var w wire
	w.frame(frameHeaders, 0, 1, []byte("headers"))
	w.data(1, torso(20, 10)...)
	w.frame(frameData, flagPadded|flagEndStream, 1, append([]byte{2}, make([]byte, 12)...))
	w.frame(frameReset, 0, 1, make([]byte, 4))
	f.Add(w.Bytes(), 3)
	f.Fuzz(func(t *testing.T, data []byte, cut int) {
		g := testGate(t)
		g.limits.ConnectionPartialBytes = 1 << 60
		one := &assembly{c: &Conn{g: g}, streams: map[uint32]*message{}}
		two := &assembly{c: &Conn{g: g}, streams: map[uint32]*message{}}
		err := one.arrived(data)
		var again error
		for b := range chunks(data, max(cut&1023, 1)) {
			again = errors.Join(again, two.arrived(b))
		}
		if (err == nil) != (again == nil) || one.held.Load() != two.held.Load() || one.held.Load() < 0 {
			t.Fatalf("%d bytes, %v; in pieces %d, %v", one.held.Load(), err, two.held.Load(), again)
		}
		if most := int64(len(data)) * (pieceCost + 16<<10); one.held.Load() > most {
			t.Fatalf("%d bytes make %d", len(data), one.held.Load())
		}
		one.leave()
		two.leave()
		if g.partial.Load() != 0 {
			t.Fatalf("%d bytes are left", g.partial.Load())
		}
	})
}
