package remote

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/granary-go/granary/core"
)

// AnyHost stands for every host of a Memory where a fault is set.
const AnyHost = "*"

// MemoryConfig is what a Memory is made of; the zero value is a perfect network.
type MemoryConfig struct {
	Clock  core.Clock    // nil: core.SystemClock, which is also right in a bubble of testing/synctest
	Seed   uint64        // of the jitter
	Delay  time.Duration // from a write to the moment it can be read; 0: none
	Jitter time.Duration // drawn uniformly and added to Delay; order is kept
	Buffer int           // bytes on the way in one direction of a connection before a write waits; 0: 256 KiB
}

// Memory is a network inside the process, for tests: hosts have names, connections have delays, and
// each direction between two hosts can be cut. It works inside testing/synctest. It is safe for
// concurrent use; make it with NewMemory.
type Memory struct {
	cfg MemoryConfig

	mu        sync.Mutex
	rand      *rand.Rand
	port      int
	listeners map[string]*memoryListener // by address
	conns     map[*memoryConn]struct{}
	made      map[[2]string]uint64 // connections, by hosts
	cut       map[[2]string]bool
	slow      map[[2]string]time.Duration
	dead      map[string]bool
	changed   chan struct{} // closed and renewed when a fault is set or healed
}

// NewMemory makes a network without hosts.
func NewMemory(cfg MemoryConfig) *Memory {
	if cfg.Clock == nil {
		cfg.Clock = core.SystemClock{}
	}
	if cfg.Buffer <= 0 {
		cfg.Buffer = 256 << 10
	}
	return &Memory{
		cfg: cfg, rand: rand.New(rand.NewPCG(cfg.Seed, 0x6d656d6f7279)), port: 40_000,
		listeners: map[string]*memoryListener{}, conns: map[*memoryConn]struct{}{}, made: map[[2]string]uint64{},
		cut: map[[2]string]bool{}, slow: map[[2]string]time.Duration{}, dead: map[string]bool{},
		changed: make(chan struct{}),
	}
}

// Host is the network as seen from the host of that name. Listening with port 0 gets a port that is
// unique in the network, so all hosts may listen on "127.0.0.1:0".
func (m *Memory) Host(name string) Transport { return &memoryHost{m, name} }

// Cut holds what from sends to to: bytes wait, and dials hang, until Heal. Nobody is told.
func (m *Memory) Cut(from, to string) {
	m.fault(func() { m.cut[[2]string{from, to}] = true })
}

// Heal ends a Cut; what was held arrives as if it had been sent now, one write after the other.
func (m *Memory) Heal(from, to string) {
	m.fault(func() {
		if !m.cut[[2]string{from, to}] {
			return
		}
		delete(m.cut, [2]string{from, to})
		now := m.cfg.Clock.Now()
		for c := range m.conns {
			if match(from, c.in.from) && match(to, c.in.to) {
				c.in.release(now.Add(m.cfg.Delay + m.slow[[2]string{c.in.from, c.in.to}]))
			}
		}
	})
}

// Slow adds d to the delay of what from sends to to.
func (m *Memory) Slow(from, to string, d time.Duration) {
	m.fault(func() { m.slow[[2]string{from, to}] = d })
}

// Reset ends the connections between a and b, whoever dialled: each end is told "connection reset by peer"
// after what the other has sent.
func (m *Memory) Reset(a, b string) {
	for _, c := range m.between(a, b) {
		c.in.end(syscall.ECONNRESET)
	}
}

// Stalled are connections that a Stall holds.
type Stalled struct {
	m     *Memory
	conns []*memoryConn // their ends at the host that sends
}

// Stall holds what from has sent to to, and sends, by the connections that there are now, whoever dialled,
// until Release: it is as if something between the two had lost sight of them. Connections that are made
// later are not held.
func (m *Memory) Stall(from, to string) *Stalled {
	s := &Stalled{m: m}
	for _, c := range m.between(from, to) {
		if match(from, c.local) {
			s.conns = append(s.conns, c)
			c.out.stall(true)
		}
	}
	return s
}

// Break ends the connections for the host that sends: it is told "connection reset by peer", and may make
// others. The other end learns of it after what was held.
func (s *Stalled) Break() {
	for _, c := range s.conns {
		c.reset()
	}
}

