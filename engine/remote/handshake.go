package remote

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/simbug"
	"github.com/granary-go/granary/protos/granarypb"
	"github.com/granary-go/granary/protos/remotepb"
)

// Protocol is the range of wire versions that this package speaks; members announce it.
func Protocol() core.Protocol { return core.Protocol{Min: 1, Max: 1} }

// maxHello is the largest handshake message: names of their greatest lengths and room to grow.
const maxHello = 8 << 10

// hello is what the side that dials says of itself.
type hello struct {
	member   core.MemberID
	address  string // where it listens; empty: a client
	client   bool
	cluster  string
	protocol core.Protocol
	epoch    uint64
	target   core.MemberID // who it means to reach
}

// frame is the hello as a ConnectRequest.
func (h hello) frame() ([]byte, error) {
	request := &remotepb.ConnectRequest{}
	if h.client {
		request.ConnectionType = &remotepb.ConnectRequest_ClientConnection{ClientConnection: &remotepb.ClientConnection{
			SystemId: string(h.member), Cluster: h.cluster, ConnectionEpoch: h.epoch, TargetMember: string(h.target),
			ProtocolMin: uint32(h.protocol.Min), ProtocolMax: uint32(h.protocol.Max),
		}}
	} else {
		request.ConnectionType = &remotepb.ConnectRequest_ServerConnection{ServerConnection: &remotepb.ServerConnection{
			SystemId: string(h.member), Address: h.address, Cluster: h.cluster, ConnectionEpoch: h.epoch, TargetMember: string(h.target),
			ProtocolMin: uint32(h.protocol.Min), ProtocolMax: uint32(h.protocol.Max),
		}}
	}
	return proto.Marshal(&remotepb.RemoteMessage{MessageType: &remotepb.RemoteMessage_ConnectRequest{ConnectRequest: request}})
}

// parseHello reads the first frame of the side that dialled.
func parseHello(frame []byte) (hello, *refusal) {
	tag, body, err := frameBody(frame)
	switch {
	case err != nil:
		return hello{}, refuse(RefusedInvalid, "the first frame: %v", err)
	case tag != tagConnect:
		return hello{}, refuse(RefusedInvalid, "the first frame is no ConnectRequest")
	case len(body) > maxHello:
		return hello{}, refuse(RefusedInvalid, "a ConnectRequest of %d bytes, at most %d are allowed", len(body), maxHello)
	}
	var m remotepb.ConnectRequest
	if err := unmarshal(body, &m); err != nil {
		return hello{}, refuse(RefusedInvalid, "the ConnectRequest is not well formed")
	}
	var h hello
	var low, high uint32
	switch c := m.GetConnectionType().(type) {
	case *remotepb.ConnectRequest_ClientConnection:
		v := c.ClientConnection
		h = hello{member: core.MemberID(v.GetSystemId()), client: true, cluster: v.GetCluster(),
			epoch: v.GetConnectionEpoch(), target: core.MemberID(v.GetTargetMember())}
		low, high = v.GetProtocolMin(), v.GetProtocolMax()
	case *remotepb.ConnectRequest_ServerConnection:
		v := c.ServerConnection
		h = hello{member: core.MemberID(v.GetSystemId()), address: v.GetAddress(), cluster: v.GetCluster(),
			epoch: v.GetConnectionEpoch(), target: core.MemberID(v.GetTargetMember())}
		low, high = v.GetProtocolMin(), v.GetProtocolMax()
	default:
		return hello{}, refuse(RefusedInvalid, "the ConnectRequest says neither member nor client")
	}
	h.protocol = core.Protocol{Min: uint16(min(low, 1<<16-1)), Max: uint16(min(high, 1<<16-1))}
	return h, h.check()
}

func (h hello) check() *refusal {
	if err := checkName(string(h.member), maxMemberID); err != nil {
		return refuse(RefusedInvalid, "its member ID: %v", err)
	}
	if len(h.cluster) > MaxCluster {
		return refuse(RefusedInvalid, "a cluster's name of %d bytes, at most %d are allowed", len(h.cluster), MaxCluster)
	}
	if h.client {
		return nil
	}
	if err := checkName(h.address, maxAddress); err != nil {
		return refuse(RefusedInvalid, "its address: %v", err)
	}
	return nil
}

// maxAddress is the longest address: a DNS name, a colon and a port, and brackets.
const maxAddress = 261

// fits checks a hello against the side that was dialled, as far as no view is needed.
func (h hello) fits(c *Config, id identity) *refusal {
	own := Protocol()
	switch {
	case h.cluster != c.Cluster:
		return refuse(RefusedCluster, "this is cluster %q, the connection is of cluster %q", c.Cluster, h.cluster)
	case h.target != c.Member:
		return refuse(RefusedMember, "this is member %q, the connection is for %q", c.Member, h.target)
	case h.member == c.Member:
		return refuse(RefusedIdentity, "the connection claims to be this member")
	case h.protocol.Max < own.Min || h.protocol.Min > own.Max:
		return refuse(RefusedProtocol, "this member speaks protocol %d to %d, the connection %d to %d",
			own.Min, own.Max, h.protocol.Min, h.protocol.Max)
	}
	return id.claim(h.member, h.client)
}

