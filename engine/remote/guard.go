package remote

import (
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/granary-go/granary/core"
)

// gate counts accepted connections, and those that have not shaken hands, in all and by IP address.
type gate struct {
	limits *Limits
	clock  core.Clock
	full   func(address net.Addr) // told of each connection that is closed at once

	mu          sync.Mutex
	open, fresh int
	byIP        map[netip.Addr]*ipCount
	unknown     map[*guardConn]struct{} // those that have not shaken hands
	over        bool
}

type ipCount struct{ open, fresh int }

func newGate(l *Limits, clock core.Clock, full func(net.Addr)) *gate {
	return &gate{limits: l, clock: clock, full: full, byIP: map[netip.Addr]*ipCount{}, unknown: map[*guardConn]struct{}{}}
}

// listen makes l's connections pass the gate.
func (g *gate) listen(l net.Listener) net.Listener { return &guardListener{l, g} }

func (g *gate) enter(ip netip.Addr) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	c := g.byIP[ip]
	if c == nil {
		c = &ipCount{}
	}
	l := g.limits
	if g.over || g.open >= l.Connections || g.fresh >= l.Handshakes || c.open >= l.ConnectionsPerIP || c.fresh >= l.HandshakesPerIP {
		return false
	}
	g.byIP[ip] = c
	g.open++
	g.fresh++
	c.open++
	c.fresh++
	return true
}

// stop closes the connections that have not shaken hands, which a stop would else wait for, and lets
// none in any more.
func (g *gate) stop() {
	g.mu.Lock()
	g.over = true
	left := slices.Collect(maps.Keys(g.unknown))
	g.mu.Unlock()
	for _, c := range left {
		_ = c.Close() // nothing to tell: it never said who it is
	}
}

// watch notes a connection that has to shake hands; false: stop has been called.
func (g *gate) watch(c *guardConn) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.unknown[c] = struct{}{}
	return !g.over
}

func (g *gate) admitted(ip netip.Addr, c *guardConn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.unknown, c)
	g.fresh--
	g.byIP[ip].fresh--
}

func (g *gate) leave(ip netip.Addr, admitted bool, conn *guardConn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.unknown, conn)
	c := g.byIP[ip]
	g.open--
	c.open--
	if !admitted {
		g.fresh--
		c.fresh--
	}
	if c.open == 0 {
		delete(g.byIP, ip)
	}
}

type guardListener struct {
	net.Listener
	g *gate
}

// Accept waits for the next connection that the limits allow.
func (l *guardListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		ip := ipOf(conn.RemoteAddr())
		if l.g.enter(ip) {
			c := newGuardConn(conn, l.g, ip)
			if !l.g.watch(c) {
				_ = c.Close() // the listener is closed too, or about to be
			}
			return c, nil
		}
		l.g.full(conn.RemoteAddr())
		_ = conn.Close() // it was never used
	}
}

func ipOf(a net.Addr) netip.Addr {
	if ap, err := netip.ParseAddrPort(a.String()); err == nil {
		return ap.Addr().Unmap()
	}
	return netip.Addr{}
}

// guardConn bounds what a connection may do before its first handshake has succeeded: how long it
// lives and how many bytes it sends.
type guardConn struct {
	net.Conn
	g     *gate
	ip    netip.Addr
	first []byte // what peek read

	in      atomic.Bool  // admitted
	budget  atomic.Int64 // bytes that may still be read before
	shaking atomic.Int32 // streams within their handshake

	mu      sync.Mutex // guards the counts of the gate against a race of admit and Close
	left    bool
	stop    func() bool
	tripped chan struct{} // closed when the budget is used up
	trip    sync.Once
	closed  chan struct{}
}

// newGuardConn starts the limits of a handshake. The stream's own limit of time comes first and tells
// the peer; the one here is for those that open no stream.
func newGuardConn(conn net.Conn, g *gate, ip netip.Addr) *guardConn {
	c := &guardConn{Conn: conn, g: g, ip: ip, tripped: make(chan struct{}), closed: make(chan struct{})}
	c.budget.Store(int64(g.limits.HandshakeBytes))
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stop = g.clock.AfterFunc(2*g.limits.Handshake+time.Second, c.expire)
	return c
}

func (c *guardConn) expire() {
	if !c.in.Load() {
		_ = c.Close() // nothing to tell: it never said who it is
	}
}

// peek returns the first byte without consuming it.
func (c *guardConn) peek() (byte, error) {
	var b [1]byte
	if _, err := c.Read(b[:]); err != nil {
		return 0, err
	}
	c.first = b[:]
	return b[0], nil
}

// Read reads within the budget. Used up, it waits for the end of the connection, so that the reason
// can still be written.
func (c *guardConn) Read(b []byte) (int, error) {
	if len(c.first) > 0 {
		n := copy(b, c.first)
		c.first = c.first[n:]
		return n, nil
	}
	if c.in.Load() {
		return c.Conn.Read(b)
	}
	left := c.budget.Load()
	if left <= 0 {
		c.trip.Do(func() { close(c.tripped) })
		<-c.closed
		return 0, net.ErrClosed
	}
	if int64(len(b)) > left {
		b = b[:left]
	}
	n, err := c.Conn.Read(b)
	c.budget.Add(int64(-n))
	return n, err
}

// admit lifts the bounds: a handshake has succeeded. It is false if the connection is closed.
func (c *guardConn) admit() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left {
		return false
	}
	if c.in.CompareAndSwap(false, true) {
		c.stop()
		c.g.admitted(c.ip, c)
	}
	return true
}

// Close ends the connection.
func (c *guardConn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left {
		return net.ErrClosed
	}
	c.left = true
	c.stop()
	close(c.closed)
	c.g.leave(c.ip, c.in.Load(), c)
	return c.Conn.Close()
}