// Release lets what was held arrive, as if it had been sent now.
func (s *Stalled) Release() {
	now := s.m.cfg.Clock.Now()
	for _, c := range s.conns {
		c.out.release(now.Add(s.m.delay(c.local, c.remote)))
		c.out.stall(false)
	}
}

// Kill is the end of a host: its connections are reset, its listeners closed, and dials to it and
// from it are refused until Revive. Peers learn of it as they do of what is sent: not over a cut.
func (m *Memory) Kill(host string) {
	m.fault(func() { m.dead[host] = true })
	m.mu.Lock()
	var gone []*memoryListener
	for _, l := range m.listeners {
		if l.host == host {
			gone = append(gone, l)
		}
	}
	m.mu.Unlock()
	for _, l := range gone {
		_ = l.Close() // cannot fail
	}
	for _, c := range m.between(host, AnyHost) {
		if c.local == host {
			c.reset()
		}
	}
}

// Revive lets a killed host dial and listen again.
func (m *Memory) Revive(host string) { m.fault(func() { delete(m.dead, host) }) }

func (m *Memory) fault(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f()
	close(m.changed)
	m.changed = make(chan struct{})
	for c := range m.conns {
		c.in.poke()
	}
}

func (m *Memory) between(a, b string) []*memoryConn {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []*memoryConn
	for c := range m.conns {
		if match(a, c.local) && match(b, c.remote) || match(a, c.remote) && match(b, c.local) {
			out = append(out, c)
		}
	}
	slices.SortFunc(out, func(a, b *memoryConn) int { return cmp.Compare(a.number, b.number) })
	return out
}

func match(pattern, host string) bool { return pattern == AnyHost || pattern == host }

// isCut reports whether bytes from one host to another are held. The caller does not hold m.mu.
func (m *Memory) isCut(from, to string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.cut[[2]string{from, to}] || m.cut[[2]string{from, AnyHost}] || m.cut[[2]string{AnyHost, to}]
}

func (m *Memory) delay(from, to string) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	d := m.cfg.Delay + m.slow[[2]string{from, to}]
	if m.cfg.Jitter > 0 {
		d += time.Duration(m.rand.Int64N(int64(m.cfg.Jitter)))
	}
	return d
}

type memoryHost struct {
	m    *Memory
	name string
}

// InProcess tells that nothing leaves the process.
func (h *memoryHost) InProcess() bool { return true }

// Listen binds address for this host.
func (h *memoryHost) Listen(_ context.Context, address string) (net.Listener, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: "memory", Err: err}
	}
	m := h.m
	m.mu.Lock()
	defer m.mu.Unlock()
	if port == "0" || port == "" {
		m.port++
		address = net.JoinHostPort(host, strconv.Itoa(m.port))
	}
	addr := memoryAddr(address)
	switch {
	case m.dead[h.name]:
		return nil, &net.OpError{Op: "listen", Net: "memory", Addr: addr, Err: syscall.ENETDOWN}
	case m.listeners[address] != nil:
		return nil, &net.OpError{Op: "listen", Net: "memory", Addr: addr, Err: syscall.EADDRINUSE}
	}
	l := &memoryListener{m: m, host: h.name, addr: addr, queue: make(chan net.Conn, 128), done: make(chan struct{})}
	m.listeners[address] = l
	return l, nil
}

// Dial connects to a listener of the network; it is refused where there is none.
func (h *memoryHost) Dial(ctx context.Context, address string) (net.Conn, error) {
	m := h.m
	fail := func(err error) error {
		return &net.OpError{Op: "dial", Net: "memory", Addr: memoryAddr(address), Err: err}
	}
	for {
		m.mu.Lock()
		l, changed := m.listeners[address], m.changed
		refused := l == nil || m.dead[h.name]
		m.mu.Unlock()
		if refused {
			return nil, fail(syscall.ECONNREFUSED)
		}
		if !m.isCut(h.name, l.host) && !m.isCut(l.host, h.name) {
			return h.connect(l, fail)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, fail(context.Cause(ctx))
		}
	}
}

