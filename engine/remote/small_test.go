package remote

import (
	"errors"
	"fmt"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/actor"
	"github.com/granary-go/granary/protos/actorpb"
	"github.com/granary-go/granary/protos/remotepb"
)

// TestUnknownFieldsAreSkipped: every message of a frame may have fields of a later version.
func TestUnknownFieldsAreSkipped(t *testing.T) {
	l := testLimits(t, nil)
	extra := protowire.AppendString(protowire.AppendTag(nil, 999, protowire.BytesType), "later")
	extra = protowire.AppendFixed64(protowire.AppendTag(extra, 998, protowire.Fixed64Type), 1)
	pid := &actorpb.PID{Address: "a:1", Id: "x", RequestId: 7, Member: "m"}
	pid.ProtoReflect().SetUnknown(extra)
	header := &remotepb.MessageHeader{HeaderData: map[string]string{"k": "v"}}
	header.ProtoReflect().SetUnknown(extra)
	env := &remotepb.MessageEnvelope{MessageData: []byte("d"), MessageHeader: header, TargetRequestId: 3, SenderRequestId: 4, Sender: 1}
	env.ProtoReflect().SetUnknown(extra)
	b := &remotepb.MessageBatch{TypeNames: []string{"t.T"}, Targets: []*actorpb.PID{pid}, Senders: []*actorpb.PID{pid}, Envelopes: []*remotepb.MessageEnvelope{env}}
	b.ProtoReflect().SetUnknown(extra)
	frame := append(rawBatch(b), extra...)
	tag, body, err := frameBody(frame)
	if err != nil || tag != tagBatch {
		t.Fatalf("frame: %d, %v", tag, err)
	}
	var p batch
	if err := p.parse(body, l); err != nil {
		t.Fatal(err)
	}
	err = p.each(func(e *envelope) error {
		h, err := parseHeader(e.header, l)
		if err != nil || h["k"] != "v" || string(e.data) != "d" {
			return fmt.Errorf("envelope %+v, headers %v, %w", e, h, err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	got, err := parsePID(p.targets[0], l)
	if err != nil || string(got.id) != "x" || string(got.member) != "m" || string(got.address) != "a:1" {
		t.Errorf("PID %s, %v", got, err)
	}
	entry := append([]byte{tagKey, 1, 'k', tagValue, 1, 'v'}, extra...)
	if k, v, err := parseHeaderEntry(entry); k != "k" || v != "v" || err != nil {
		t.Errorf("header %q %q, %v", k, v, err)
	}
	for _, bad := range [][]byte{{0x07}, {0x00, 0x00}, {0xff}, {0x0a, 0x05}} {
		if _, _, err := frameBody(bad); err == nil {
			t.Errorf("frame %x was read", bad)
		}
		if err := new(envelope).parse(bad); err == nil {
			t.Errorf("envelope %x was read", bad)
		}
		if _, err := parsePID(bad, l); err == nil {
			t.Errorf("PID %x was read", bad)
		}
		if err := p.parse(bad, l); err == nil {
			t.Errorf("batch %x was read", bad)
		}
	}
	if _, _, err := frameBody([]byte{tagBatch, 0, tagDisconnect, 0}); err == nil {
		t.Error("a frame with two payloads was read")
	}
}

func TestReasonsCrossTheWire(t *testing.T) {
	for _, why := range []actor.TerminatedReason{actor.TerminatedStopped, actor.TerminatedUnreachable, actor.TerminatedNotFound} {
		if got := reasonFromProto(reasonToProto(why)); got != why {
			t.Errorf("%v became %v", why, got)
		}
	}
}

func TestNames(t *testing.T) {
	for got, want := range map[string]string{
		RefusedEpoch.String(): "epoch", Refusal(77).String(): "reason 77",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// TestResponses: each answer to a hello that does not fit it is an error.
func TestResponses(t *testing.T) {
	cfg := Config{Cluster: "c", Member: "b"}
	h := hello{member: "a", cluster: "c", target: "b", epoch: 3, protocol: Protocol()}
	answer := func(edit func(*remotepb.ConnectResponse)) []byte {
		frame, err := cfg.response(h, nil)
		if err != nil {
			t.Fatal(err)
		}
		var m remotepb.RemoteMessage
		if err := proto.Unmarshal(frame, &m); err != nil {
			t.Fatal(err)
		}
		if edit != nil {
			edit(m.GetConnectResponse())
		}
		if frame, err = proto.Marshal(&m); err != nil {
			t.Fatal(err)
		}
		return frame
	}
	if err := parseResponse(answer(nil), h, "b:1"); err != nil {
		t.Errorf("the right answer: %v", err)
	}
	for name, tt := range map[string]struct {
		edit   func(*remotepb.ConnectResponse)
		reason Refusal
	}{
		"another member":   {func(m *remotepb.ConnectResponse) { m.MemberId = "x" }, RefusedMember},
		"another cluster":  {func(m *remotepb.ConnectResponse) { m.Cluster = "x" }, RefusedCluster},
		"another protocol": {func(m *remotepb.ConnectResponse) { m.ProtocolMin, m.ProtocolMax = 8, 9 }, RefusedProtocol},
		"plain":            {func(m *remotepb.ConnectResponse) { m.ProtocolMin, m.ProtocolMax = 0, 0 }, RefusedProtocol},
		"blocked":          {func(m *remotepb.ConnectResponse) { m.Blocked = true }, RefusedBlocked},
	} {
		err := parseResponse(answer(tt.edit), h, "b:1")
		if refused, ok := errors.AsType[*RefusedError](err); !ok || refused.Reason != tt.reason || !errors.Is(err, core.ErrUnreachable) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, frame := range map[string][]byte{
		"another epoch": answer(func(m *remotepb.ConnectResponse) { m.ConnectionEpoch = 9 }), "a batch": {tagBatch, 0}, "garbage": {0xff}, "nothing": nil,
		"a broken answer": {tagResponse, 2, 0x12, 9},
	} {
		if err := parseResponse(frame, h, "b:1"); !errors.Is(err, core.ErrUnreachable) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSendMeetsTheNextLink: a message that meets a link at its very end goes over the next.
func TestSendMeetsTheNextLink(t *testing.T) {
	_, a, _ := pair(t, nil)
	ep := a.r.newEndpoint(core.Member{ID: "x", Address: "x:1"}, false)
	old, next := a.r.newConn(&Peer{Member: ep.member}, ep.heard), a.r.newConn(&Peer{Member: ep.member}, ep.heard)
	old.end(errDisconnected)
	ep.cur.Store(next)
	failed := errors.New("failed")
	sent := false
	if err := ep.again(old, failed, func(c *conn) error { sent = c == next; return nil }); err != nil || !sent {
		t.Errorf("%v, sent %v", err, sent)
	}
	if err := ep.again(next, failed, func(*conn) error { return nil }); !errors.Is(err, failed) {
		t.Errorf("a link that lives was left: %v", err)
	}
	ep.cur.Store(old)
	if err := ep.again(old, failed, func(*conn) error { return nil }); !errors.Is(err, failed) {
		t.Errorf("sent twice over one link: %v", err)
	}
	next.end(errDisconnected)
}

func TestEpochsOfLeaversAreBounded(t *testing.T) {
	a := startNode(t, "a", nil)
	a.r.mu.Lock()
	for i := range maxBlocked {
		a.r.epochs[core.MemberID(fmt.Sprint(i))] = 1
	}
	a.r.mu.Unlock()
	a.r.SetMembers(topology(t, nil, a.member(), core.Member{ID: "5", Address: "127.0.0.1:9", Status: core.Up}))
	a.r.mu.Lock()
	defer a.r.mu.Unlock()
	if len(a.r.epochs) != 1 || a.r.epochs["5"] != 1 {
		t.Errorf("%d epochs are kept", len(a.r.epochs))
	}
}
