package remote

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/protos/actorpb"
	"github.com/granary-go/granary/protos/remotepb"
)

// bytesCodec sends and receives frames as they are.
type bytesCodec struct{}

func (bytesCodec) Marshal(v any) ([]byte, error)      { return *v.(*[]byte), nil }
func (bytesCodec) Unmarshal(data []byte, v any) error { *v.(*[]byte) = bytes.Clone(data); return nil }
func (bytesCodec) Name() string                       { return "proto" }

// rawStream is a link made by hand.
type rawStream struct {
	t      testing.TB
	stream grpc.ClientStream
}

// rawConn is a gRPC connection to a node; tlsConfig nil: plaintext.
func rawConn(t testing.TB, addr string, tlsConfig *tls.Config) *grpc.ClientConn {
	t.Helper()
	creds := insecure.NewCredentials()
	if tlsConfig != nil {
		creds = credentials.NewTLS(tlsConfig)
	}
	cc, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(creds), grpc.WithNoProxy())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cc.Close() })
	return cc
}

func openRaw(t testing.TB, cc *grpc.ClientConn) *rawStream {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	s, err := cc.NewStream(ctx, &grpc.StreamDesc{StreamName: "Receive", ServerStreams: true, ClientStreams: true},
		"/remote.Remoting/Receive", grpc.ForceCodec(bytesCodec{}), grpc.MaxCallSendMsgSize(64<<20), grpc.MaxCallRecvMsgSize(64<<20))
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	return &rawStream{t, s}
}

// send ignores the error: that of recv says more.
func (s *rawStream) send(frame []byte) { _ = s.stream.SendMsg(&frame) }

func (s *rawStream) recv() ([]byte, error) {
	var b []byte
	err := s.stream.RecvMsg(&b)
	return b, err
}

// hello shakes hands and returns the answer.
func (s *rawStream) hello(h hello) (*remotepb.ConnectResponse, error) {
	s.t.Helper()
	frame, err := h.frame()
	if err != nil {
		s.t.Fatal(err)
	}
	s.send(frame)
	b, err := s.recv()
	if err != nil {
		return nil, err
	}
	var m remotepb.RemoteMessage
	if err := proto.Unmarshal(b, &m); err != nil {
		s.t.Fatal(err)
	}
	return m.GetConnectResponse(), nil
}

// end waits for the end of the stream and returns its status; answers are skipped.
func (s *rawStream) end() codes.Code {
	for {
		_, err := s.recv()
		if err == nil {
			continue
		}
		if errors.Is(err, io.EOF) {
			return codes.OK
		}
		return status.Code(err)
	}
}

// answer waits for the answer of ask id: the type and the data.
func (s *rawStream) answer(id uint64) (string, []byte, error) {
	for {
		b, err := s.recv()
		if err != nil {
			return "", nil, err
		}
		var m remotepb.RemoteMessage
		if err := proto.Unmarshal(b, &m); err != nil {
			return "", nil, err
		}
		for _, e := range m.GetMessageBatch().GetEnvelopes() {
			if e.GetReplyTo() == id {
				return m.GetMessageBatch().GetTypeNames()[e.GetTypeId()], e.GetMessageData(), nil
			}
		}
	}
}

// target is a node under attack: others call it all the while, and must not notice.
type target struct {
	*node
	t      testing.TB
	cc     *grpc.ClientConn
	epochs atomic.Uint64
	raw    core.Member // the member that the attacker claims to be
}

// attacked starts a node, a peer that calls it until the test ends, and a row in the view for the
// attacker.
func attacked(t *testing.T, edit func(*Config)) *target {
	t.Helper()
	n := startNode(t, "target", edit)
	peer := startNode(t, "peer", nil)
	raw := core.Member{ID: "raw", Address: "127.0.0.1:9", Status: core.Up}
	top := topology(t, nil, n.member(), peer.member(), raw)
	n.r.SetMembers(top)
	peer.r.SetMembers(topology(t, nil, n.member(), peer.member()))
	n.echo("echo")
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan struct{})
	var calls atomic.Int64
	go func() {
		defer close(done)
		to := peer.at(n, "echo")
		for ctx.Err() == nil {
			if _, err := peer.sys.Ask(ctx, to, str("x")); err != nil && ctx.Err() == nil {
				t.Errorf("a call of another peer failed: %v", err)
				return
			}
			calls.Add(1)
		}
	}()
	eventually(t, "calls flow", func() bool { return calls.Load() > 10 })
	before := heap()
	t.Cleanup(func() {
		now := calls.Load()
		eventually(t, "calls flow at the end", func() bool { return calls.Load() > now+10 })
		cancel()
		<-done
		if after := heap(); after > before && after-before > 32<<20 {
			t.Errorf("the heap grew by %d MiB", (after-before)>>20)
		}
	})
	return &target{node: n, t: t, cc: rawConn(t, n.addr, nil), raw: raw}
}