func (h *memoryHost) connect(l *memoryListener, fail func(error) error) (net.Conn, error) {
	m := h.m
	m.mu.Lock()
	m.port++
	local := memoryAddr(net.JoinHostPort("127.0.0.1", strconv.Itoa(m.port)))
	pair := [2]string{h.name, l.host}
	m.made[pair]++
	there := newMemoryPipe(m, h.name, l.host, m.made[pair])
	back := newMemoryPipe(m, l.host, h.name, m.made[pair])
	near := &memoryConn{m: m, number: 2 * m.port, in: back, out: there, local: h.name, remote: l.host, la: local, ra: l.addr}
	far := &memoryConn{m: m, number: 2*m.port + 1, in: there, out: back, local: l.host, remote: h.name, la: l.addr, ra: local}
	m.conns[near], m.conns[far] = struct{}{}, struct{}{}
	m.mu.Unlock()
	select {
	case <-l.done:
	case l.queue <- far:
		return near, nil
	default: // the backlog is full
	}
	near.reset()
	far.reset()
	return nil, fail(syscall.ECONNREFUSED)
}

type memoryListener struct {
	m     *Memory
	host  string
	addr  memoryAddr
	queue chan net.Conn
	once  sync.Once
	done  chan struct{}
}

// Accept waits for the next connection.
func (l *memoryListener) Accept() (net.Conn, error) {
	select {
	case <-l.done:
		return nil, &net.OpError{Op: "accept", Net: "memory", Addr: l.addr, Err: net.ErrClosed}
	case c := <-l.queue:
		return c, nil
	}
}

// Close frees the address and resets what waits in the backlog.
func (l *memoryListener) Close() error {
	l.once.Do(func() {
		l.m.mu.Lock()
		delete(l.m.listeners, string(l.addr))
		l.m.mu.Unlock()
		close(l.done)
		for {
			select {
			case c := <-l.queue:
				c.(*memoryConn).reset()
				continue
			default:
			}
			return
		}
	})
	return nil
}

// Addr is the address bound.
func (l *memoryListener) Addr() net.Addr { return l.addr }

type memoryAddr string

// Network is "memory".
func (memoryAddr) Network() string { return "memory" }

// String is "host:port".
func (a memoryAddr) String() string { return string(a) }

// memoryConn is one end of a connection.
type memoryConn struct {
	m             *Memory
	number        int // in the order in which they were made
	in, out       *memoryPipe
	local, remote string // hosts
	la, ra        memoryAddr
}

// Read reads what has arrived. Once it has heard of the end of the connection, nothing can be written.
func (c *memoryConn) Read(b []byte) (int, error) {
	n, err := c.in.read(b)
	switch {
	case errors.Is(err, io.EOF):
		c.forget()
		c.out.refuse(syscall.EPIPE)
	case errors.Is(err, syscall.ECONNRESET):
		c.forget()
		c.out.refuse(syscall.ECONNRESET)
	}
	return n, err
}

// Write sends b. What the other end does not read any more is lost.
func (c *memoryConn) Write(b []byte) (int, error) { return c.out.write(b) }
func (c *memoryConn) LocalAddr() net.Addr         { return c.la }
func (c *memoryConn) RemoteAddr() net.Addr        { return c.ra }

// Close ends both directions: the peer reads what was written, then io.EOF once that has travelled as bytes
// do, and from then on cannot write.
func (c *memoryConn) Close() error {
	c.forget()
	c.out.end(io.EOF)
	c.out.refuse(io.ErrClosedPipe)
	c.in.abandon(net.ErrClosed)
	return nil
}

// reset ends the connection at this end at once, and at the other as soon as that can hear of it.
func (c *memoryConn) reset() {
	c.forget()
	c.out.end(syscall.ECONNRESET)
	c.out.refuse(syscall.ECONNRESET)
	c.in.abandon(syscall.ECONNRESET)
}

func (c *memoryConn) forget() {
	c.m.mu.Lock()
	delete(c.m.conns, c)
	c.m.mu.Unlock()
}

// SetDeadline bounds reads and writes.
func (c *memoryConn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline bounds reads.
func (c *memoryConn) SetReadDeadline(t time.Time) error {
	c.in.setDeadline(&c.in.readBy, t)
	return nil
}

// SetWriteDeadline bounds writes.
func (c *memoryConn) SetWriteDeadline(t time.Time) error {
	c.out.setDeadline(&c.out.writeBy, t)
	return nil
}

// String names both ends.
func (c *memoryConn) String() string { return fmt.Sprintf("%s -> %s", c.local, c.remote) }

var _ net.Conn = (*memoryConn)(nil)
