package remote

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/granary-go/granary/core"
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
	case h.epoch == 0:
		return refuse(RefusedEpoch, "the connection has no epoch")
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
