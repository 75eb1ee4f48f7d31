package convert_test

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/internal/convert"
	"github.com/granary-go/granary/engine/internal/gossip"
	"github.com/granary-go/granary/protos/clusterpb"
	"github.com/granary-go/granary/protos/granarypb"
)

var gossipRequest = &gossip.Request{
	Exchange: 7,
	Answered: 6,
	Known:    1 << 40,
	View:     math.MaxUint64,
	Versions: []uint64{0, 1, 300, math.MaxUint64},
	Lines:    []gossip.Line{{Owner: "b", Version: 300}, {Owner: "c"}},
	Entries: []gossip.Entry{
		{Owner: "a", Base: 3, Values: []gossip.Value{
			{Key: "heartbeat", Version: 4, Message: core.Message{Type: "cluster.MemberHeartbeat", Data: []byte{10, 0}}},
			{Key: "left", Version: 5, Message: core.Message{Type: "google.protobuf.Empty"}},
		}},
		{Owner: "b", Relayed: true, Values: []gossip.Value{{Key: "k", Version: math.MaxInt64, Message: core.Message{Type: "t", Data: make([]byte, 300)}}}},
	},
}

var gossipResponse = &gossip.Response{Exchange: 7, View: 5, Lines: gossipRequest.Lines, Entries: gossipRequest.Entries}

// TestGossipIsGenerated holds the code by hand to the generated one, both ways.
func TestGossipIsGenerated(t *testing.T) {
	data := convert.AppendGossipRequest([]byte("before"), "receiver", gossipRequest)[len("before"):]
	p := new(clusterpb.GossipRequest)
	strict := proto.UnmarshalOptions{}
	if err := strict.Unmarshal(data, p); err != nil {
		t.Fatal(err)
	}
	values := func(kv ...any) map[string]*clusterpb.GossipKeyValue {
		m := map[string]*clusterpb.GossipKeyValue{}
		for i := 0; i < len(kv); i += 4 {
			m[kv[i].(string)] = &clusterpb.GossipKeyValue{SequenceNumber: kv[i+1].(int64), Value: &anypb.Any{
				TypeUrl: "type.googleapis.com/" + kv[i+2].(string), Value: kv[i+3].([]byte)}}
		}
		return m
	}
	lines := []*granarypb.GossipLine{{Owner: "b", Version: 300}, {Owner: "c"}}
	state := &clusterpb.GossipState{Members: map[string]*clusterpb.GossipMemberState{
		"a": {Base: 3, Values: values("heartbeat", int64(4), "cluster.MemberHeartbeat", []byte{10, 0}, "left", int64(5), "google.protobuf.Empty", []byte(nil))},
		"b": {Relayed: true, Values: values("k", int64(math.MaxInt64), "t", make([]byte, 300))},
	}}
	want := &clusterpb.GossipRequest{
		FromMemberId: "receiver", State: state, Lines: lines, Exchange: 7, Answered: 6, Known: 1 << 40,
		View: math.MaxUint64, Versions: gossipRequest.Versions,
	}
	if !proto.Equal(p, want) {
		t.Errorf("the request reads\n%v\nwant\n%v", p, want)
	}
	generated, err := proto.MarshalOptions{Deterministic: true}.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := convert.GossipRequestFromWire(generated); err != nil || !reflect.DeepEqual(got, gossipRequest) {
		t.Errorf("the generated code's request reads %+v, %v\nwant %+v", got, err, gossipRequest)
	}
	answer := &clusterpb.GossipResponse{State: state, Lines: lines, Exchange: 7, View: 5}
	q := new(clusterpb.GossipResponse)
	if err := strict.Unmarshal(convert.AppendGossipResponse(nil, gossipResponse), q); err != nil || !proto.Equal(q, answer) {
		t.Errorf("the response reads\n%v, %v\nwant\n%v", q, err, answer)
	}
}

