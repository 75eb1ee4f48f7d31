package remote

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/internal/connguard"
)

const (
	serviceName  = "remote.Remoting"
	receiveName  = "Receive"
	receivePath  = "/" + serviceName + "/" + receiveName
	windowBytes  = 1 << 20 // fixed, so that gRPC sends no pings of its own to measure the link
	writeBytes   = 64 << 10
	readBytes    = 64 << 10
	keepReadable = 256 << 10 // a larger buffer of a reader is given back to the collector
)

// rawCodec passes frames through as they are: they are encoded and decoded once, by this package. Its
// name is protobuf's, since that is what the bytes are.
type rawCodec struct{}

// Marshal lends the frame's buffer to gRPC.
func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	f, ok := v.(*outFrame)
	if !ok {
		return nil, fmt.Errorf("remote: encode %T: not a frame", v)
	}
	if f.done == nil {
		return mem.BufferSlice{mem.SliceBuffer(f.data)}, nil
	}
	return mem.BufferSlice{mem.NewBuffer(&f.data, (*grpcFrame)(f))}, nil
}

// Unmarshal takes a reference on the bytes, or copies them together where they came in pieces.
func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	in, ok := v.(*inFrame)
	if !ok {
		return fmt.Errorf("remote: decode into %T: not a frame", v)
	}
	in.take(data)
	return nil
}

// Name is that of protobuf's codec.
func (rawCodec) Name() string { return "proto" }

// grpcFrame is an outFrame as the pool that its buffer returns to.
type grpcFrame outFrame

// Get is not used: gRPC only gives back.
func (f *grpcFrame) Get(n int) *[]byte { b := make([]byte, n); return &b }

// Put says that gRPC is done with the frame.
func (f *grpcFrame) Put(*[]byte) { f.done((*outFrame)(f)) }

// inFrame is the frame that was read last.
type inFrame struct {
	bytes []byte
	held  mem.Buffer
	own   []byte
}

func (in *inFrame) take(data mem.BufferSlice) {
	in.release()
	if len(data) == 1 {
		data[0].Ref()
		in.held = data[0]
		in.bytes = in.held.ReadOnlyData()
		return
	}
	n := data.Len()
	if cap(in.own) < n {
		in.own = make([]byte, n, max(n, 4<<10))
	}
	in.own = in.own[:n]
	data.CopyTo(in.own)
	in.bytes = in.own
}

// release lets go of the frame that was read last; a large buffer is not kept for the next.
func (in *inFrame) release() {
	if in.held != nil {
		in.held.Free()
		in.held = nil
	}
	if cap(in.own) > keepReadable {
		in.own = nil
	}
	in.bytes = nil
}

// grpcOpener dials links that are one bidirectional gRPC stream each, on a connection of its own.
type grpcOpener struct {
	cfg  Config
	root context.Context // of all streams
}

// open connects. gRPC turns errors into text; where the cause is known it is returned instead.
func (o *grpcOpener) open(ctx context.Context, address string) (link, error) {
	rec := &dialRecord{}
	cc, err := grpc.NewClient("passthrough:///"+address, o.options(rec, address)...)
	if err != nil {
		return nil, fmt.Errorf("remote: dial %s: %w: %w", address, core.ErrInvalid, err)
	}
	sctx, cancel := context.WithCancel(o.root)
	bound := context.AfterFunc(ctx, cancel)
	desc := &grpc.StreamDesc{StreamName: receiveName, ServerStreams: true, ClientStreams: true}
	stream, err := cc.NewStream(sctx, desc, receivePath)
	if err != nil || !bound() {
		cancel()
		_ = cc.Close() // nothing was sent on it
		return nil, rec.explain(address, err, context.Cause(ctx))
	}
	return &grpcLink{stream: stream, cc: cc, cancel: cancel, address: address, rec: rec}, nil
}

