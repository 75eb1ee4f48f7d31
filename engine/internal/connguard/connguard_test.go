package connguard

import (
	"cmp"
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/granary-go/granary/core"
)

func TestGateLimits(t *testing.T) {
	one, two := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	tests := map[string]struct {
		limits Limits
		admit  bool // each connection ends its handshake at once
		from   func(i int) netip.Addr
	}{
		"connections":          {Limits{Connections: 3}, true, func(i int) netip.Addr { return []netip.Addr{one, two}[i%2] }},
		"connections of an IP": {Limits{ConnectionsPerIP: 3}, true, func(int) netip.Addr { return one }},
		"handshakes":           {Limits{Handshakes: 3}, false, func(i int) netip.Addr { return []netip.Addr{one, two}[i%2] }},
		"handshakes of an IP":  {Limits{HandshakesPerIP: 3}, false, func(int) netip.Addr { return one }},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			l := tt.limits
			for _, field := range []*int{&l.Connections, &l.ConnectionsPerIP, &l.Handshakes, &l.HandshakesPerIP} {
				*field = cmp.Or(*field, 100)
			}
			g := New(l, core.SystemClock{}, func(net.Addr) {}, func(net.Addr, error) {})
			for i := range 4 {
				if got := g.enter(tt.from(i)); got != (i < 3) {
					t.Errorf("connection %d of at most 3: %v", i+1, got)
				}
				if tt.admit && i < 3 {
					g.admitted(tt.from(i), nil)
				}
			}
			g.leave(tt.from(0), tt.admit, nil)
			if !g.enter(tt.from(0)) {
				t.Error("no room after one has left")
			}
			g.leave(tt.from(0), false, nil)
			for i := 1; i < 3; i++ {
				g.leave(tt.from(i), tt.admit, nil)
			}
			if g.open != 0 || g.fresh != 0 || len(g.byIP) != 0 {
				t.Errorf("left behind: %+v", g)
			}
		})
	}
}

// TestGuard bounds time and bytes before the handshake, and neither after it.
func TestGuard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limits := Limits{Connections: 10, ConnectionsPerIP: 10, Handshakes: 10, HandshakesPerIP: 10, Handshake: 5 * time.Second, HandshakeBytes: 10}
		g := New(limits, core.SystemClock{}, func(net.Addr) {}, func(net.Addr, error) {})
		open := func() (net.Conn, *Conn) {
			near, far := net.Pipe()
			g.enter(netip.Addr{})
			return near, newConn(far, g, netip.Addr{})
		}
		near, c := open()
		go near.Write(make([]byte, 20)) // until the other side is closed
		if n, err := io.ReadFull(c, make([]byte, 10)); n != 10 || err != nil {
			t.Fatalf("within the budget: %d, %v", n, err)
		}
		ended := make(chan error, 1)
		go func() {
			_, err := c.Read(make([]byte, 1))
			ended <- err
		}()
		<-c.Exceeded()
		synctest.Wait()
		if len(ended) != 0 {
			t.Error("the reader did not wait for the end")
		}
		_ = c.Close()
		if err := <-ended; !errors.Is(err, net.ErrClosed) {
			t.Errorf("read after the budget: %v", err)
		}
		if c.Admit(false) {
			t.Error("a closed connection was admitted")
		}
		if err := c.Close(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("closed twice: %v", err)
		}

		near, c = open()
		if !c.Admit(false) || !c.Admit(false) {
			t.Fatal("not admitted")
		}
		go near.Write(make([]byte, 100))
		if _, err := io.ReadFull(c, make([]byte, 100)); err != nil {
			t.Errorf("after the handshake: %v", err)
		}
		time.Sleep(time.Hour)
		go near.Read(make([]byte, 1))
		if _, err := c.Write([]byte("x")); err != nil {
			t.Errorf("an hour after the handshake: %v", err)
		}
		_ = c.Close()

		_, c = open()
		began := time.Now()
		if _, err := c.Read(make([]byte, 1)); err == nil || time.Since(began) > 2*limits.Handshake+time.Second {
			t.Errorf("a silent connection: %v after %v", err, time.Since(began))
		}
		if g.open != 0 || g.fresh != 0 {
			t.Errorf("left behind: %+v", g)
		}
	})
}