// TestStateQueryCarriesNoState: what a client sends is the generated message, without what only members may
// say; a query that has it is refused.
func TestStateQueryCarriesNoState(t *testing.T) {
	want := &granarypb.StateQuery{
		Exchange: 7, Answered: 6, View: math.MaxUint64, Versions: gossipRequest.Versions,
		Lines: []*granarypb.GossipLine{{Owner: "b", Version: 300}, {Owner: "c"}},
	}
	data, p := convert.AppendStateQuery(nil, gossipRequest), new(granarypb.StateQuery)
	if err := proto.Unmarshal(data, p); err != nil || !proto.Equal(p, want) {
		t.Errorf("the query reads\n%v, %v\nwant\n%v", p, err, want)
	}
	bare := *gossipRequest
	bare.Entries, bare.Known = nil, 0
	if got, err := convert.StateQueryFromWire(data); err != nil || !reflect.DeepEqual(got, &bare) {
		t.Errorf("it comes back as %+v, %v", got, err)
	}
	for name, bad := range map[string][]byte{
		"a request": convert.AppendGossipRequest(nil, "b", gossipRequest),
		"no state":  convert.AppendGossipRequest(nil, "", &gossip.Request{}),
		"receiver":  convert.AppendGossipRequest(nil, "b", &gossip.Request{})[2:],
		"known":     {0xb8, 0x06, 1},
		"garbage":   {0xff},
	} {
		if _, err := convert.StateQueryFromWire(bad); !errors.Is(err, core.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestGossipOfProtoActor: what nodes without own fields send.
func TestGossipOfProtoActor(t *testing.T) {
	empty := convert.AppendGossipRequest(nil, "b", &gossip.Request{})
	if !bytes.Equal(empty, []byte{10, 0, 18, 1, 'b'}) {
		t.Errorf("an empty request is %x: its state must be there", empty)
	}
	for name, data := range map[string][]byte{"empty state": empty, "no state": nil} {
		if r, err := convert.GossipRequestFromWire(data); err != nil || len(r.Entries) > 0 {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
	if r, err := convert.GossipResponseFromWire(nil); err != nil || r == nil || r.Exchange != 0 {
		t.Errorf("an empty response reads %+v, %v", r, err)
	}
	negative, err := proto.Marshal(&clusterpb.GossipRequest{State: &clusterpb.GossipState{Members: map[string]*clusterpb.GossipMemberState{
		"a": {Values: map[string]*clusterpb.GossipKeyValue{"k": {SequenceNumber: -1, LocalTimestampUnixMilliseconds: 9, Value: &anypb.Any{TypeUrl: "x/y/t"}}}},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	r, err := convert.GossipRequestFromWire(negative)
	if err != nil || r.Entries[0].Values[0].Version != math.MaxUint64 || r.Entries[0].Values[0].Message.Type != "t" {
		t.Errorf("a negative number reads %+v, %v", r, err)
	}
}

// TestGossipFromWireRefuses are messages that are expensive, or none at all.
func TestGossipFromWireRefuses(t *testing.T) {
	whole := convert.AppendGossipRequest(nil, "b", gossipRequest)
	many := &gossip.Request{}
	for i := range 100_000 {
		many.Entries = append(many.Entries, gossip.Entry{Owner: core.MemberID(fmt.Sprint(i)), Values: gossipRequest.Entries[1].Values[:1:1]})
	}
	for name, data := range map[string][]byte{
		"100,000 members":   convert.AppendGossipRequest(nil, "b", many),
		"100,000 lines":     convert.AppendGossipRequest(nil, "b", &gossip.Request{Lines: make([]gossip.Line, 100_000)}),
		"100,000 versions":  convert.AppendGossipRequest(nil, "b", &gossip.Request{Versions: make([]uint64, 100_000)}),
		"random":            []byte("\xff\xff\xff\xff\xff"),
		"cut off":           whole[:len(whole)-1],
		"member without ID": {10, 4, 10, 2, 18, 0},
		"key without text":  {10, 11, 10, 9, 10, 1, 'a', 18, 4, 10, 2, 18, 0},
		"versions unpacked": {200, 6, 1},
		"version cut off":   {202, 6, 1, 0xff},
	} {
		if _, err := convert.GossipRequestFromWire(data); !errors.Is(err, core.ErrInvalid) {
			t.Errorf("%s: %v, want %v", name, err, core.ErrInvalid)
		}
	}
	for i := range whole {
		if _, err := convert.GossipRequestFromWire(whole[:i]); err != nil && !errors.Is(err, core.ErrInvalid) {
			t.Errorf("cut off at %d: untyped error %v", i, err)
		}
	}
	if _, err := convert.GossipResponseFromWire([]byte{0xff}); !errors.Is(err, core.ErrInvalid) {
		t.Errorf("a response that is none: %v", err)
	}
}

func TestGossipValues(t *testing.T) {
	topology := gossip.Topology{Lineage: "L", Epoch: 7, Hash: math.MaxUint64, WireHash: 9}
	if got, err := convert.TopologyFromMessage(convert.TopologyToMessage(topology)); err != nil || got != topology {
		t.Errorf("topology %+v, %v, want %+v", got, err, topology)
	}
	heartbeat := gossip.Heartbeat{Activations: []gossip.KindCount{{Kind: "Cart", Count: 5}, {Kind: "Order", Count: 0}}}
	if got, err := convert.HeartbeatFromMessage(convert.HeartbeatToMessage(heartbeat)); err != nil || !reflect.DeepEqual(got, heartbeat) {
		t.Errorf("heartbeat %+v, %v, want %+v", got, err, heartbeat)
	}
	bans := []gossip.Blocked{{ID: "a", Remaining: time.Second}, {ID: "b", Remaining: time.Hour}}
	if got, err := convert.BlockedFromMessage(convert.BlockedToMessage(bans)); err != nil || !slices.Equal(got, bans) {
		t.Errorf("bans %+v, %v, want %+v", got, err, bans)
	}
	if got := convert.LeftToMessage(); got.Type != "google.protobuf.Empty" || len(got.Data) > 0 {
		t.Errorf("the end of a member's time is %+v", got)
	}
	long := convert.BlockedToMessage([]gossip.Blocked{{ID: "a", Remaining: math.MaxInt64 - time.Second}, {ID: "b", Remaining: 0}})
	if got, err := convert.BlockedFromMessage(long); err != nil || got[0].Remaining != convert.MaxBan || got[1].Remaining != time.Millisecond {
		t.Errorf("bans %+v, %v, want them to last %v and 1 ms", got, err, convert.MaxBan)
	}
}

// TestGossipValuesAreGenerated reads what the generated code writes, and the reverse.
func TestGossipValuesAreGenerated(t *testing.T) {
	stamp := &granarypb.ViewStamp{Lineage: "L", Epoch: 7, Hash: 8}
	for _, tc := range []struct {
		m    core.Message
		want proto.Message
	}{
		{convert.TopologyToMessage(gossip.Topology{Lineage: "L", Epoch: 7, Hash: 8, WireHash: 9}), &clusterpb.ClusterTopology{TopologyHash: 9, View: stamp}},
		{convert.HeartbeatToMessage(gossip.Heartbeat{Activations: []gossip.KindCount{{Kind: "Cart", Count: 300}, {Kind: "Order", Count: 0}}}),
			&clusterpb.MemberHeartbeat{ActorStatistics: &clusterpb.ActorStatistics{ActorCount: map[string]int64{"Cart": 300, "Order": 0}}}},
		{convert.LeftToMessage(), &emptypb.Empty{}},
		{convert.BlockedToMessage([]gossip.Blocked{{ID: "a", Remaining: time.Second}}), &granarypb.BlockedMembers{Members: []*granarypb.BlockedMember{{Id: "a", RemainingMillis: 1000}}}},
	} {
		got := tc.want.ProtoReflect().New().Interface()
		if err := proto.Unmarshal(tc.m.Data, got); err != nil || !proto.Equal(got, tc.want) || tc.m.Type != string(proto.MessageName(tc.want)) {
			t.Errorf("%s reads %v, %v, want %v", tc.m.Type, got, err, tc.want)
		}
	}
	real, err := proto.Marshal(&clusterpb.ClusterTopology{TopologyHash: 9, Members: []*clusterpb.Member{{Id: "a"}}, Blocked: []string{"x"}})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := convert.TopologyFromMessage(core.Message{Type: "cluster.ClusterTopology", Data: real}); err != nil || got != (gossip.Topology{WireHash: 9}) {
		t.Errorf("the topology of a Proto.Actor node reads %+v, %v", got, err)
	}
}

func TestGossipValuesRefuse(t *testing.T) {
	kinds, bans := gossip.Heartbeat{}, []byte(nil)
	for i := range gossip.MaxKindCounts {
		kinds.Activations = append(kinds.Activations, gossip.KindCount{Kind: fmt.Sprint(i)})
	}
	for range gossip.MaxBlocked + 1 {
		bans = append(bans, 10, 5, 10, 1, 'a', 16, 1)
	}
	full := convert.HeartbeatToMessage(kinds)
	if got, err := convert.HeartbeatFromMessage(full); err != nil || len(got.Activations) != gossip.MaxKindCounts {
		t.Fatalf("%d kinds, %v", len(got.Activations), err)
	}
	of := func(name string, data ...byte) core.Message { return core.Message{Type: name, Data: data} }
	const topology, heartbeat, blocked = "cluster.ClusterTopology", "cluster.MemberHeartbeat", "granary.BlockedMembers"
	for name, m := range map[string]core.Message{
		"another type":      of("test.Text"),
		"too large":         of(topology, make([]byte, gossip.MaxValue+1)...),
		"no topology":       of(topology, 0xff),
		"no stamp":          of(topology, append([]byte{0xa2, 6, 1}, 0xff)...),
		"long lineage":      of(topology, append([]byte{0xa2, 6, 0x84, 2, 10, 0x81, 2}, make([]byte, 257)...)...),
		"no heartbeat":      of(heartbeat, 10, 2, 10, 9),
		"kind without name": of(heartbeat, 10, 4, 10, 2, 16, 1),
		"negative count":    of(heartbeat, 10, 16, 10, 14, 10, 1, 'K', 16, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1),
		"too many kinds":    of(heartbeat, append(slices.Clone(full.Data), 10, 7, 10, 5, 10, 1, 'K', 16, 1)...),
		"ban without ID":    of(blocked, 10, 2, 16, 1),
		"ban without time":  of(blocked, 10, 3, 10, 1, 'a'),
		"ban of two words":  of(blocked, 10, 7, 10, 3, 'a', ' ', 'b', 16, 1),
		"no ban":            of(blocked, 10, 1, 0xff),
		"too many bans":     of(blocked, bans...),
	} {
		var err error
		switch m.Type {
		case heartbeat:
			_, err = convert.HeartbeatFromMessage(m)
		case blocked:
			_, err = convert.BlockedFromMessage(m)
		default:
			_, err = convert.TopologyFromMessage(m)
		}
		if !errors.Is(err, core.ErrInvalid) {
			t.Errorf("%s: %v, want %v", name, err, core.ErrInvalid)
		}
	}
}

// shortEntries begin the fuzzing: long inputs take it long to make short.
var shortEntries = []gossip.Entry{{Owner: "a", Base: 1, Relayed: true, Values: []gossip.Value{{Key: "k", Version: 2, Message: core.Message{Type: "t", Data: []byte("d")}}}}}

func FuzzGossipRequest(f *testing.F) {
	f.Add(convert.AppendGossipRequest(nil, "b", &gossip.Request{Exchange: 1, View: 2, Versions: []uint64{3}, Lines: gossipRequest.Lines[:1]}))
	f.Add(convert.AppendGossipRequest(nil, "b", &gossip.Request{Entries: shortEntries}))
	f.Fuzz(func(t *testing.T, data []byte) {
		var r *gossip.Request
		var err error
		frugal(t, data, func() { r, err = convert.GossipRequestFromWire(data) })
		if err != nil {
			typed(t, err)
			return
		}
		again, err := convert.GossipRequestFromWire(convert.AppendGossipRequest(nil, "b", r))
		if err != nil || !reflect.DeepEqual(again, r) {
			t.Fatalf("%+v comes back as %+v, %v", r, again, err)
		}
	})
}

func FuzzStateQuery(f *testing.F) {
	f.Add(convert.AppendStateQuery(nil, &gossip.Request{Exchange: 1, Answered: 1, View: 2, Versions: []uint64{3}, Lines: gossipRequest.Lines[:1]}))
	f.Add(convert.AppendGossipRequest(nil, "b", &gossip.Request{Entries: shortEntries}))
	f.Fuzz(func(t *testing.T, data []byte) {
		var r *gossip.Request
		var err error
		frugal(t, data, func() { r, err = convert.StateQueryFromWire(data) })
		if err != nil {
			typed(t, err)
			return
		}
		if len(r.Entries) > 0 || r.Known > 0 {
			t.Fatalf("a query with state: %+v", r)
		}
		again, err := convert.StateQueryFromWire(convert.AppendStateQuery(nil, r))
		if err != nil || !reflect.DeepEqual(again, r) {
			t.Fatalf("%+v comes back as %+v, %v", r, again, err)
		}
	})
}

func FuzzGossipResponse(f *testing.F) {
	f.Add(convert.AppendGossipResponse(nil, &gossip.Response{Exchange: 1, View: 2, Entries: shortEntries}))
	f.Fuzz(func(t *testing.T, data []byte) {
		var r *gossip.Response
		var err error
		frugal(t, data, func() { r, err = convert.GossipResponseFromWire(data) })
		if err != nil {
			typed(t, err)
			return
		}
		again, err := convert.GossipResponseFromWire(convert.AppendGossipResponse(nil, r))
		if err != nil || !reflect.DeepEqual(again, r) {
			t.Fatalf("%+v comes back as %+v, %v", r, again, err)
		}
	})
}

func typed(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, core.ErrInvalid) {
		t.Fatalf("untyped error: %v", err)
	}
}

func FuzzTopology(f *testing.F) {
	f.Add(convert.TopologyToMessage(gossip.Topology{Lineage: "L", Epoch: 7, Hash: 8, WireHash: 9}).Data)
	f.Fuzz(func(t *testing.T, data []byte) {
		var got gossip.Topology
		var err error
		frugal(t, data, func() {
			got, err = convert.TopologyFromMessage(core.Message{Type: "cluster.ClusterTopology", Data: data})
		})
		if err != nil {
			typed(t, err)
			return
		}
		if again, err := convert.TopologyFromMessage(convert.TopologyToMessage(got)); err != nil || again != got {
			t.Fatalf("%+v comes back as %+v, %v", got, again, err)
		}
	})
}

func FuzzHeartbeat(f *testing.F) {
	f.Add(convert.HeartbeatToMessage(gossip.Heartbeat{Activations: []gossip.KindCount{{Kind: "Cart", Count: 300}, {Kind: "Order", Count: 0}}}).Data)
	f.Fuzz(func(t *testing.T, data []byte) {
		var got gossip.Heartbeat
		var err error
		frugal(t, data, func() {
			got, err = convert.HeartbeatFromMessage(core.Message{Type: "cluster.MemberHeartbeat", Data: data})
		})
		if err != nil {
			typed(t, err)
			return
		}
		again, err := convert.HeartbeatFromMessage(convert.HeartbeatToMessage(got))
		if err != nil || !slices.Equal(again.Activations, got.Activations) {
			t.Fatalf("%+v comes back as %+v, %v", got, again, err)
		}
	})
}

func FuzzBlocked(f *testing.F) {
	f.Add(convert.BlockedToMessage([]gossip.Blocked{{ID: "a", Remaining: time.Second}, {ID: "b", Remaining: time.Hour}}).Data)
	f.Fuzz(func(t *testing.T, data []byte) {
		var got []gossip.Blocked
		var err error
		frugal(t, data, func() {
			got, err = convert.BlockedFromMessage(core.Message{Type: "granary.BlockedMembers", Data: data})
		})
		if err != nil {
			typed(t, err)
			return
		}
		if again, err := convert.BlockedFromMessage(convert.BlockedToMessage(got)); err != nil || !slices.Equal(again, got) {
			t.Fatalf("%+v comes back as %+v, %v", got, again, err)
		}
	})
}