func (o *grpcOpener) options(rec *dialRecord, address string) []grpc.DialOption {
	l := &o.cfg.Limits
	return []grpc.DialOption{
		grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
			conn, err := o.cfg.Transport.Dial(ctx, addr)
			rec.note(err)
			return conn, err
		}),
		grpc.WithTransportCredentials(&clientCreds{cfg: &o.cfg, rec: rec, address: address}),
		grpc.WithNoProxy(), grpc.WithDisableRetry(), grpc.WithDisableServiceConfig(), grpc.WithDisableHealthCheck(),
		grpc.WithIdleTimeout(0),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.DefaultConfig, MinConnectTimeout: l.Handshake}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{
			Time: l.Keepalive, Timeout: l.KeepaliveTimeout, PermitWithoutStream: true,
		}),
		grpc.WithStaticStreamWindowSize(windowBytes), grpc.WithStaticConnWindowSize(windowBytes),
		grpc.WithWriteBufferSize(writeBytes), grpc.WithReadBufferSize(readBytes),
		grpc.WithMaxHeaderListSize(l.HeaderList),
		grpc.WithDefaultCallOptions(
			grpc.ForceCodecV2(rawCodec{}), grpc.MaxCallRecvMsgSize(l.Frame), grpc.MaxCallSendMsgSize(l.Frame)),
	}
}

// dialRecord keeps what gRPC does not hand on: the cause of a failed dial, which its own error has as
// text only, and who the peer is.
type dialRecord struct {
	mu  sync.Mutex
	err error
	id  identity // of the peer, as TLS proved it
}

func (r *dialRecord) proved(id identity) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.id = id
}

func (r *dialRecord) note(err error) {
	if err == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = err
}

// explain is the best error there is for what happened to address.
func (r *dialRecord) explain(address string, errs ...error) error {
	r.mu.Lock()
	cause := r.err
	r.mu.Unlock()
	if cause == nil {
		cause = errors.Join(errs...)
	}
	if errors.Is(cause, core.ErrUnreachable) {
		return fmt.Errorf("remote: link to %s: %w", address, cause)
	}
	return fmt.Errorf("remote: link to %s: %w: %w", address, core.ErrUnreachable, cause)
}

// clientCreds makes TLS, or watches plaintext, on the side that dials.
type clientCreds struct {
	cfg     *Config
	rec     *dialRecord
	address string
}

// ClientHandshake secures a new connection.
func (c *clientCreds) ClientHandshake(ctx context.Context, _ string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, err := c.cfg.secureClient(ctx, raw, c.address, c.rec.note)
	if err != nil {
		c.rec.note(err)
		return nil, nil, err
	}
	if secure, ok := conn.(*tls.Conn); ok {
		id, err := certificateIdentity(secure.ConnectionState().PeerCertificates[0], c.cfg.Cluster) // was checked
		if err != nil {
			return nil, nil, err
		}
		c.rec.proved(id)
	}
	return conn, &authInfo{}, nil
}

// ServerHandshake is not for this side.
func (c *clientCreds) ServerHandshake(net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("remote: credentials of the dialling side")
}

// Info names the protocol.
func (c *clientCreds) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "granary"}
}

// Clone is the same credentials: they have no state of their own.
func (c *clientCreds) Clone() credentials.TransportCredentials { return c }

// OverrideServerName is not supported; the name comes from the TLS configuration.
func (c *clientCreds) OverrideServerName(string) error { return errors.ErrUnsupported }

// authInfo is what a stream knows of its connection.
type authInfo struct {
	credentials.CommonAuthInfo
	guard *connguard.Conn
	id    identity
}

// AuthType names the protocol.
func (*authInfo) AuthType() string { return "granary" }

// grpcLink is the link of the side that dialled.
type grpcLink struct {
	stream  grpc.ClientStream
	cc      *grpc.ClientConn
	cancel  context.CancelFunc
	address string
	rec     *dialRecord
	in      inFrame
	once    sync.Once
}

func (l *grpcLink) append(f *outFrame) error {
	if err := l.stream.SendMsg(f); err != nil {
		return l.rec.explain(l.address, err)
	}
	return nil
}

func (l *grpcLink) flush() error { return nil } // gRPC flushes when it has nothing more to write

func (l *grpcLink) next() ([]byte, error) {
	l.in.release() // the next frame may be long in coming
	if err := l.stream.RecvMsg(&l.in); err != nil {
		l.in.release()
		return nil, l.rec.explain(l.address, err)
	}
	return l.in.bytes, nil
}

