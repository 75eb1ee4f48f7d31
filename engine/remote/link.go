package remote

import (
	"context"
	"net"

	"github.com/granary-go/granary/engine/internal/connguard"
)

// link carries frames in order, both ways, until it ends. It is the seam to the wire: nothing above it
// knows how frames travel. append and flush are called by one goroutine at a time, next by one other,
// close and the rest by anybody.
type link interface {
	// append hands over one frame. It may wait while the peer does not read. The frame belongs to
	// the link until it is given back by f.done.
	append(f *outFrame) error
	// flush writes what was appended.
	flush() error
	// next waits for a frame of the peer; it is valid until the next call.
	next() ([]byte, error)
	// close ends the link once; the reason is told to the peer where the link can. nil: in order.
	// next then fails.
	close(reason error)
	// identity is what the transport proved of the peer.
	identity() identity
}

// outFrame is a frame on its way out.
type outFrame struct {
	data []byte
	cost int             // of it counted against the share of a client
	done func(*outFrame) // called once when the bytes have been written or thrown away; may be nil
}

// acceptor is a link that was accepted and has bounds until its handshake has succeeded.
type acceptor interface {
	link
	// admit lifts the bounds, for a member or a client; false: the link has ended meanwhile.
	admit(member bool) bool
	// share is what the link's connection has of b.
	share(b *connguard.Budget) *connguard.Share
	// exceeded is closed when the peer has sent more than a handshake may have.
	exceeded() <-chan struct{}
	// ended is closed when the peer is gone.
	ended() <-chan struct{}
}

// opener opens links; listener accepts them. Both are one implementation of the seam.
type (
	opener interface {
		// open connects to address; ctx bounds the opening, not the link's life.
		open(ctx context.Context, address string) (link, error)
	}
	listener interface {
		// serve accepts links until stop; each runs accept on a goroutine of its own and ends with
		// the reason that accept returns.
		serve(l net.Listener, accept func(acceptor) error) error
		// stop ends all links that are left and the accepting.
		stop()
	}
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
