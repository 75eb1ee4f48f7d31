package remote

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/peer"
)

// grpcListener accepts links that are gRPC streams. It serves the one method Receive; everything else
// is answered with "unimplemented" by gRPC, the inherited diagnostics included.
type grpcListener struct {
	cfg  Config
	gate *gate
	srv  *grpc.Server

	mu     sync.Mutex
	accept func(acceptor) error
}

func newGRPCListener(cfg Config, g *gate, failed func(address net.Addr, err error)) *grpcListener {
	s := &grpcListener{cfg: cfg, gate: g}
	l := &cfg.Limits
	creds := &serverCreds{cfg: &s.cfg, failed: failed}
	if cfg.TLS != nil {
		creds.tls = cfg.serverTLS()
	}
	s.srv = grpc.NewServer(
		grpc.Creds(creds), grpc.ForceServerCodecV2(rawCodec{}),
		grpc.MaxRecvMsgSize(l.Frame), grpc.MaxSendMsgSize(l.Frame),
		grpc.MaxConcurrentStreams(l.Streams), grpc.MaxHeaderListSize(l.HeaderList),
		grpc.ConnectionTimeout(l.Handshake),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			MaxConnectionIdle: l.Idle, Time: l.Keepalive, Timeout: l.KeepaliveTimeout,
		}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: l.KeepaliveMin, PermitWithoutStream: true}),
		grpc.StaticStreamWindowSize(windowBytes), grpc.StaticConnWindowSize(windowBytes),
		grpc.WriteBufferSize(writeBytes), grpc.SharedWriteBuffer(true), // idle connections hold none
	)
	s.srv.RegisterService(&grpc.ServiceDesc{
		ServiceName: serviceName,
		HandlerType: (*any)(nil),
		Streams: []grpc.StreamDesc{{
			StreamName: receiveName, Handler: s.receive, ServerStreams: true, ClientStreams: true,
		}},
	}, s)
	return s
}

// serve runs until stop.
func (s *grpcListener) serve(l net.Listener, accept func(acceptor) error) error {
	s.mu.Lock()
	s.accept = accept
	s.mu.Unlock()
	err := s.srv.Serve(s.gate.listen(l))
	if errors.Is(err, grpc.ErrServerStopped) {
		return nil
	}
	return err
}

// stop ends first who has not shaken hands: gRPC waits for those until their time is over.
func (s *grpcListener) stop() {
	s.gate.stop()
	s.srv.Stop()
}

// shakingPerConnection bounds the streams of one connection that have not shaken hands: each may hold
// a frame of the largest size.
const shakingPerConnection = 4

func (s *grpcListener) receive(_ any, ss grpc.ServerStream) error {
	p, _ := peer.FromContext(ss.Context())
	info, ok := p.AuthInfo.(*authInfo)
	if !ok {
		return statusOf(refuse(RefusedIdentity, "the connection has no identity"))
	}
	if info.guard.shaking.Add(1) > shakingPerConnection {
		info.guard.shaking.Add(-1)
		return statusOf(refuse(RefusedOverloaded, "more than %d handshakes at once on one connection", shakingPerConnection))
	}
	l := &grpcServerLink{ss: ss, info: info, done: make(chan struct{})}
	defer l.shaken()
	s.mu.Lock()
	accept := s.accept
	s.mu.Unlock()
	reason := accept(l)
	if errors.Is(reason, errFlooded) {
		// A status would wait behind what the peer does not read.
		_ = info.guard.Close() // its end is the aim
	}
	return statusOf(reason)
}

// serverCreds makes TLS, or checks for its absence, on the side that accepts.
type serverCreds struct {
	cfg    *Config
	tls    *tls.Config
	failed func(address net.Addr, err error)
}

// ServerHandshake secures a new connection.
func (c *serverCreds) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	guard, ok := raw.(*guardConn)
	if !ok {
		return nil, nil, errors.New("remote: a connection that did not pass the gate")
	}
	conn, id, err := c.cfg.secureServer(guard, c.tls)
	if err != nil {
		c.failed(raw.RemoteAddr(), err)
		_ = raw.Close() // the reason is err
		return nil, nil, err
	}
	return conn, &authInfo{guard: guard, id: id}, nil
}

// ClientHandshake is not for this side.
func (c *serverCreds) ClientHandshake(context.Context, string, net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("remote: credentials of the accepting side")
}

// Info names the protocol.
func (c *serverCreds) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "granary"}
}

// Clone is the same credentials: they have no state of their own.
func (c *serverCreds) Clone() credentials.TransportCredentials { return c }

// OverrideServerName is not for this side.
func (c *serverCreds) OverrideServerName(string) error { return errors.ErrUnsupported }

// grpcServerLink is the link of the side that was dialled.
type grpcServerLink struct {
	ss   grpc.ServerStream
	info *authInfo
	in   inFrame
	one  sync.Once // of shaken
	once sync.Once
	done chan struct{} // closed by close
}

func (l *grpcServerLink) append(f *outFrame) error { return l.ss.SendMsg(f) }
func (l *grpcServerLink) flush() error             { return nil } // gRPC flushes when it has nothing more to write

func (l *grpcServerLink) next() ([]byte, error) {
	if err := l.ss.RecvMsg(&l.in); err != nil {
		l.in.release()
		return nil, err
	}
	return l.in.bytes, nil
}

// close only wakes who waits for the end; the stream ends when its handler returns.
func (l *grpcServerLink) close(error) { l.once.Do(func() { close(l.done) }) }

func (l *grpcServerLink) identity() identity { return l.info.id }

func (l *grpcServerLink) admit() bool {
	l.shaken()
	return l.info.guard.admit()
}

func (l *grpcServerLink) shaken()                   { l.one.Do(func() { l.info.guard.shaking.Add(-1) }) }
func (l *grpcServerLink) exceeded() <-chan struct{} { return l.info.guard.tripped }
func (l *grpcServerLink) ended() <-chan struct{}    { return l.ss.Context().Done() }

var (
	_ listener                         = (*grpcListener)(nil)
	_ acceptor                         = (*grpcServerLink)(nil)
	_ opener                           = (*grpcOpener)(nil)
	_ credentials.TransportCredentials = (*serverCreds)(nil)
)
