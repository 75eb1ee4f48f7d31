// Package connguard bounds what connections may do before anybody knows whose they are: how many there
// are in all and of one IP address, how long they take, and how much they send.
package connguard

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

// Limits are the bounds; all of them are above 0.
type Limits struct {
	Connections, ConnectionsPerIP int           // open at once
	Handshakes, HandshakesPerIP   int           // of them those that have not been admitted
	Handshake                     time.Duration // until a stream is opened; a connection has twice as long and a second
	HandshakeBytes                int           // that a connection may send before
}

// Gate counts accepted connections, and those that have not shaken hands, in all and by IP address.
type Gate struct {
	limits Limits
	clock  core.Clock
	full   func(address net.Addr) // told of each connection that is closed at once

	mu          sync.Mutex
	open, fresh int
	byIP        map[netip.Addr]*ipCount
	unknown     map[*Conn]struct{} // those that have not shaken hands
	over        bool
}

type ipCount struct{ open, fresh int }

// New returns a gate for one listener. It tells full of each connection that it closes at once.
func New(l Limits, clock core.Clock, full func(net.Addr)) *Gate {
	return &Gate{limits: l, clock: clock, full: full, byIP: map[netip.Addr]*ipCount{}, unknown: map[*Conn]struct{}{}}
}

// Count is how many connections are open, and how many of them have not been admitted.
func (g *Gate) Count() (open, fresh int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.open, g.fresh
}

// Listen makes l's connections pass the gate.
func (g *Gate) Listen(l net.Listener) net.Listener { return &listener{l, g} }

func (g *Gate) enter(ip netip.Addr) bool {
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

// Stop closes the connections that have not shaken hands, which a stop would else wait for, and lets
// none in any more.
func (g *Gate) Stop() {
	g.mu.Lock()
	g.over = true
	left := slices.Collect(maps.Keys(g.unknown))
	g.mu.Unlock()
	for _, c := range left {
		_ = c.Close() // nothing to tell: it never said who it is
	}
}

// watch notes a connection that has to shake hands; false: stop has been called.
func (g *Gate) watch(c *Conn) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.unknown[c] = struct{}{}
	return !g.over
}

func (g *Gate) admitted(ip netip.Addr, c *Conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.unknown, c)
	g.fresh--
	g.byIP[ip].fresh--
}

func (g *Gate) leave(ip netip.Addr, admitted bool, conn *Conn) {
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

type listener struct {
	net.Listener
	g *Gate
}

// Accept waits for the next connection that the limits allow.
func (l *listener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		ip := ipOf(conn.RemoteAddr())
		if l.g.enter(ip) {
			c := newConn(conn, l.g, ip)
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

// Conn bounds what a connection may do before its first handshake has succeeded: how long it
// lives and how many bytes it sends.
type Conn struct {
	net.Conn
	g     *Gate
	ip    netip.Addr
	first []byte // what Peek read

	in      atomic.Bool  // admitted
	budget  atomic.Int64 // bytes that may still be read before
	shaking atomic.Int32 // streams within their handshake

	mu      sync.Mutex // guards the counts of the gate against a race of Admit and Close
	left    bool
	stop    func() bool
	tripped chan struct{} // closed when the budget is used up
	trip    sync.Once
	closed  chan struct{}
}

// newConn starts the limits of a handshake. The stream's own limit of time comes first and tells
// the peer; the one here is for those that open no stream.
func newConn(conn net.Conn, g *Gate, ip netip.Addr) *Conn {
	c := &Conn{Conn: conn, g: g, ip: ip, tripped: make(chan struct{}), closed: make(chan struct{})}
	c.budget.Store(int64(g.limits.HandshakeBytes))
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stop = g.clock.AfterFunc(2*g.limits.Handshake+time.Second, c.expire)
	return c
}

func (c *Conn) expire() {
	if !c.in.Load() {
		_ = c.Close() // nothing to tell: it never said who it is
	}
}

// Peek returns the first byte without consuming it.
func (c *Conn) Peek() (byte, error) {
	var b [1]byte
	if _, err := c.Read(b[:]); err != nil {
		return 0, err
	}
	c.first = b[:]
	return b[0], nil
}

// Read reads within the budget. Used up, it waits for the end of the connection, so that the reason
// can still be written.
func (c *Conn) Read(b []byte) (int, error) {
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

// Admit lifts the bounds: a handshake has succeeded. It is false if the connection is closed.
func (c *Conn) Admit() bool {
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

// Begin counts one handshake on this connection; false: there are most of them already.
func (c *Conn) Begin(most int32) bool {
	if c.shaking.Add(1) > most {
		c.End()
		return false
	}
	return true
}

// End takes back what Begin has counted.
func (c *Conn) End() { c.shaking.Add(-1) }

// Exceeded is closed when the bytes before the handshake are used up. Read then waits for Close.
func (c *Conn) Exceeded() <-chan struct{} { return c.tripped }

// Close ends the connection.
func (c *Conn) Close() error {
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
