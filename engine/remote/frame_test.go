package remote

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/protos/actorpb"
	"github.com/granary-go/granary/protos/remotepb"
)

func testLimits(t testing.TB, edit func(*Limits)) *Limits {
	t.Helper()
	var l Limits
	if edit != nil {
		edit(&l)
	}
	l, err := l.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	return &l
}

func newBuilder(l *Limits) *builder {
	b := &builder{limits: l, here: "here:1", there: "there:2"}
	b.start(nil)
	return b
}

// pieces is a message that writes itself.
type pieces struct{ data []byte }

func (p pieces) WireType() string                    { return "test.Pieces" }
func (p pieces) AppendWire(b []byte) ([]byte, error) { return append(b, p.data...), nil }

type failing struct{}

func (failing) WireType() string                    { return "test.Failing" }
func (failing) AppendWire(b []byte) ([]byte, error) { return append(b, "junk"...), errors.New("no") }

// TestFrameIsABatch decodes a built frame with the generated types.
func TestFrameIsABatch(t *testing.T) {
	b := newBuilder(testLimits(t, nil))
	for _, o := range []outgoing{
		{target: "p", msg: wrapperspb.String("one")},
		{target: "q", sender: "s", msg: pieces{[]byte("two")}, requestID: 1 << 40},
		{target: "p", sender: "s", msg: core.Message{Type: "test.Pieces", Data: nil}, header: map[string]string{"k": "v"}},
		{msg: wrapperspb.String("four"), replyTo: 7},
		{target: "q", sender: "r", msg: &Inbound{Type: "x.Y", Data: []byte{1}}},
	} {
		if err := b.add(&o); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.add(&outgoing{target: "new", msg: failing{}}); err == nil {
		t.Fatal("a message that cannot be encoded was added")
	}
	var m remotepb.RemoteMessage
	if err := proto.Unmarshal(b.finish(), &m); err != nil {
		t.Fatal(err)
	}
	one, _ := proto.Marshal(wrapperspb.String("one"))
	four, _ := proto.Marshal(wrapperspb.String("four"))
	pid := func(address, id string) *actorpb.PID { return &actorpb.PID{Address: address, Id: id} }
	want := &remotepb.MessageBatch{
		TypeNames: []string{"google.protobuf.StringValue", "test.Pieces", "x.Y"},
		Targets:   []*actorpb.PID{pid("there:2", "p"), pid("there:2", "q"), pid("there:2", "")},
		Senders:   []*actorpb.PID{pid("here:1", "s"), pid("here:1", "r")},
		Envelopes: []*remotepb.MessageEnvelope{
			{MessageData: one},
			{TypeId: 1, Target: 1, Sender: 1, MessageData: []byte("two"), RequestId: 1 << 40},
			{TypeId: 1, Sender: 1, MessageHeader: &remotepb.MessageHeader{HeaderData: map[string]string{"k": "v"}}},
			{Target: 2, MessageData: four, ReplyTo: 7},
			{TypeId: 2, Target: 1, Sender: 2, MessageData: []byte{1}},
		},
	}
	if !proto.Equal(m.GetMessageBatch(), want) {
		t.Errorf("frame is\n%v\nwant\n%v", m.GetMessageBatch(), want)
	}
}

// agree compares what the reader of this package sees in a frame with the generated decoder.
func agree(frame []byte, l *Limits) error {
	var p batch
	tag, body, err := frameBody(frame)
	if err != nil || tag != tagBatch || p.parse(body, l) != nil {
		return err
	}
	var m remotepb.RemoteMessage
	if err := proto.Unmarshal(frame, &m); err != nil {
		return nil // the generated decoder reads all parts, this one those in use
	}
	want := m.GetMessageBatch()
	if len(p.types) != len(want.GetTypeNames()) || len(p.targets) != len(want.GetTargets()) ||
		len(p.senders) != len(want.GetSenders()) || p.envelopes != len(want.GetEnvelopes()) {
		return fmt.Errorf("tables of %d, %d, %d, %d entries, want %v", len(p.types), len(p.targets), len(p.senders), p.envelopes, want)
	}
	for i, b := range p.targets {
		pid, err := parsePID(b, l)
		if w := want.GetTargets()[i]; err == nil && (string(pid.address) != w.GetAddress() || string(pid.id) != w.GetId() || string(pid.member) != w.GetMember()) {
			return fmt.Errorf("target %d is %s, want %v", i, pid, w)
		}
	}
	i := 0
	err = p.each(func(e *envelope) error {
		w := want.GetEnvelopes()[i]
		i++
		if e.typ != w.GetTypeId() || e.target != w.GetTarget() || e.sender != w.GetSender() || e.serializer != w.GetSerializerId() ||
			e.requestID != w.GetRequestId() || e.replyTo != w.GetReplyTo() || !bytes.Equal(e.data, w.GetMessageData()) {
			return fmt.Errorf("envelope %d is %+v, want %v", i, e, w)
		}
		return nil
	})
	if _, bad := errors.AsType[*protocolError](err); bad {
		return nil
	}
	return err
}

type capture struct{ Name, Hex string }

// captures are those of testdata and of the folders that GRANARY_VECTORS lists.
func captures(t testing.TB) (all []capture) {
	t.Helper()
	for _, dir := range append([]string{"testdata"}, filepath.SplitList(os.Getenv("GRANARY_VECTORS"))...) {
		files, err := filepath.Glob(filepath.Join(dir, "captured*.json"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range files {
			all = append(all, capturesOf(t, path)...)
		}
	}
	if len(all) == 0 {
		t.Fatal("no captures")
	}
	return all
}

func capturesOf(t testing.TB, path string) (out []capture) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &out); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return out
}

func (c capture) bytes(t testing.TB) []byte {
	b, err := hex.DecodeString(c.Hex)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestCapturedFrames reads what real nodes of the wire line sent.
func TestCapturedFrames(t *testing.T) {
	l := testLimits(t, nil)
	for _, c := range captures(t) {
		t.Run(c.Name, func(t *testing.T) {
			frame := c.bytes(t)
			tag, body, err := frameBody(frame)
			if err != nil {
				t.Fatal(err)
			}
			if tag == tagBatch {
				var p batch
				if err := p.parse(body, l); err != nil {
					t.Fatal(err)
				}
				n := 0
				if err := p.each(func(*envelope) error { n++; return nil }); err != nil || n != p.envelopes {
					t.Fatalf("%d of %d envelopes: %v", n, p.envelopes, err)
				}
			}
			if err := agree(frame, l); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestParsesTruncatedFramesWithoutHarm(t *testing.T) {
	l := testLimits(t, nil)
	for _, c := range captures(t) {
		frame := c.bytes(t)
		for n := range frame {
			if err := agree(frame[:n], l); err != nil {
				if _, ok := errors.AsType[*protocolError](err); !ok {
					t.Fatalf("%s cut at %d: %v", c.Name, n, err)
				}
			}
		}
	}
}

// rawBatch encodes a batch as it stands, right or wrong.
func rawBatch(b *remotepb.MessageBatch) []byte {
	frame, err := proto.Marshal(&remotepb.RemoteMessage{MessageType: &remotepb.RemoteMessage_MessageBatch{MessageBatch: b}})
	if err != nil {
		panic(err)
	}
	return frame
}

func readAll(frame []byte, l *Limits) error {
	tag, body, err := frameBody(frame)
	if err != nil {
		return err
	}
	if tag != tagBatch {
		return fmt.Errorf("tag %d", tag)
	}
	var p batch
	if err := p.parse(body, l); err != nil {
		return err
	}
	return p.each(func(*envelope) error { return nil })
}

func TestIndices(t *testing.T) {
	l := testLimits(t, nil)
	for _, index := range []int32{-1, math.MinInt32, math.MaxInt32, 2} {
		for _, table := range []string{"type", "target", "sender"} {
			e := &remotepb.MessageEnvelope{}
			switch table {
			case "type":
				e.TypeId = index
			case "target":
				e.Target = index
			case "sender":
				e.Sender = index
			}
			err := readAll(rawBatch(&remotepb.MessageBatch{
				TypeNames: []string{"a.B", "a.C"}, Targets: []*actorpb.PID{{Id: "x"}, {Id: "y"}}, Senders: []*actorpb.PID{{Id: "z"}},
				Envelopes: []*remotepb.MessageEnvelope{e},
			}), l)
			if _, ok := errors.AsType[*protocolError](err); !ok {
				t.Errorf("%s index %d: %v, want a protocol error", table, index, err)
			}
		}
	}
	err := readAll(rawBatch(&remotepb.MessageBatch{
		TypeNames: []string{"a.B", "a.C"}, Targets: []*actorpb.PID{{Id: "x"}, {Id: "y"}}, Senders: []*actorpb.PID{{Id: "z"}},
		Envelopes: []*remotepb.MessageEnvelope{{TypeId: 1, Target: 1, Sender: 1}},
	}), l)
	if err != nil {
		t.Errorf("last indices: %v", err)
	}
}

// TestReaderLimits tries each bound of a frame at bound - 1, bound and bound + 1.
func TestReaderLimits(t *testing.T) {
	l := testLimits(t, func(l *Limits) { l.Batch, l.Types, l.Name = 10, 6, 20 })
	names := func(n int) []string {
		var out []string
		for i := range n {
			out = append(out, fmt.Sprint("t.T", i))
		}
		return out
	}
	pids := func(n int) []*actorpb.PID { return make([]*actorpb.PID, n) }
	one := []*remotepb.MessageEnvelope{{}}
	tests := map[string]struct {
		bound int
		make  func(n int) *remotepb.MessageBatch
	}{
		"messages": {10, func(n int) *remotepb.MessageBatch {
			return &remotepb.MessageBatch{TypeNames: names(1), Targets: pids(1), Envelopes: make([]*remotepb.MessageEnvelope, n)}
		}},
		"types": {6, func(n int) *remotepb.MessageBatch {
			return &remotepb.MessageBatch{TypeNames: names(n), Targets: pids(1), Envelopes: one}
		}},
		"type name": {20, func(n int) *remotepb.MessageBatch {
			return &remotepb.MessageBatch{TypeNames: []string{strings.Repeat("x", n)}, Targets: pids(1), Envelopes: one}
		}},
		"targets": {10, func(n int) *remotepb.MessageBatch {
			return &remotepb.MessageBatch{TypeNames: names(1), Targets: pids(n), Envelopes: one}
		}},
		"senders": {10, func(n int) *remotepb.MessageBatch {
			return &remotepb.MessageBatch{TypeNames: names(1), Targets: pids(1), Senders: pids(n), Envelopes: one}
		}},
	}
	for name, tt := range tests {
		for _, n := range []int{tt.bound - 1, tt.bound, tt.bound + 1} {
			err := readAll(rawBatch(tt.make(n)), l)
			if (err != nil) != (n > tt.bound) {
				t.Errorf("%d %s, bound %d: %v", n, name, tt.bound, err)
			}
		}
	}
}

// TestBuilderLimits tries each bound of a message that is sent at bound - 1, bound and bound + 1.
func TestBuilderLimits(t *testing.T) {
	l := testLimits(t, func(l *Limits) { l.Envelope, l.ProcessID, l.Headers, l.HeaderBytes, l.Name = 100, 30, 3, 50, 40 })
	headers := func(n int) map[string]string {
		h := map[string]string{}
		for i := range n {
			h[fmt.Sprint(i)] = ""
		}
		return h
	}
	tests := map[string]struct {
		bound int
		make  func(n int) outgoing
	}{
		"message that writes itself": {100, func(n int) outgoing { return outgoing{target: "t", msg: pieces{make([]byte, n)}} }},
		"message of protobuf":        {98, func(n int) outgoing { return outgoing{target: "t", msg: wrapperspb.Bytes(make([]byte, n))} }},
		"target":                     {30, func(n int) outgoing { return outgoing{target: strings.Repeat("t", n), msg: pieces{}} }},
		"sender":                     {30, func(n int) outgoing { return outgoing{target: "t", sender: strings.Repeat("s", n), msg: pieces{}} }},
		"headers":                    {3, func(n int) outgoing { return outgoing{target: "t", header: headers(n), msg: pieces{}} }},
		"bytes of headers": {50, func(n int) outgoing {
			return outgoing{target: "t", header: map[string]string{"k": strings.Repeat("v", n-1)}, msg: pieces{}}
		}},
		"type name": {40, func(n int) outgoing { return outgoing{target: "t", msg: core.Message{Type: strings.Repeat("n", n)}} }},
	}
	for name, tt := range tests {
		for _, n := range []int{tt.bound - 1, tt.bound, tt.bound + 1} {
			o := tt.make(n)
			b := newBuilder(l)
			err := b.add(&o)
			if (err != nil) != (n > tt.bound) {
				t.Errorf("%s of %d, bound %d: %v", name, n, tt.bound, err)
			}
			if err != nil && (!errors.Is(err, core.ErrInvalid) || b.count != 0 || len(b.buf) != frameHead) {
				t.Errorf("%s of %d: error %v leaves %d bytes", name, n, err, len(b.buf))
			}
		}
	}
	for _, bad := range []outgoing{{target: "t", msg: 7}, {target: "", msg: pieces{}}, {target: "t", msg: core.Message{}}, {target: "t", msg: nil}} {
		if err := newBuilder(l).add(&bad); err == nil {
			t.Errorf("%+v was added", bad)
		}
	}
}

func TestHeaderLimitsOfTheReader(t *testing.T) {
	l := testLimits(t, func(l *Limits) { l.Headers, l.HeaderBytes = 3, 50 })
	for n := range 6 {
		h := map[string]string{}
		for i := range n {
			h[fmt.Sprint(i)] = "v"
		}
		b := appendHeader(nil, h)
		got, err := parseHeader(b[2:], l)
		if (err != nil) != (n > 3) {
			t.Errorf("%d headers: %v", n, err)
		}
		if err == nil && n > 0 && !reflect.DeepEqual(got, h) {
			t.Errorf("%d headers: %v", n, got)
		}
	}
	for n := 49; n <= 51; n++ {
		b := appendHeader(nil, map[string]string{"k": strings.Repeat("v", n-1)})
		if _, err := parseHeader(b[2:], l); (err != nil) != (n > 50) {
			t.Errorf("headers of %d bytes: %v", n, err)
		}
	}
	for _, bad := range []string{"\x0a", "\x0a\x05\x0a\x01", "\x0a\x03\x0a\x01\xff", "\xff"} {
		if _, err := parseHeader([]byte(bad), l); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}

func TestPaddedLengths(t *testing.T) {
	for _, n := range []int{0, 1, 127, 128, 16_383, 16_384, 1<<21 - 1} {
		b := make([]byte, lengthBytes)
		putPadded(b, n)
		var m remotepb.MessageEnvelope
		frame := append([]byte{tagData}, append(b, make([]byte, n)...)...)
		if err := proto.Unmarshal(frame, &m); err != nil || len(m.GetMessageData()) != n {
			t.Errorf("%d: %d, %v", n, len(m.GetMessageData()), err)
		}
	}
}