// hello is a right one; edit makes it wrong.
func (x *target) helloWith(edit func(*hello)) hello {
	h := hello{member: x.raw.ID, address: x.raw.Address, cluster: "test", protocol: Protocol(), epoch: x.epochs.Add(1), target: x.id}
	if edit != nil {
		edit(&h)
	}
	return h
}

// link is a stream that has shaken hands.
func (x *target) link() *rawStream {
	x.t.Helper()
	s := openRaw(x.t, x.cc)
	r, err := s.hello(x.helloWith(nil))
	if err != nil || r == nil || r.GetRefusal() != nil {
		x.t.Fatalf("handshake: %v, %v", r, err)
	}
	return s
}

// batch is a frame with one ask of a text to a process of the node; edit makes it wrong.
func (x *target) batch(id string, request uint64, edit func(*remotepb.MessageBatch)) []byte {
	data, err := proto.Marshal(str("x"))
	if err != nil {
		x.t.Fatal(err)
	}
	b := &remotepb.MessageBatch{
		TypeNames: []string{"google.protobuf.StringValue"},
		Targets:   []*actorpb.PID{{Address: x.addr, Id: id, Member: string(x.id)}},
		Senders:   []*actorpb.PID{{Address: x.raw.Address, Id: "me"}},
		Envelopes: []*remotepb.MessageEnvelope{{MessageData: data, RequestId: request}},
	}
	if edit != nil {
		edit(b)
	}
	return rawBatch(b)
}

// alive checks that a link still answers.
func (x *target) alive(s *rawStream) {
	x.t.Helper()
	s.send(x.batch("echo", 77, nil))
	if typ, _, err := s.answer(77); err != nil || typ != "google.protobuf.StringValue" {
		x.t.Errorf("the link does not answer: %s, %v", typ, err)
	}
}

// wantRefused reads the answer of ask id and expects an error of this kind.
func (x *target) wantRefused(s *rawStream, id uint64, is error) {
	x.t.Helper()
	typ, data, err := s.answer(id)
	if err != nil {
		x.t.Errorf("the link ended with %v, want an answer that says %v", err, is)
		return
	}
	got, ok := coreErrors{}.DecodeError(typ, data)
	if !ok || !errors.Is(got, is) || core.DeliveryOf(got) != core.Undelivered {
		x.t.Errorf("answer %s %v, %v; want %v, undelivered", typ, got, core.DeliveryOf(got), is)
	}
}

// h2 is an HTTP/2 connection made by hand.
type h2 struct {
	t    testing.TB
	conn net.Conn
	fr   *http2.Framer
	enc  *hpack.Encoder
	buf  bytes.Buffer
	next uint32
	mute bool // somebody else writes
}

func dialH2(t testing.TB, addr string) *h2 {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	c := &h2{t: t, conn: conn, next: 1}
	c.enc = hpack.NewEncoder(&c.buf)
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	c.fr = http2.NewFramer(conn, conn)
	c.fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	if err := c.fr.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	return c
}

// headers encodes the headers of a gRPC request.
func (c *h2) headers(path string, more ...string) []byte {
	c.buf.Reset()
	fields := append([]string{":method", "POST", ":scheme", "http", ":path", path, ":authority", "x",
		"content-type", "application/grpc+proto", "te", "trailers"}, more...)
	for i := 0; i < len(fields); i += 2 {
		_ = c.enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	return c.buf.Bytes()
}

// open begins a stream.
func (c *h2) open(path string, more ...string) (id uint32, err error) {
	id = c.next
	c.next += 2
	err = c.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: c.headers(path, more...), EndHeaders: true})
	return id, err
}

// outcome reads until stream id, or the connection, ends, and tells how: the gRPC status, the HTTP
// status, or the end of the connection.
func (c *h2) outcome(id uint32) string {
	_ = c.conn.SetReadDeadline(time.Now().Add(time.Minute))
	http := ""
	for {
		f, err := c.fr.ReadFrame()
		if err != nil {
			if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
				return "timeout"
			}
			return "closed"
		}
		switch f := f.(type) {
		case *http2.MetaHeadersFrame:
			if f.StreamID != id {
				continue
			}
			for _, h := range f.Fields {
				switch h.Name {
				case "grpc-status":
					return "grpc " + h.Value
				case ":status":
					http = h.Value
				}
			}
			if f.StreamEnded() {
				return "http " + http
			}
		case *http2.RSTStreamFrame:
			if f.StreamID == id {
				return "reset"
			}
		case *http2.GoAwayFrame:
			return fmt.Sprintf("goaway %v", f.ErrCode)
		case *http2.SettingsFrame:
			if !f.IsAck() && !c.mute {
				_ = c.fr.WriteSettingsAck()
			}
		}
	}
}

// grpcFrameBytes is a gRPC message: its flag, length and body.
func grpcFrameBytes(flag byte, body []byte) []byte {
	n := len(body)
	return append([]byte{flag, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}, body...)
}
