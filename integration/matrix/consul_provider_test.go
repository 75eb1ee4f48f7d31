package matrix

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"maps"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/providertest"
	"github.com/granary-go/granary/integration/servers"
	"github.com/granary-go/granary/integration/serverstest"
	"github.com/granary-go/granary/providers/consul"
)

// recordMember is a provider of mode Record whose way to its agent may be cut.
type recordMember struct {
	core.Provider
	core.ViewStore
	core.MemberLeases
	core.Refresher
	cut func()
}

// catalogMember is one of mode Catalog.
type catalogMember struct {
	core.Provider
	cut func()
}

// newConsul makes a provider of its own for cfg.
func newConsul(t testing.TB, cfg consul.Config) core.Provider {
	t.Helper()
	p, err := consul.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// consulHarness has every check have a cluster of its own on one server. Each member speaks through a wire of its
// own, which a crash cuts.
func consulHarness(addr string, cfg consul.Config) providertest.Harness {
	var clusters atomic.Int64
	return providertest.Harness{
		New: func(t testing.TB) providertest.World {
			cfg := cfg
			cfg.Name = fmt.Sprint("c", clusters.Add(1))
			return providertest.World{
				Provider: func() core.Provider {
					w := newWire(t, addr)
					cfg := cfg
					cfg.Address = w.addr
					p := newConsul(t, cfg)
					if cfg.Mode == consul.Catalog {
						return catalogMember{p, w.cut}
					}
					return recordMember{p, p.(core.ViewStore), p.(core.MemberLeases), p.(core.Refresher), w.cut}
				},
				Crash: func(p core.Provider) {
					switch p := p.(type) {
					case recordMember:
						p.cut()
					case catalogMember:
						p.cut()
					}
				},
			}
		},
		Settle: 30 * time.Second,
		Silent: 40 * time.Second,
	}
}

func TestConsulProvider(t *testing.T) {
	t.Parallel()
	server := serverstest.Consul(t, servers.ConsulConfig{SessionTTL: time.Second})
	t.Run("record", func(t *testing.T) {
		t.Parallel()
		providertest.Run(t, consulHarness(server.Addr, consul.Config{TTL: 3 * time.Second}))
	})
	t.Run("catalog", func(t *testing.T) {
		t.Parallel()
		providertest.Run(t, consulHarness(server.Addr, consul.Config{Mode: consul.Catalog, TTL: 10 * time.Second}))
	})
}

// wire carries connections to a server until it is cut. It can be slow.
type wire struct {
	addr string
	to   string

	mu    sync.Mutex // guards what follows
	conns map[net.Conn]bool
	off   bool
	delay time.Duration     // of each piece, both ways
	still map[net.Conn]bool // these carry nothing any more, and do not end
}

// newWire listens on a port of loopback until the test ends.
func newWire(t testing.TB, to string) *wire {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{addr: l.Addr().String(), to: to, conns: map[net.Conn]bool{}}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { w.carry(conn) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close() // ends the loop
		w.cut()
		all.Wait()
	})
	return w
}

// keep notes a connection, or closes it where the wire is cut.
func (w *wire) keep(conn net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.off {
		_ = conn.Close() // nobody hears of it
		return false
	}
	w.conns[conn] = true
	return true
}

func (w *wire) drop(conn net.Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.conns, conn)
	_ = conn.Close() // the same
}

func (w *wire) carry(in net.Conn) {
	if !w.keep(in) {
		return
	}
	defer w.drop(in)
	out, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", w.to) // as long as the test
	if err != nil || !w.keep(out) {
		return
	}
	defer w.drop(out)
	over := make(chan struct{}, 2)
	go func() { w.pump(out, in); over <- struct{}{} }()
	go func() { w.pump(in, out); over <- struct{}{} }()
	<-over
	_, _ = in.Close(), out.Close() // so that the other ends too
	<-over
}

func (w *wire) pump(to, from net.Conn) {
	piece := make([]byte, 32<<10)
	for {
		n, err := from.Read(piece)
		w.mu.Lock()
		delay, still := w.delay, w.still[from] || w.still[to]
		w.mu.Unlock()
		time.Sleep(delay)
		if n > 0 && !still {
			if _, err := to.Write(piece[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// cut ends all connections, now and from now on.
func (w *wire) cut() { w.set(true, 0) }

// mend lets connections through again.
func (w *wire) mend() { w.set(false, 0) }

// stall has the connections of now carry nothing any more, without an end; new ones are whole.
func (w *wire) stall() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.still = maps.Clone(w.conns)
}

func (w *wire) set(off bool, delay time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.off, w.delay = off, delay
	for conn := range w.conns {
		if off {
			_ = conn.Close() // its pumps end
		}
	}
}

// closedPort is an address of loopback where nobody listens.
func closedPort(t testing.TB) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// clientTLS is what a client of a server with TLS needs.
func clientTLS(t testing.TB, server *servers.Consul) *tls.Config {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(server.Cert, server.Key)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(server.CA)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		t.Fatal("no certificate in ", server.CA)
	}
	return &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
}
