package kit

import (
	"bytes"
	"fmt"
	"hash/fnv"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
)

// TestMain lets the test binary be its own child process, as a program is.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "-role" {
		os.Exit(Run(&toy{}, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// toy is a subject without a library: channels in a process and bytes between processes.
type toy struct {
	twice   bool  // sinks count each message twice
	refuse  error // what sinks answer
	formed  atomic.Int64
	noGrain error // what calls of grains answer
}

func (t *toy) Note(row string) string { return "toy " + row }

func (t *toy) Local() (Local, error) { return &toyLocal{t}, nil }

type toyLocal struct{ toy *toy }

type toySink struct {
	toy  *toy
	mail chan struct{}
}

func (l *toyLocal) Sink(c *Counter, _ int) (Sink, error) {
	s := &toySink{l.toy, make(chan struct{}, 64)}
	go func() {
		for range s.mail {
			c.Hit()
		}
	}()
	return s, nil
}

func (s *toySink) Send(n int) error {
	if s.toy.refuse != nil {
		return s.toy.refuse
	}
	for range n {
		s.mail <- struct{}{}
	}
	if s.toy.twice {
		s.mail <- struct{}{}
	}
	return nil
}

func (l *toyLocal) PingPong() (func(n int) error, error) {
	return func(int) error { return nil }, nil
}

func (l *toyLocal) Echo() (Caller, error) { return &toyGrain{toy: l.toy}, nil }

func (l *toyLocal) Spawn(n int, started *Latch) error {
	for range n {
		started.Done()
	}
	return nil
}

func (l *toyLocal) SpawnStop(int) error { return nil }

// toyGrain answers calls without anybody behind it.
type toyGrain struct {
	toy   *toy
	calls atomic.Int64
}

func (g *toyGrain) Call(n int, lat *Latencies) error {
	for range n {
		begun := lat.Begin()
		if err := g.toy.noGrain; err != nil {
			return err
		}
		g.calls.Add(1)
		lat.End(begun)
	}
	return nil
}

// toyServer counts the bytes of connections that begin with 's' and echoes all others.
type toyServer struct{ listener net.Listener }

func (t *toy) Server(sink *Counter, _ int) (Server, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go serveToy(conn, sink)
		}
	}()
	return &toyServer{l}, nil
}

func serveToy(conn net.Conn, sink *Counter) {
	defer conn.Close()
	buf := make([]byte, 1)
	if _, err := io.ReadFull(conn, buf); err != nil {
		return
	}
	isSink := buf[0] == 's'
	for {
		if _, err := io.ReadFull(conn, buf); err != nil {
			return
		}
		if isSink {
			sink.Hit()
		} else if _, err := conn.Write(buf); err != nil {
			return
		}
	}
}

func (s *toyServer) Address() string { return s.listener.Addr().String() }

func (s *toyServer) Meet(client string) error {
	if client != "toy" {
		return fmt.Errorf("met %q", client)
	}
	return nil
}

type toyClient struct{ address string }

func (t *toy) Client(address string) (Client, error) { return &toyClient{address}, nil }

type toyConn struct{ net.Conn }

func (c *toyClient) dial(first string) (*toyConn, error) {
	conn, err := net.Dial("tcp", c.address)
	if err != nil {
		return nil, err
	}
	_, err = io.WriteString(conn, first)
	return &toyConn{conn}, err
}

func (c *toyClient) Address() string { return "toy" }

func (c *toyClient) Sink(int) (Sink, error)        { return c.dial("s") }
func (c *toyClient) Echo(int, int) (Caller, error) { return c.dial("e") }

func (c *toyConn) Send(n int) error {
	_, err := c.Write(bytes.Repeat([]byte("x"), n))
	return err
}

func (c *toyConn) Call(n int, lat *Latencies) error {
	buf := []byte("x")
	for range n {
		begun := lat.Begin()
		if _, err := c.Write(buf); err != nil {
			return err
		}
		if _, err := io.ReadFull(c, buf); err != nil {
			return err
		}
		lat.End(begun)
	}
	return nil
}

// toyCluster keeps the grains that were asked for, so that tests can count their calls.
type toyCluster struct {
	toy    *toy
	mu     sync.Mutex
	grains map[string]*toyGrain
}

func (t *toy) Cluster(members int) (Cluster, error) {
	t.formed.Add(int64(members))
	return &toyCluster{toy: t, grains: map[string]*toyGrain{}}, nil
}

func (c *toyCluster) Grain(kind Kind, key string) (Caller, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	g := &toyGrain{toy: c.toy}
	c.grains[string(kind)+"/"+key] = g
	return g, nil
}

// toyMember is alive while its port accepts; grains of a dead member move to the first one.
type toyMember struct{ ports []int }

func (t *toy) Member(cfg MemberConfig) (Member, error) {
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", cfg.Ports[cfg.Index]))
	if err != nil {
		return nil, err
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conn.Close()
		}
	}()
	return &toyMember{cfg.Ports}, nil
}

func (m *toyMember) alive(i int) bool {
	conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", m.ports[i]))
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

func (m *toyMember) Members() int {
	n := 0
	for i := range m.ports {
		if m.alive(i) {
			n++
		}
	}
	return n
}

func (m *toyMember) Where(key string) (int, error) {
	h := fnv.New32a()
	h.Write([]byte(key))
	if owner := int(h.Sum32()) % len(m.ports); m.alive(owner) {
		return owner, nil
	}
	return 0, nil
}