func (l *grpcLink) close(error) {
	l.once.Do(func() {
		l.cancel()
		_ = l.cc.Close() // it can only say that it is closed already
	})
}

func (l *grpcLink) identity() identity {
	l.rec.mu.Lock()
	defer l.rec.mu.Unlock()
	id := l.rec.id
	id.address = l.address
	return id
}

var (
	_ link                             = (*grpcLink)(nil)
	_ credentials.TransportCredentials = (*clientCreds)(nil)
)

// statusOf is the gRPC form of the reason for which an accepted link ends. It is never OK: a
// Proto.Actor node takes OK for a completed stream and loses all it sends later.
func statusOf(reason error) error {
	code := codes.Unavailable
	text := "the member ends the link"
	if reason != nil {
		text = reason.Error()
	}
	if r, ok := errors.AsType[*refusal](reason); ok {
		code = refusalCode(r.reason)
	} else if _, ok := errors.AsType[*protocolError](reason); ok {
		code = codes.InvalidArgument
	}
	return status.Error(code, text)
}

func refusalCode(r Refusal) codes.Code {
	switch r {
	case RefusedCluster, RefusedMember, RefusedProtocol:
		return codes.FailedPrecondition
	case RefusedBlocked, RefusedIdentity:
		return codes.PermissionDenied
	case RefusedEpoch:
		return codes.Aborted
	case RefusedOverloaded:
		return codes.ResourceExhausted
	case RefusedInvalid:
		return codes.InvalidArgument
	}
	return codes.Unavailable
}

// stopGrace is how long a server waits for the streams that were told to end.
const stopGrace = time.Second

// grpcListener accepts links that are gRPC streams. It serves the one method Receive; everything else
// is answered with "unimplemented" by gRPC, the inherited diagnostics included.
type grpcListener struct {
	cfg  Config
	gate *connguard.Gate
	srv  *grpc.Server

	mu     sync.Mutex
	accept func(acceptor) error
}

func newGRPCListener(cfg Config, g *connguard.Gate, failed func(address net.Addr, err error)) *grpcListener {
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
	err := s.srv.Serve(s.gate.Listen(l))
	if errors.Is(err, grpc.ErrServerStopped) {
		return nil
	}
	return err
}

// stop ends first who has not shaken hands: gRPC waits for those until their time is over.
func (s *grpcListener) stop() {
	s.gate.Stop()
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
	if !info.guard.Begin(shakingPerConnection) {
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
	guard, ok := raw.(*connguard.Conn)
	if !ok {
		return nil, nil, errors.New("remote: a connection that did not pass the gate")
	}
	conn, id, err := c.cfg.secureServer(guard, c.tls)
	if err != nil {
		c.failed(raw.RemoteAddr(), err)
		_ = raw.Close() // the reason is err
		return nil, nil, err
	}
	return guard.Follow(conn), &authInfo{guard: guard, id: id}, nil
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
	l.in.release() // the next frame may be long in coming
	if err := l.ss.RecvMsg(&l.in); err != nil {
		l.in.release()
		if reason := l.info.guard.Reason(); !errors.Is(reason, net.ErrClosed) {
			err = reason
		}
		return nil, err
	}
	return l.in.bytes, nil
}

// close only wakes who waits for the end; the stream ends when its handler returns.
func (l *grpcServerLink) close(error) { l.once.Do(func() { close(l.done) }) }

func (l *grpcServerLink) identity() identity { return l.info.id }

func (l *grpcServerLink) admit(member bool) bool {
	l.shaken()
	return l.info.guard.Admit(member)
}

func (l *grpcServerLink) share(b *connguard.Budget) *connguard.Share { return l.info.guard.Share(b) }

func (l *grpcServerLink) shaken()                   { l.one.Do(func() { l.info.guard.End() }) }
func (l *grpcServerLink) exceeded() <-chan struct{} { return l.info.guard.Exceeded() }
func (l *grpcServerLink) ended() <-chan struct{}    { return l.ss.Context().Done() }

var (
	_ listener                         = (*grpcListener)(nil)
	_ acceptor                         = (*grpcServerLink)(nil)
	_ opener                           = (*grpcOpener)(nil)
	_ credentials.TransportCredentials = (*serverCreds)(nil)
)