// response is the answer to a hello as a frame; r is nil where it is accepted.
func (c *Config) response(h hello, r *refusal) ([]byte, error) {
	own := Protocol()
	m := &remotepb.ConnectResponse{
		MemberId: string(c.Member), Cluster: c.Cluster, ConnectionEpoch: h.epoch,
		ProtocolMin: uint32(own.Min), ProtocolMax: uint32(own.Max),
	}
	if r != nil {
		m.Blocked = r.reason == RefusedBlocked
		m.Refusal = &granarypb.Refusal{Code: granarypb.RefusalCode(r.reason), Text: r.text}
	}
	return proto.Marshal(&remotepb.RemoteMessage{MessageType: &remotepb.RemoteMessage_ConnectResponse{ConnectResponse: m}})
}

// parseResponse reads the answer of the side that was dialled and checks it against h.
func parseResponse(frame []byte, h hello, address string) error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("remote: handshake with %s: %s: %w", address, fmt.Sprintf(format, args...), core.ErrUnreachable)
	}
	tag, body, err := frameBody(frame)
	if err != nil || tag != tagResponse || len(body) > maxHello {
		return bad("the first frame is no ConnectResponse")
	}
	var m remotepb.ConnectResponse
	if err := unmarshal(body, &m); err != nil {
		return bad("the ConnectResponse is not well formed")
	}
	if r := m.GetRefusal(); r != nil || m.GetBlocked() {
		reason := Refusal(min(max(r.GetCode(), 0), 255))
		if m.GetBlocked() {
			reason = RefusedBlocked
		}
		return &RefusedError{Address: address, Reason: reason, Text: r.GetText()}
	}
	own := Protocol()
	switch {
	case m.GetMemberId() != string(h.target):
		return &RefusedError{Address: address, Reason: RefusedMember, Text: fmt.Sprintf("member %q answers, %q was meant", m.GetMemberId(), h.target)}
	case m.GetCluster() != h.cluster:
		return &RefusedError{Address: address, Reason: RefusedCluster, Text: fmt.Sprintf("cluster %q answers", m.GetCluster())}
	case m.GetProtocolMax() < uint32(own.Min) || m.GetProtocolMin() > uint32(own.Max):
		return &RefusedError{Address: address, Reason: RefusedProtocol, Text: fmt.Sprintf("the peer speaks %d to %d", m.GetProtocolMin(), m.GetProtocolMax())}
	case m.GetConnectionEpoch() != h.epoch:
		return bad("it answers connection %d, this is %d", m.GetConnectionEpoch(), h.epoch)
	}
	return nil
}

// accept is the life of one link that a peer opened: handshake, registration, traffic. What it returns
// is the reason of the end, which the peer is told.
func (r *Remote) accept(l acceptor) error {
	c, err := r.welcome(l)
	if err != nil {
		r.turnedAway(l.identity().address, err)
		return err
	}
	if c.attach(l) {
		r.group.Go("remote: read", func() { c.read(l) })
	}
	r.accepted(c)
	<-c.done
	r.departed(c)
	return c.reason
}

// welcome shakes hands. On an error the peer has been told why, where it said anything at all.
func (r *Remote) welcome(l acceptor) (*conn, error) {
	late := make(chan struct{})
	stop := r.clock.AfterFunc(r.limits.Handshake, func() { close(late) })
	defer stop()
	h, refused := r.readHello(l, late)
	if refused == nil {
		refused = h.fits(&r.cfg, l.identity())
	}
	var c *conn
	if refused == nil {
		c, refused = r.admit(h, l, late)
	}
	frame, err := r.cfg.response(h, refused)
	if err != nil {
		return nil, fmt.Errorf("remote: handshake: %w", err)
	}
	err = errors.Join(l.append(&outFrame{data: frame}), l.flush())
	switch {
	case refused != nil:
		return nil, refused
	case err != nil || !l.admit(!h.client):
		c.end(unreachable(errors.Join(errDisconnected, err)))
		r.departed(c)
		return nil, c.reason
	}
	return c, nil
}

// readHello reads the first frame, no longer than the handshake may last.
func (r *Remote) readHello(l acceptor, late <-chan struct{}) (hello, *refusal) {
	type first struct {
		h       hello
		refused *refusal
	}
	read := make(chan first, 1)
	r.group.Go("remote: handshake", func() {
		frame, err := l.next()
		if err != nil {
			read <- first{refused: refuse(RefusedInvalid, "no handshake: %v", err)}
			return
		}
		h, refused := parseHello(frame)
		read <- first{h, refused}
	})
	select {
	case f := <-read:
		return f.h, f.refused
	case <-late:
		return hello{}, refuse(RefusedInvalid, "no handshake within %v", r.limits.Handshake)
	case <-l.exceeded():
		return hello{}, refuse(RefusedInvalid, "more than %d bytes before the end of the handshake", r.limits.HandshakeBytes)
	case <-l.ended():
		return hello{}, refuse(RefusedInvalid, "the peer left before its handshake")
	case <-r.stopping:
		return hello{}, refuse(RefusedStopping, "the member is stopping")
	}
}

