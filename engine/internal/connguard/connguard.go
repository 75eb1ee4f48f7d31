// Package connguard bounds what connections may do before anybody knows whose they are: how many there
// are in all and of one IP address, how long they take, and how much they send; what all of them may leave
// incomplete, later too; and what is held for clients.
package connguard

import (
	"fmt"
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

	Frame                  time.Duration // from the first byte of a gRPC message to its last
	PartialBytes           int           // of incomplete messages, on all connections but members'
	ConnectionPartialBytes int           // of those of one connection
}

// Gate counts accepted connections, and those that have not shaken hands, in all and by IP address.
type Gate struct {
	limits Limits
	clock  core.Clock
	full   func(address net.Addr) // told of each connection that is closed at once
	failed func(address net.Addr, reason error)

	born    time.Time
	partial atomic.Int64 // bytes of incomplete messages, members' excepted

	mu          sync.Mutex
	open, fresh int
	byIP        map[netip.Addr]*ipCount
	unknown     map[*Conn]struct{} // those that have not shaken hands
	parts       map[*assembly]struct{}
	sweep       func() bool // stops the timer that looks at them; nil: none runs
	oldest      []*assembly // with the oldest incomplete messages, as of looked
	looked      int64
	over        bool
}

type ipCount struct{ open, fresh int }

// New returns a gate for one listener. It tells full of each connection that it closes at once, and failed
// of each that it ends later, and why.
func New(l Limits, clock core.Clock, full func(net.Addr), failed func(net.Addr, error)) *Gate {
	return &Gate{
		limits: l, clock: clock, full: full, failed: failed,
		born: clock.Now(), byIP: map[netip.Addr]*ipCount{}, unknown: map[*Conn]struct{}{}, parts: map[*assembly]struct{}{},
	}
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
	if g.sweep != nil {
		g.sweep()
		g.sweep = nil
	}
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
	if conn != nil {
		delete(g.parts, conn.parts)
	}
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

// follow begins to look at what a connection leaves incomplete.
func (g *Gate) follow(a *assembly) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.parts[a] = struct{}{}
	g.schedule()
}

// schedule sets the timer that ends connections whose messages take too long. The caller holds g.mu.
func (g *Gate) schedule() {
	if g.sweep == nil && !g.over && len(g.parts) > 0 {
		g.sweep = g.clock.AfterFunc(g.limits.Frame/4, g.look)
	}
}

// look ends the connections with a message that is not complete in time.
func (g *Gate) look() {
	g.mu.Lock()
	g.sweep = nil
	g.schedule()
	all := slices.Collect(maps.Keys(g.parts))
	g.mu.Unlock()
	now := g.now()
	for _, a := range all {
		if age, _ := a.age(now); age >= g.limits.Frame {
			a.c.Fail(fmt.Errorf("a message that began %v ago is not complete: %w", age.Round(time.Millisecond), core.ErrOverloaded))
		}
	}
}

// now is the time in nanoseconds since the gate was made, and one.
func (g *Gate) now() int64 { return int64(g.clock.Now().Sub(g.born)) + 1 }

// crowded reports whether incomplete messages hold more than they may, members' excepted.
func (g *Gate) crowded() bool { return g.partial.Load() > int64(g.limits.PartialBytes) }

// room waits until incomplete messages hold no more than they may, or a has one of the oldest of them. False:
// a has ended.
func (g *Gate) room(a *assembly) bool {
	a.waiting.Store(true)
	defer a.waiting.Store(false)
	for g.crowded() && !slices.Contains(g.turns(), a) {
		again := make(chan struct{})
		stop := g.clock.AfterFunc(crowdedPause, func() { close(again) })
		select {
		case <-again:
		case <-a.c.closed:
			stop()
			return false
		}
	}
	a.resumed.Store(g.now())
	a.looks.Store(0)
	return true
}

// turns are the connections with the oldest incomplete messages, members' excepted. Those whose messages are
// not going to be complete soon end. Many may ask at once, and it goes over all connections, so the answer
// holds for a while.
func (g *Gate) turns() []*assembly {
	g.mu.Lock()
	now := g.now()
	if time.Duration(now-g.looked) < crowdedPause/2 {
		defer g.mu.Unlock()
		return g.oldest
	}
	var began []int64
	var late []*assembly
	g.oldest, g.looked = nil, now
	for a := range g.parts {
		since := a.oldest()
		if since == 0 || a.member.Load() {
			continue
		}
		age, idle := a.age(now)
		if looked := a.looks.Add(1) > crowdedLooks; age >= crowdedAge || idle >= crowdedIdle && looked {
			late = append(late, a)
			continue
		}
		i, _ := slices.BinarySearch(began, since)
		if i < crowdedTurns {
			began, g.oldest = slices.Insert(began, i, since), slices.Insert(g.oldest, i, a)
		}
	}
	g.oldest = g.oldest[:min(len(g.oldest), crowdedTurns)]
	turns := g.oldest
	g.mu.Unlock()
	for _, a := range late {
		a.c.Fail(fmt.Errorf("a message is not complete in time, and others need the room: %w", core.ErrOverloaded))
	}
	return turns
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
	reason  atomic.Pointer[error]

	mu      sync.Mutex // guards the counts of the gate against a race of Admit and Close
	left    bool
	parts   *assembly // nil: not secured yet
	share   *Share    // nil: no client has come by it
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

// Admit lifts the bounds: a handshake has succeeded, a member's or a client's. It is false if the connection
// is closed.
func (c *Conn) Admit(member bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left {
		return false
	}
	if member && c.parts != nil {
		c.parts.trust()
	}
	if c.in.CompareAndSwap(false, true) {
		c.stop()
		c.g.admitted(c.ip, c)
	}
	return true
}

// Share is the connection's part of b, which is always the same.
func (c *Conn) Share(b *Budget) *Share {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.share == nil {
		c.share = b.Share()
		if c.left {
			c.share.Leave(c.g.clock.Now())
		}
	}
	return c.share
}

// Fail ends the connection for a reason.
func (c *Conn) Fail(reason error) {
	if c.reason.CompareAndSwap(nil, &reason) {
		c.g.failed(c.RemoteAddr(), reason)
	}
	_ = c.Close() // its end is the aim
}

// Reason is why the connection was ended, or net.ErrClosed.
func (c *Conn) Reason() error {
	if r := c.reason.Load(); r != nil {
		return *r
	}
	return net.ErrClosed
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
	if c.parts != nil {
		c.parts.leave()
	}
	if c.share != nil {
		c.share.Leave(c.g.clock.Now())
	}
	c.g.leave(c.ip, c.in.Load(), c)
	return c.Conn.Close()
}
