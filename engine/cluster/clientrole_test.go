package cluster_test

import (
	"context"
	"crypto/tls"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/protobuf/proto"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/actor"
	"github.com/granary-go/granary/engine/cluster"
	"github.com/granary-go/granary/engine/internal/convert"
	"github.com/granary-go/granary/engine/internal/gossip"
	"github.com/granary-go/granary/engine/remote"
	"github.com/granary-go/granary/protos/actorpb"
	"github.com/granary-go/granary/protos/clusterpb"
	"github.com/granary-go/granary/protos/granarypb"
	"github.com/granary-go/granary/protos/remotepb"
)

// rawClient is a link of a client made by hand: it knows the messages, and nothing of this project.
type rawClient struct {
	t      *testing.T
	to     *cluster.Node
	stream grpc.BidiStreamingClient[remotepb.RemoteMessage, remotepb.RemoteMessage]
	asks   uint64
}

// dialRaw shakes hands with a node as the client id.
func dialRaw(t *testing.T, to *cluster.Node, id string, secure *tls.Config) (*rawClient, *remotepb.ConnectResponse) {
	t.Helper()
	cc, err := grpc.NewClient("passthrough:///"+to.Address(), grpc.WithTransportCredentials(credentials.NewTLS(secure)), grpc.WithNoProxy())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cc.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	stream, err := remotepb.NewRemotingClient(cc).Receive(ctx)
	if err != nil {
		t.Fatal(err)
	}
	protocol := remote.Protocol()
	if err := stream.Send(&remotepb.RemoteMessage{MessageType: &remotepb.RemoteMessage_ConnectRequest{ConnectRequest: &remotepb.ConnectRequest{
		ConnectionType: &remotepb.ConnectRequest_ClientConnection{ClientConnection: &remotepb.ClientConnection{
			SystemId: id, Cluster: "granary", ConnectionEpoch: 1, TargetMember: string(to.ID()),
			ProtocolMin: uint32(protocol.Min), ProtocolMax: uint32(protocol.Max),
		}},
	}}}); err != nil {
		t.Fatal(err)
	}
	m, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	return &rawClient{t: t, to: to, stream: stream}, m.GetConnectResponse()
}

// ask sends one message and returns what came back: its type, and the error if it is one.
func (c *rawClient) ask(process, typ string, data []byte) (string, *clusterpb.GrainErrorResponse) {
	c.t.Helper()
	c.asks++
	if err := c.stream.Send(&remotepb.RemoteMessage{MessageType: &remotepb.RemoteMessage_MessageBatch{MessageBatch: &remotepb.MessageBatch{
		TypeNames: []string{typ},
		Targets:   []*actorpb.PID{{Address: c.to.Address(), Id: process, Member: string(c.to.ID())}},
		Envelopes: []*remotepb.MessageEnvelope{{MessageData: data, RequestId: c.asks}},
	}}}); err != nil {
		c.t.Fatalf("%s to %s: the connection is gone: %v", typ, process, err)
	}
	for {
		m, err := c.stream.Recv()
		if err != nil {
			c.t.Fatalf("%s to %s: no answer: %v", typ, process, err)
		}
		b := m.GetMessageBatch()
		for _, e := range b.GetEnvelopes() {
			if e.GetReplyTo() == c.asks {
				return c.read(b.GetTypeNames()[e.GetTypeId()], e.GetMessageData())
			}
		}
	}
}

func (c *rawClient) read(typ string, data []byte) (string, *clusterpb.GrainErrorResponse) {
	if typ != "cluster.GrainErrorResponse" {
		return typ, nil
	}
	p := &clusterpb.GrainErrorResponse{}
	if err := proto.Unmarshal(data, p); err != nil {
		c.t.Fatal(err)
	}
	return typ, p
}

// kept calls the grain x.
func (c *rawClient) kept() {
	c.t.Helper()
	call := &clusterpb.GrainRequest{Kind: "Keeper", Identity: "x", Method: "Keep", MethodIndex: -1, MessageTypeName: "json", MessageData: []byte(`"x"`)}
	if typ, bad := c.ask("$grain", "cluster.GrainRequest", marshal(c.t, call)); typ != "cluster.GrainResponse" {
		c.t.Errorf("a call is answered by %s, %v", typ, bad)
	}
}

