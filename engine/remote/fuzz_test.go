package remote

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/actor"
	"github.com/granary-go/granary/engine/internal/convert"
	"github.com/granary-go/granary/protos/actorpb"
	"github.com/granary-go/granary/protos/granarypb"
	"github.com/granary-go/granary/protos/remotepb"
)

// FuzzFrame: no panic, memory bounded by the input, and the same reading as the generated decoder.
func FuzzFrame(f *testing.F) {
	l := testLimits(f, nil)
	for _, c := range captures(f) {
		f.Add(c.bytes(f))
	}
	f.Add([]byte{tagDisconnect, 0})
	f.Add(rawBatch(&remotepb.MessageBatch{TypeNames: []string{"a.B"}, Targets: []*actorpb.PID{{Id: "x", Member: "m"}},
		Envelopes: []*remotepb.MessageEnvelope{{RequestId: 1, MessageHeader: &remotepb.MessageHeader{HeaderData: map[string]string{"a": "b"}}}}}))
	f.Fuzz(func(t *testing.T, frame []byte) {
		if err := agree(frame, l); err != nil {
			if _, ok := errors.AsType[*protocolError](err); !ok {
				t.Fatal(err)
			}
		}
		var p batch
		bounded(t, frame, func() {
			p = batch{}
			tag, body, err := frameBody(frame)
			if err != nil || tag != tagBatch || p.parse(body, l) != nil {
				p = batch{}
			}
			_ = p.each(func(e *envelope) error {
				_, _ = parseHeader(e.header, l)
				return nil
			})
		})
		_ = p.each(func(e *envelope) error {
			rebuild(t, &p, e, l)
			return nil
		})
	})
}

