package memberlist

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	lib "github.com/hashicorp/memberlist"
)

const (
	dialTimeout = 2 * time.Second // to one address: a seed that swallows packets does not hold up the next
	maxStreams  = 256             // open at once, in and out; a stream past that is closed
)

// transport is the library's own, with streams that end when the provider does: without that, a
// peer that says nothing would keep a goroutine of the library until its time-out, long after Leave.
type transport struct {
	*lib.NetTransport
	dial    func(address string, timeout time.Duration) (net.Conn, error)
	lookup  func(host string) ([]net.IPAddr, error)
	stop    context.CancelFunc // of dials and lookups
	streams chan net.Conn
	aborted chan struct{} // closed by abort
	ended   chan struct{} // closed when the inner transport is down
	drained chan struct{} // closed when the goroutine of accept is gone

	mu     sync.Mutex
	open   map[*stream]struct{}
	closed bool
	down   sync.Once
}

var (
	errClosed  = errors.New("the gossip is shut down")
	errStreams = errors.New("too many streams are open")
)

// newTransport takes the listeners of inner over.
func newTransport(ctx context.Context, inner *lib.NetTransport, spawn func(string, func())) *transport {
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	t := &transport{
		NetTransport: inner,
		stop:         stop,
		streams:      make(chan net.Conn),
		aborted:      make(chan struct{}),
		ended:        make(chan struct{}),
		drained:      make(chan struct{}),
		open:         map[*stream]struct{}{},
	}
	t.dial = func(address string, timeout time.Duration) (net.Conn, error) {
		d := net.Dialer{Timeout: min(timeout, dialTimeout)}
		return d.DialContext(life, "tcp", address)
	}
	t.lookup = func(host string) ([]net.IPAddr, error) { return net.DefaultResolver.LookupIPAddr(life, host) }
	spawn("memberlist.streams", t.accept)
	return t
}

// DialTimeout opens a stream to address.
func (t *transport) DialTimeout(address string, timeout time.Duration) (net.Conn, error) {
	conn, err := t.dial(address, timeout)
	if err != nil {
		return nil, err
	}
	return t.track(conn)
}

// DialAddressTimeout opens a stream to a.
func (t *transport) DialAddressTimeout(a lib.Address, timeout time.Duration) (net.Conn, error) {
	return t.DialTimeout(a.Addr, timeout)
}

// StreamCh gives the streams that others opened.
func (t *transport) StreamCh() <-chan net.Conn { return t.streams }

// Shutdown closes listeners and streams and joins the goroutine. It may be called twice.
func (t *transport) Shutdown() error {
	var err error
	t.down.Do(func() {
		t.abort()
		err = t.NetTransport.Shutdown()
		close(t.ended)
		<-t.drained
	})
	return err
}

// abort ends dials and streams, so that whoever waits for one gets an error at once.
func (t *transport) abort() {
	t.stop()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return
	}
	t.closed = true
	close(t.aborted)
	for s := range t.open {
		_ = s.Conn.Close()
	}
	t.open = nil
}

// accept hands streams on. The inner transport waits in its Shutdown until its last stream and
// packet are taken, so both are taken, and dropped, from abort on.
func (t *transport) accept() {
	defer close(t.drained)
	var packets <-chan *lib.Packet
	aborted := t.aborted
	for {
		select {
		case conn := <-t.NetTransport.StreamCh():
			t.offer(conn)
		case <-packets:
		case <-aborted:
			packets, aborted = t.PacketCh(), nil
		case <-t.ended:
			return
		}
	}
}

func (t *transport) offer(conn net.Conn) {
	s, err := t.track(conn)
	if err != nil {
		return // it is closed
	}
	select {
	case t.streams <- s:
	case <-t.aborted:
		_ = s.Close()
	}
}

// track takes conn over, or closes it.
func (t *transport) track(conn net.Conn) (net.Conn, error) {
	s := &stream{conn, t}
	t.mu.Lock()
	defer t.mu.Unlock()
	err := errClosed
	if !t.closed {
		if len(t.open) < maxStreams {
			t.open[s] = struct{}{}
			return s, nil
		}
		err = errStreams
	}
	_ = conn.Close()
	return nil, err
}

// stream is one open stream.
type stream struct {
	net.Conn
	t *transport
}

// Close closes the stream and forgets it.
func (s *stream) Close() error {
	s.t.mu.Lock()
	delete(s.t.open, s)
	s.t.mu.Unlock()
	return s.Conn.Close()
}