// admit finds the peer in the view, for which it waits as long as the handshake may last, and makes
// its connection the one of that member.
func (r *Remote) admit(h hello, l acceptor, late <-chan struct{}) (*conn, *refusal) {
	for {
		c, changed, refused := r.register(h, l)
		if c != nil || refused != nil {
			return c, refused
		}
		select {
		case <-changed:
		case <-late:
			return nil, refuse(RefusedIdentity, "member %q at %q is not in the view of this member", h.member, h.address)
		case <-l.ended():
			return nil, refuse(RefusedInvalid, "the peer left before the end of its handshake")
		case <-r.stopping:
			return nil, refuse(RefusedStopping, "the member is stopping")
		}
	}
}

// register makes the connection, or says why not, or gives a channel that is closed when it may be
// worth another look: the member is unknown so far.
func (r *Remote) register(h hello, l acceptor) (*conn, <-chan struct{}, *refusal) {
	id := l.identity()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.draining.Load() {
		return nil, nil, refuse(RefusedStopping, "the member is stopping")
	}
	if r.blocked.has(h.member) {
		if r.blocked.tried(h.member) {
			r.noteTurnedAway(h.member)
		}
		return nil, nil, refuse(RefusedBlocked, "member %q is blocked", h.member)
	}
	row, known := r.rows[h.member]
	switch {
	case h.client && known:
		return nil, nil, refuse(RefusedIdentity, "%q is the ID of a member", h.member)
	case h.client && r.incoming[h.member] != nil && !id.takesOver(r.incoming[h.member].id):
		return nil, nil, refuse(RefusedIdentity, "client %q is connected with another certificate", h.member)
	case h.client:
		row = core.Member{ID: h.member, Protocol: h.protocol}
	case !known:
		return nil, r.changed, nil
	case row.Address != h.address:
		return nil, nil, refuse(RefusedIdentity, "member %q is at %q, the connection claims %q", h.member, row.Address, h.address)
	}
	if simbug.On("epochs-by-address") {
		h.member = core.MemberID(h.address)
	}
	if last := r.epochs[h.member]; h.epoch <= last {
		return nil, nil, refuse(RefusedEpoch, "connection %d of member %q, connection %d has been here", h.epoch, h.member, last)
	}
	r.epochs[h.member] = h.epoch
	c := r.newConn(&Peer{Member: row, Client: h.client, Epoch: h.epoch}, r.heardOf(h.member))
	c.id = id
	r.hear(c.heard)
	if old := r.incoming[h.member]; old != nil && !simbug.On("old-connection-goes-on") {
		r.group.Go("remote: end", func() { old.end(errReplaced) })
	}
	r.incoming[h.member] = c
	if h.client {
		c.share = l.share(r.clients)
		c.w.share, c.w.now = c.share, r.clock.Now
		r.serveClient(c)
		r.watchClients()
	}
	return c, nil, nil
}

// heardOf is where the frames of a peer are noted. The caller holds r.mu.
func (r *Remote) heardOf(id core.MemberID) *heard {
	if ep := r.endpoints[id]; ep != nil && !ep.client {
		return ep.heard
	}
	return new(heard)
}

// serveClient makes the connection of a client the way to it. The caller holds r.mu.
func (r *Remote) serveClient(c *conn) {
	id := c.peer.Member.ID
	if old := r.endpoints[id]; old != nil { // references keep it: it hands on to its successor
		r.group.Go("remote: end", func() { old.close(errReplaced) })
	}
	ep := r.newEndpoint(c.peer.Member, true)
	ep.heard = c.heard
	ep.cur.Store(c)
	ep.linked.Store(true)
	r.endpoints[id] = ep
}

// accepted follows the opening of an incoming connection: the one before may have lost what the peer
// told of its processes' ends, so watches on them are told again.
func (r *Remote) accepted(c *conn) {
	r.mu.Lock()
	ep := r.endpoints[c.peer.Member.ID]
	r.mu.Unlock()
	if ep != nil && c.peer.Epoch > 1 {
		r.rewatch(ep)
	}
}

// departed follows the end of an incoming connection.
func (r *Remote) departed(c *conn) {
	id := c.peer.Member.ID
	r.mu.Lock()
	mine := r.incoming[id] == c
	if mine {
		delete(r.incoming, id)
	}
	var ep *endpoint
	if mine && c.peer.Client {
		delete(r.epochs, id)
		if ep = r.endpoints[id]; ep != nil && ep.client {
			delete(r.endpoints, id)
		} else {
			ep = nil // a member has taken its place
		}
	}
	r.mu.Unlock()
	if ep != nil {
		ep.close(unreachable(c.reason))
		r.unreachable(id, "")
	}
}