// FuzzBuild: what the builder writes is read back as it was.
func FuzzBuild(f *testing.F) {
	f.Add("target", "sender", "type", []byte("data"), "k", "v", uint64(1), uint64(0))
	f.Add("t", "", "x.Y", []byte(nil), "", "", uint64(math.MaxUint64), uint64(3))
	l := testLimits(f, nil)
	f.Fuzz(func(t *testing.T, target, sender, typ string, data []byte, key, value string, request, reply uint64) {
		b := newBuilder(l)
		o := outgoing{target: target, sender: sender, msg: core.Message{Type: typ, Data: data}, requestID: request, replyTo: reply}
		if key != "" {
			o.header = map[string]string{key: value}
		}
		for range 2 {
			if err := b.add(&o); err != nil {
				return
			}
		}
		_, body, err := frameBody(b.finish())
		if err != nil {
			t.Fatal(err)
		}
		var p batch
		if p.parse(body, l) != nil {
			return // a name that is not UTF-8: the reader refuses it
		}
		if len(p.types) != 1 || len(p.targets) != 1 || p.envelopes != 2 {
			t.Fatalf("%d types, %d targets, %d envelopes", len(p.types), len(p.targets), p.envelopes)
		}
		err = p.each(func(e *envelope) error {
			if string(p.types[e.typ]) != typ || !bytes.Equal(e.data, data) || e.requestID != request || e.replyTo != reply || (e.sender != 0) != (sender != "") {
				return fmt.Errorf("read %+v", e)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

// rebuild writes an envelope that was read into a frame of its own and reads it again. What the builder
// may not send is left out.
func rebuild(t *testing.T, p *batch, e *envelope, l *Limits) {
	to, err := parsePID(p.targets[e.target], l)
	header, herr := parseHeader(e.header, l)
	for _, err := range []error{err, herr} {
		if err != nil && !errors.Is(err, core.ErrInvalid) {
			t.Fatalf("not typed: %v", err)
		}
	}
	if err != nil || herr != nil {
		return
	}
	b := newBuilder(l)
	b.there = string(to.address)
	o := outgoing{target: string(to.id), msg: core.Message{Type: string(p.types[e.typ]), Data: e.data}, header: header, requestID: e.requestID, replyTo: e.replyTo}
	if b.add(&o) != nil {
		return
	}
	_, body, err := frameBody(b.finish())
	var again batch
	if err != nil || again.parse(body, l) != nil {
		t.Fatalf("a frame of %+v cannot be read", o)
	}
	err = again.each(func(e2 *envelope) error {
		to2, err := parsePID(again.targets[e2.target], l)
		header2, herr := parseHeader(e2.header, l)
		if err != nil || herr != nil || !reflect.DeepEqual(header, header2) || !bytes.Equal(to.id, to2.id) || !bytes.Equal(to.address, to2.address) ||
			!bytes.Equal(e.data, e2.data) || e.requestID != e2.requestID || e.replyTo != e2.replyTo || !bytes.Equal(p.types[e.typ], again.types[e2.typ]) {
			return fmt.Errorf("read %+v of %+v: %w, %w", e2, o, err, herr)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// bounded runs f, which decodes in, and holds what it allocates to 8 times the input and 64 KiB. f may
// run more than once.
func bounded(t *testing.T, in []byte, f func()) {
	t.Helper()
	if used, limit := allocated(f), uint64(8*len(in)+64<<10); used > limit {
		t.Fatalf("%d bytes for an input of %d, at most %d are allowed", used, len(in), limit)
	}
}

// FuzzPID: no panic, typed errors, little memory, the same reading as the generated decoder where both
// accept, and what is read is written as it was.
func FuzzPID(f *testing.F) {
	l := testLimits(f, nil)
	f.Add([]byte("\x0a\x01a\x12\x01b\xa2\x06\x01c"))
	f.Add([]byte("\x18\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var p pidView
		var err error
		bounded(t, b, func() { p, err = parsePID(b, l) })
		if err != nil {
			if !errors.Is(err, core.ErrInvalid) {
				t.Fatalf("not typed: %v", err)
			}
			return
		}
		if again, err := parsePID(skipLength(appendPID(nil, string(p.address), string(p.id))), l); err != nil || !bytes.Equal(again.id, p.id) || !bytes.Equal(again.address, p.address) {
			t.Fatalf("round trip: %+v, %v, was %+v", again, err, p)
		}
		var m actorpb.PID
		if err := proto.Unmarshal(b, &m); err != nil {
			return
		}
		if m.GetAddress() != string(p.address) || m.GetId() != string(p.id) || m.GetMember() != string(p.member) {
			t.Fatalf("read %q %q %q, want %v", p.address, p.id, p.member, &m)
		}
	})
}

func skipLength(b []byte) []byte {
	_, n := protowire.ConsumeVarint(b)
	return b[n:]
}

// FuzzHandshake: no panic, typed refusals, little memory, what is accepted is within the bounds and is
// written as it was read.
func FuzzHandshake(f *testing.F) {
	for _, c := range captures(f) {
		f.Add(c.bytes(f))
	}
	for _, h := range []hello{
		{member: "a", address: "a:1", cluster: "c", epoch: 1, target: "b", protocol: Protocol()},
		{member: "a", client: true, cluster: "c", epoch: 1 << 60, target: "b"},
	} {
		frame, err := h.frame()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(frame)
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		var h hello
		var refused *refusal
		bounded(t, frame, func() { h, refused = parseHello(frame) })
		if refused != nil {
			if refused.reason != RefusedInvalid || refused.text == "" {
				t.Fatalf("not typed: %v", refused)
			}
			return
		}
		if checkName(string(h.member), maxMemberID) != nil || len(h.cluster) > MaxCluster || !h.client && h.address == "" {
			t.Fatalf("accepted %+v", h)
		}
		again, err := h.frame()
		if err != nil {
			t.Fatal(err)
		}
		if h2, r := parseHello(again); r != nil || h2 != h {
			t.Fatalf("round trip: %+v, %v, was %+v", h2, r, h)
		}
	})
}

// FuzzResponse: no panic, typed errors, little memory; an answer that this side writes is read as it was.
func FuzzResponse(f *testing.F) {
	h := hello{member: "a", address: "a:1", cluster: "c", epoch: 7, target: "b", protocol: Protocol()}
	cfg := Config{Cluster: "c", Member: "b"}
	for _, r := range []*refusal{nil, refuse(RefusedBlocked, "no"), refuse(RefusedEpoch, "old")} {
		frame, err := cfg.response(h, r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(frame, uint8(3), "text")
	}
	f.Fuzz(func(t *testing.T, frame []byte, reason uint8, text string) {
		var err error
		bounded(t, frame, func() { err = parseResponse(frame, h, "b:1") })
		if err != nil && !errors.Is(err, core.ErrUnreachable) {
			t.Fatalf("not typed: %v", err)
		}
		text = strings.ToValidUTF8(text, "")
		again, err := cfg.response(h, refuse(Refusal(reason), "%s", text))
		if err != nil || len(again) > maxHello {
			return
		}
		got, ok := errors.AsType[*RefusedError](parseResponse(again, h, "b:1"))
		if !ok || got.Reason != Refusal(reason) || got.Text != text {
			t.Fatalf("round trip: %+v, want %v %q", got, Refusal(reason), text)
		}
	})
}

// FuzzSystem: no panic, typed errors and little memory for the messages of the runtime and of the link.
func FuzzSystem(f *testing.F) {
	watch := &actorpb.Watch{Watcher: &actorpb.PID{Address: "b:1", Id: "w", Member: "b"}}
	for kind, m := range []proto.Message{watch, &actorpb.Unwatch{Watcher: watch.Watcher}, &actorpb.Terminated{Who: watch.Watcher, Why: 1}} {
		b, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(kind), b)
	}
	f.Add(uint8(3), []byte(frameSettled[2:]))
	peer := core.Member{ID: "b", Address: "b:1"}
	c := &conn{peer: &Peer{Member: peer}}
	f.Fuzz(func(t *testing.T, kind uint8, b []byte) {
		if kind%4 == 3 {
			var err error
			bounded(t, b, func() { _, err = parseDisconnect(b) })
			if _, ok := errors.AsType[*protocolError](err); err != nil && !ok {
				t.Fatalf("not typed: %v", err)
			}
			return
		}
		var pid core.PID
		var why actor.TerminatedReason
		var err error
		bounded(t, b, func() { pid, why, err = c.parseSystem([]string{typeWatch, typeUnwatch, typeTerminated}[kind%4], b) })
		if err != nil {
			if !errors.Is(err, core.ErrInvalid) && !errors.Is(err, ErrDenied) {
				t.Fatalf("not typed: %v", err)
			}
			return
		}
		if pid.Member != peer.ID || pid.Address != peer.Address || pid.ID == "" || why > actor.TerminatedUnwatchable {
			t.Fatalf("accepted %v, %v", pid, why)
		}
		again, err := proto.Marshal(&actorpb.Terminated{Who: convert.PIDToProto(pid), Why: reasonToProto(why)})
		if err != nil {
			t.Fatal(err)
		}
		if pid2, why2, err := c.parseSystem(typeTerminated, again); err != nil || pid2 != pid || why2 != why {
			t.Fatalf("round trip: %v %v %v, was %v %v", pid2, why2, err, pid, why)
		}
	})
}

// FuzzErrorAnswer: no panic, little memory, always an error with a delivery, and one that is written again
// is read as it was.
func FuzzErrorAnswer(f *testing.F) {
	var codec coreErrors
	for _, err := range []error{core.ErrBusy, &actor.DeadLetterError{Target: core.PID{Address: "a:1", ID: "x", Member: "m"}}, core.Retry(core.ErrOverloaded, time.Second)} {
		m := codec.EncodeError(err)
		b, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(m.ProtoReflect().Descriptor().FullName()) == typeCallError, b)
	}
	f.Fuzz(func(t *testing.T, call bool, b []byte) {
		name := map[bool]string{true: typeCallError, false: typeDeadLetter}[call]
		var got error
		var is bool
		bounded(t, b, func() { got, is = codec.DecodeError(name, b) })
		if !is || got == nil {
			t.Fatalf("%s is no error: %v", name, got)
		}
		m := codec.EncodeError(got)
		again, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		second, is := codec.DecodeError(string(m.ProtoReflect().Descriptor().FullName()), again)
		if !is || core.DeliveryOf(second) != core.DeliveryOf(got) || errors.Is(second, core.ErrStopped) != errors.Is(got, core.ErrStopped) {
			t.Fatalf("round trip: %v, was %v", second, got)
		}
	})
}

// FuzzReceipt: no panic, typed errors, little memory, and what is read is written as it was.
func FuzzReceipt(f *testing.F) {
	full := receipt{handled: 1, more: 2, refused: []refusedMessages{{"a", "b", "c", "d", 3}}}
	seed, err := full.AppendWire(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Add(bytes.Repeat([]byte{tagRefused, 0}, maxRefused+1))
	f.Fuzz(func(t *testing.T, b []byte) {
		var r receipt
		var err error
		bounded(t, b, func() { r, err = parseReceipt(b) })
		if err != nil {
			if _, ok := errors.AsType[*protocolError](err); !ok {
				t.Fatalf("not typed: %v", err)
			}
			return
		}
		again, err := r.AppendWire(nil)
		if err != nil {
			t.Fatal(err)
		}
		if r2, err := parseReceipt(again); err != nil || !reflect.DeepEqual(r, r2) {
			t.Fatalf("round trip: %+v, %v, was %+v", r2, err, r)
		}
		var m granarypb.Receipt
		if proto.Unmarshal(b, &m) == nil && (m.GetHandled() != r.handled || len(m.GetRefused()) != len(r.refused)) {
			t.Fatalf("read %+v, the generated decoder %v", r, &m)
		}
	})
}