// TestRow03_ClientRole: what a client's certificate is good for on a member as it ships, sent by a client
// made by hand: calls of grains, and the question what members say. Everything else is refused, not
// delivered, counted, and changes nothing.
func TestRow03_ClientRole(t *testing.T) {
	authority := newCA(t)
	var refusals atomic.Int64
	parts := cluster.Single(keeperKind("Keeper", nil))
	parts.Lookup = &ring{} // under which a call goes to the grain at once
	parts.Telemetry.Hooks.Counted = func(name string, by int64) {
		if name == "cluster.clients.refused" {
			refusals.Add(by)
		}
	}
	member, err := cluster.New(cluster.Config{TLS: authority.member(t, "granary"), Logger: slog.New(slog.DiscardHandler)}, parts)
	if err != nil {
		t.Fatal(err)
	}
	if err := member.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = member.Stop(context.WithoutCancel(t.Context())) }()
	var told atomic.Int64
	if _, err := cluster.System(member).SpawnNamed("user", &actor.Props{New: func() actor.Actor { return counting{&told} }}); err != nil {
		t.Fatal(err)
	}
	if err := member.SetState(t.Context(), "mine", "v"); err != nil {
		t.Fatal(err)
	}
	secure := authority.client(t, "granary")
	client, hello := dialRaw(t, member, "mallory", secure)
	if hello.GetRefusal() != nil {
		t.Fatal(hello)
	}
	client.kept()
	var place string
	for a := range member.Activations() {
		place = a.PID.ID
	}

	watcher := marshal(t, &actorpb.Watch{Watcher: &actorpb.PID{Address: "client@mallory", Id: "me"}})
	forged := &gossip.Request{Exchange: 1 << 20, Entries: []gossip.Entry{{Owner: member.ID(), Values: []gossip.Value{{Key: "mine", Version: 1 << 20, Message: core.Message{Type: "t"}}}}}}
	own := &gossip.Request{Exchange: 1, Entries: []gossip.Entry{{Owner: "mallory", Values: []gossip.Value{{Key: "k", Version: 1, Message: core.Message{Type: "t"}}}}}}
	grained := marshal(t, &clusterpb.GrainRequest{Method: "Keep", MethodIndex: -1, MessageTypeName: "json", MessageData: []byte(`"x"`)})
	processes := []string{"user", "gossip", "$grain", "partition-activator", "$probe", "$broadcast", place}
	before := member.GossipStats().Refused
	gossiped := uint64(0)
	for _, to := range processes {
		for _, m := range []struct {
			what, typ string
			data      []byte
		}{
			{"stop", "actor.Stop", nil}, {"poison", "actor.PoisonPill", nil}, {"watch", "actor.Watch", watcher}, {"unwatch", "actor.Unwatch", watcher},
			{"terminated", "actor.Terminated", marshal(t, &actorpb.Terminated{Who: &actorpb.PID{Address: "client@mallory", Id: "me"}})},
			{"gossip that carries nothing", "cluster.GossipRequest", nil},
			{"gossip of the member's state", "cluster.GossipRequest", convert.AppendGossipRequest(nil, member.ID(), forged)},
			{"gossip of its own state", "cluster.GossipRequest", convert.AppendGossipRequest(nil, member.ID(), own)},
			{"a query that carries state", convert.TypeStateQuery, convert.AppendGossipRequest(nil, member.ID(), own)},
			{"a query that says what the member wrote", convert.TypeStateQuery, []byte{0xb8, 0x06, 0x7f}},
			{"activation", "cluster.ActivationRequest", marshal(t, &clusterpb.ActivationRequest{ClusterIdentity: &clusterpb.ClusterIdentity{Identity: "y", Kind: "Keeper"}})},
			{"a lookup's message", "granary.LookupRequest", marshal(t, &granarypb.LookupRequest{TypeName: "cluster.ActivationRequest"})},
			{"a service's message", "granary.ProcessRequest", marshal(t, &granarypb.ProcessRequest{TypeName: "x"})},
			{"ends of activations", "granary.ActivationsTerminated", marshal(t, &granarypb.ActivationsTerminated{Ends: []*granarypb.ActivationEnd{{Kind: "Keeper", Identity: "x"}}})},
			{"a user's message", "cluster.GrainRequest", grained},
			{"spawn", "remote.ActorPidRequest", nil},
			{"processes", "remote.ListProcessesRequest", nil},
		} {
			if m.typ == "cluster.GrainRequest" && (to == "$grain" || to == place) {
				continue // that is a call
			}
			typ, bad := client.ask(to, m.typ, m.data)
			if bad == nil || bad.GetDelivery() != granarypb.Delivery_DELIVERY_UNDELIVERED || bad.GetMessage() == "" {
				t.Errorf("%s to %s is answered by %s, %v", m.what, to, typ, bad)
			}
			if to == "gossip" && (m.typ == "cluster.GossipRequest" || m.typ == convert.TypeStateQuery) {
				gossiped++
			}
		}
	}
	if got := member.GossipStats().Refused; got < before+gossiped {
		t.Errorf("%d refusals of gossip are counted, want %d more than %d", got, gossiped, before)
	}
	if refusals.Load() == 0 {
		t.Error("cluster.clients.refused is not counted")
	}
	if typ, bad := client.ask("gossip", convert.TypeStateQuery, convert.AppendStateQuery(nil, &gossip.Request{Exchange: 1})); typ != convert.TypeGossipResponse {
		t.Errorf("a question what members say is answered by %s, %v", typ, bad)
	}

	where := &clusterpb.GrainRequest{Kind: "Keeper", Identity: "x", Locate: true}
	if typ, bad := client.ask("$grain", "cluster.GrainRequest", marshal(t, where)); bad.GetDelivery() != granarypb.Delivery_DELIVERY_UNDELIVERED || bad.GetReason() != "UNIMPLEMENTED" {
		t.Errorf("where a grain lives, under a lookup whose owners everybody knows, is answered by %s, %v", typ, bad)
	}

	client.kept()
	if v, ok := member.State(member.ID(), "mine"); !ok || v.Version >= 1<<20 {
		t.Errorf("the member's own state is %+v, %v", v, ok)
	}
	if keys := member.StateKeys("mallory"); len(keys) > 0 {
		t.Errorf("state of the client: %v", keys)
	}
	if told.Load() > 0 {
		t.Errorf("%d messages reached a user's actor", told.Load())
	}
	if got, err := keep(t.Context(), member, "Keeper", "x", "x"); got != "3" || err != nil {
		t.Errorf("the grain afterwards: %q, %v", got, err)
	}
	if kinds := member.Kinds(); len(kinds) != 1 || kinds[0].Live != 1 {
		t.Errorf("activations: %v", kinds)
	}

	if _, hello := dialRaw(t, member, string(member.ID()), secure); hello.GetRefusal() == nil {
		t.Error("a client with the ID of the member was let in")
	}
}

// counting counts the user messages of an actor.
type counting struct{ told *atomic.Int64 }

func (a counting) Receive(c *actor.Context) {
	switch c.Message().(type) {
	case actor.Started, actor.Stopping, actor.Stopped:
	default:
		a.told.Add(1)
	}
}
