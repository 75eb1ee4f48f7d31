package remote

import (
	"context"
	"net"
)

// Transport opens and accepts byte streams. It is the seam between remoting and the network: TCP is
// the real one, Memory the one of tests. Implementations are safe for concurrent use.
type Transport interface {
	// Dial connects to address, "host:port". It returns when ctx ends at the latest.
	Dial(ctx context.Context, address string) (net.Conn, error)
	// Listen binds address, "host:port"; port 0 lets the network choose. The listener's Addr is the
	// address bound.
	Listen(ctx context.Context, address string) (net.Listener, error)
}

// inProcess is what a Transport implements whose bytes never leave the process: plaintext needs no
// permission there.
type inProcess interface{ InProcess() bool }

// TCP is the network of the machine. It uses no proxy.
func TCP() Transport { return tcp{} }

type tcp struct{}

func (tcp) Dial(ctx context.Context, address string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", address)
}

func (tcp) Listen(ctx context.Context, address string) (net.Listener, error) {
	var l net.ListenConfig
	return l.Listen(ctx, "tcp", address)
}

var _ Transport = tcp{}
