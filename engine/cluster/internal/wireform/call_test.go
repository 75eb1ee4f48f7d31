package wireform

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/internal/convert"
	"github.com/granary-go/granary/protos/clusterpb"
	"github.com/granary-go/granary/protos/granarypb"
)

// deterministic is how the generated code writes.
var deterministic = proto.MarshalOptions{Deterministic: true}

type encoder interface {
	WireType() string
	AppendWire(b []byte) ([]byte, error)
}

// TestWireFormsAreThoseOfTheSchema holds what is written by hand to the generated code.
func TestWireFormsAreThoseOfTheSchema(t *testing.T) {
	place := core.Placement{PID: core.PID{Address: "h:1", ID: "g/x", Member: "m"}, Token: core.Token{Epoch: 3, Seq: 9}}
	view := Stamp{"L", 7, 1 << 60}
	message := core.Message{Type: "a.B", Data: []byte("data")}
	tests := []struct {
		own  encoder
		want proto.Message
	}{
		{&Request{}, &clusterpb.GrainRequest{}},
		{&Request{Index: -1, Data: []byte("d"), Codec: "json", Method: "Say", Routed: true, ID: core.Identity{Kind: "K", Key: "k"}, View: view, Remaining: time.Second, Idempotent: true, Chain: []string{"K/a", "K/b"}, Locate: true}, &clusterpb.GrainRequest{
			MethodIndex: -1, MessageData: []byte("d"), MessageTypeName: "json", Method: "Say", Kind: "K", Identity: "k", RemainingMicros: 1e6, Idempotent: true, CallChain: []string{"K/a", "K/b"}, Locate: true,
			View: &granarypb.ViewStamp{Lineage: "L", Epoch: 7, Hash: 1 << 60},
		}},
		{&Response{Data: []byte("d"), Codec: "json", Place: place}, &clusterpb.GrainResponse{MessageData: []byte("d"), MessageTypeName: "json", Placement: &granarypb.Placement{Pid: convert.PIDToProto(place.PID), Token: &granarypb.Token{Epoch: 3, Seq: 9}}}},
		{&Cancel{5}, &granarypb.CancelCall{RequestId: 5}},
		{&Ends{[]core.Activation{{Identity: core.Identity{Kind: "K", Key: "k"}, Placement: place}}}, &granarypb.ActivationsTerminated{Ends: []*granarypb.ActivationEnd{{Identity: "k", Kind: "K", Placement: &granarypb.Placement{Pid: convert.PIDToProto(place.PID), Token: &granarypb.Token{Epoch: 3, Seq: 9}}}}}},
		{&Envelope{Type: TypeLookup, View: &view, Message: message, Remaining: time.Second}, &granarypb.LookupRequest{View: &granarypb.ViewStamp{Lineage: "L", Epoch: 7, Hash: 1 << 60}, TypeName: "a.B", Data: []byte("data"), RemainingMicros: 1e6}},
		{&Envelope{Type: TypeLookupAnswer, View: &view, Message: message}, &granarypb.LookupResponse{View: &granarypb.ViewStamp{Lineage: "L", Epoch: 7, Hash: 1 << 60}, TypeName: "a.B", Data: []byte("data")}},
		{&Envelope{Type: TypeProcess, Message: message, Remaining: time.Second}, &granarypb.ProcessRequest{TypeName: "a.B", Data: []byte("data"), RemainingMicros: 1e6}},
		{&Envelope{Type: TypeProcessAnswer, Message: message}, &granarypb.ProcessResponse{TypeName: "a.B", Data: []byte("data")}},
	}
	for _, test := range tests {
		if got, want := test.own.WireType(), string(test.want.ProtoReflect().Descriptor().FullName()); got != want {
			t.Errorf("%T is %s, want %s", test.own, got, want)
		}
		got, err := test.own.AppendWire([]byte("before"))
		if err != nil {
			t.Fatal(err)
		}
		want, err := deterministic.Marshal(test.want)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, append([]byte("before"), want...)) {
			t.Errorf("%T:\n got %x\nwant %x", test.own, got[6:], want)
		}
	}
}

func TestWireRoundTrips(t *testing.T) {
	place := core.Placement{PID: core.PID{Address: "h:1", ID: "g/x", Member: "m"}, Token: core.Token{Epoch: 3, Seq: 9}}
	request := Request{Index: 2, Data: []byte("d"), Codec: "json", Method: "Say", Routed: true, ID: core.Identity{Kind: "K", Key: "k"}, View: Stamp{"L", 7, 8}, Remaining: time.Second, Idempotent: true, Chain: []string{"K/a"}, Locate: true}
	data, _ := request.AppendWire(nil)
	var gotRequest Request
	if err := ParseRequest(data, &gotRequest); err != nil || string(gotRequest.Name) != "Say" || !reflect.DeepEqual(arrived(gotRequest), request) {
		t.Errorf("%+v, %v", gotRequest, err)
	}
	response := Response{Data: []byte("d"), Codec: "json", Place: place}
	data, _ = response.AppendWire(nil)
	var gotResponse Response
	if err := ParseResponse(data, &gotResponse); err != nil || !reflect.DeepEqual(gotResponse, response) {
		t.Errorf("%+v, %v", gotResponse, err)
	}
	ends := Ends{[]core.Activation{{Identity: core.Identity{Kind: "K", Key: "k"}, Placement: place}}}
	data, _ = ends.AppendWire(nil)
	var got []core.Activation
	if err := EachEnd(data, func(a core.Activation) { got = append(got, a) }); err != nil || !reflect.DeepEqual(got, ends.Ends) {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestWireTakesAnything feeds what a broken or hostile peer may send: truncated at each byte, and at
// random. Nothing panics, and whatever is refused says so.
func TestWireTakesAnything(t *testing.T) {
	request := Request{Index: 2, Data: []byte("data"), Method: "Say", Routed: true, ID: core.Identity{Kind: "K", Key: "k"}, View: Stamp{"L", 7, 8}, Remaining: time.Second, Chain: []string{"K/a"}}
	whole, _ := request.AppendWire(nil)
	r := rand.New(rand.NewPCG(1, 2))
	try := func(data []byte) {
		for _, parse := range []func() error{
			func() error { return ParseRequest(data, &Request{}) },
			func() error { return ParseResponse(data, &Response{}) },
			func() error { return EachEnd(data, func(core.Activation) {}) },
			func() error { _, err := ParseCancel(data); return err },
			func() error { return (&Envelope{View: &Stamp{}}).Parse(data) },
			func() error { return (&Envelope{}).Parse(data) },
		} {
			if err := parse(); err != nil && !errors.Is(err, core.ErrInvalid) {
				t.Fatalf("%x: %v", data, err)
			}
		}
	}
	for i := range whole {
		try(whole[:i])
	}
	for range 20_000 {
		data := make([]byte, r.IntN(40))
		for i := range data {
			data[i] = byte(r.IntN(256))
		}
		try(data)
	}
	var deep []byte
	for range MaxChain + 1 {
		deep = appendString(deep, 107, "K/a")
	}
	if err := ParseRequest(deep, &Request{}); !errors.Is(err, core.ErrInvalid) {
		t.Errorf("a chain of %d: %v", MaxChain+1, err)
	}
	if err := ParseRequest(deep[:len(deep)-len(deep)/(MaxChain+1)], &Request{}); err != nil {
		t.Errorf("a chain of %d: %v", MaxChain, err)
	}
	if err := ParseRequest(appendVarint(nil, 105, 1<<63), &Request{}); err != nil {
		t.Errorf("a remaining time beyond all: %v", err)
	}
}

// TestWireTypesAreChecked sends each known field of each message with every wire type: what the schema
// does not say is refused. Unknown fields of any type are skipped.
func TestWireTypesAreChecked(t *testing.T) {
	forms := map[protowire.Type][]byte{
		protowire.VarintType: {1}, protowire.Fixed64Type: make([]byte, 8), protowire.BytesType: {0},
		protowire.Fixed32Type: make([]byte, 4), protowire.StartGroupType: nil, // ended below
	}
	const (
		v = protowire.VarintType
		b = protowire.BytesType
	)
	inside := func(outer ...protowire.Number) func([]byte) []byte {
		return func(data []byte) []byte {
			for _, num := range outer {
				data = protowire.AppendBytes(protowire.AppendTag(nil, num, b), data)
			}
			return data
		}
	}
	stampTypes := map[protowire.Number]protowire.Type{1: b, 2: v, 3: protowire.Fixed64Type}
	tests := []struct {
		name  string
		types map[protowire.Number]protowire.Type
		wrap  func([]byte) []byte
		parse func([]byte) error
	}{
		{"request", map[protowire.Number]protowire.Type{1: v, 2: b, 3: b, 100: b, 101: b, 102: b, 103: b, 105: v, 106: v, 107: b, 108: v}, inside(), func(data []byte) error { return ParseRequest(data, &Request{}) }},
		{"view", stampTypes, inside(102), func(data []byte) error { return ParseRequest(data, &Request{}) }},
		{"response", map[protowire.Number]protowire.Type{1: b, 2: b, 100: b}, inside(), func(data []byte) error { return ParseResponse(data, &Response{}) }},
		{"placement", map[protowire.Number]protowire.Type{1: b, 2: b}, inside(100), func(data []byte) error { return ParseResponse(data, &Response{}) }},
		{"pid", map[protowire.Number]protowire.Type{1: b, 2: b, 100: b}, inside(1, 100), func(data []byte) error { return ParseResponse(data, &Response{}) }},
		{"token", map[protowire.Number]protowire.Type{1: v, 2: v}, inside(2, 100), func(data []byte) error { return ParseResponse(data, &Response{}) }},
		{"cancel", map[protowire.Number]protowire.Type{1: v}, inside(), func(data []byte) error { _, err := ParseCancel(data); return err }},
		{"ends", map[protowire.Number]protowire.Type{1: b}, inside(), func(data []byte) error { return EachEnd(data, func(core.Activation) {}) }},
		{"end", map[protowire.Number]protowire.Type{1: b, 2: b, 3: b}, inside(1), func(data []byte) error { return EachEnd(data, func(core.Activation) {}) }},
		{"lookup", map[protowire.Number]protowire.Type{1: b, 2: b, 3: b, 4: v}, inside(), func(data []byte) error { return (&Envelope{View: &Stamp{}}).Parse(data) }},
		{"view of a lookup", stampTypes, inside(1), func(data []byte) error { return (&Envelope{View: &Stamp{}}).Parse(data) }},
		{"process", map[protowire.Number]protowire.Type{1: b, 2: b, 3: v}, inside(), func(data []byte) error { return (&Envelope{}).Parse(data) }},
	}
	for _, test := range tests {
		for num := protowire.Number(1); num <= 200; num++ {
			want, known := test.types[num]
			for typ, form := range forms {
				data := append(protowire.AppendTag(nil, num, typ), form...)
				if typ == protowire.StartGroupType {
					data = protowire.AppendTag(data, num, protowire.EndGroupType)
				}
				err := test.parse(test.wrap(data))
				if refused := known && typ != want; (err != nil) != refused || err != nil && !errors.Is(err, core.ErrInvalid) {
					t.Errorf("%s: field %d of wire type %d: %v, want an error: %v", test.name, num, typ, err, refused)
				}
			}
		}
	}
}

// TestErrorsOfParsersStay when what follows them is right.
func TestErrorsOfParsersStay(t *testing.T) {
	var deep []byte
	for range MaxChain + 1 {
		deep = appendString(deep, 107, "K/a")
	}
	deep = appendBytes(deep, 102, Stamp{"L", 7, 8}.append(nil))
	if err := ParseRequest(deep, &Request{}); !errors.Is(err, core.ErrInvalid) {
		t.Errorf("a chain too long, then a view: %v", err)
	}
	view := protowire.AppendBytes(protowire.AppendTag(nil, 102, protowire.BytesType), []byte{0x0a, 0x05})
	view = appendBytes(view, 102, Stamp{"L", 7, 8}.append(nil))
	if err := ParseRequest(view, &Request{}); !errors.Is(err, core.ErrInvalid) {
		t.Errorf("a broken view, then a good one: %v", err)
	}
	broken := appendBytes(nil, 100, protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), []byte{0x0a, 0x05}))
	broken = appendBytes(broken, 100, appendPlacement(nil, somewhere))
	if err := ParseResponse(broken, &Response{}); !errors.Is(err, core.ErrInvalid) {
		t.Errorf("a broken placement, then a good one: %v", err)
	}
	pid := protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), []byte{0x0a, 0x05})
	if err := ParseResponse(appendBytes(nil, 100, append(pid, appendPlacement(nil, somewhere)...)), &Response{}); !errors.Is(err, core.ErrInvalid) {
		t.Errorf("a broken PID, then a good one: %v", err)
	}
}

// FuzzParseRequest: what is taken reads as the generated code reads it, and comes back when it is
// written again; what is not is refused by a typed error; either costs memory in proportion.
func FuzzParseRequest(f *testing.F) {
	request := Request{Index: 2, Data: []byte("data"), Method: "Say", Routed: true, ID: core.Identity{Kind: "K", Key: "k"}, View: Stamp{"L", 7, 8}, Remaining: time.Second, Chain: []string{"K/a"}}
	whole, _ := request.AppendWire(nil)
	f.Add(whole)
	request.Index, request.Codec, request.Idempotent = -1, "json", true
	whole, _ = request.AppendWire(nil)
	f.Add(whole)
	f.Add(bytes.Repeat(whole, 20))
	f.Fuzz(func(t *testing.T, data []byte) {
		var own Request
		var err error
		used := allocated(func() { err = ParseRequest(data, &own) })
		if limit := uint64(8*len(data) + 64<<10); used > limit {
			t.Fatalf("%d bytes allocated for %d, the limit is %d", used, len(data), limit)
		}
		if err != nil {
			if !errors.Is(err, core.ErrInvalid) {
				t.Fatalf("untyped error: %v", err)
			}
			return
		}
		own = arrived(own)
		again, err := own.AppendWire(nil)
		if err != nil {
			t.Fatal(err)
		}
		var back Request
		if err := ParseRequest(again, &back); err != nil || !reflect.DeepEqual(normal(own), normal(back)) {
			t.Fatalf("%x: %+v came back as %+v, %v", data, own, back, err)
		}
		p := &clusterpb.GrainRequest{}
		if err := proto.Unmarshal(data, p); err != nil {
			return // UTF-8 is judged by whoever uses the field
		}
		if !reflect.DeepEqual(normal(own), normal(fromProto(p, own.Routed))) {
			t.Fatalf("%x: %+v, the generated code reads %v", data, own, p)
		}
	})
}

// normal is r without what makes no difference: empty identities of the chain, which are not written,
// and empty slices.
func normal(r Request) Request {
	r = arrived(r)
	r.Data = append([]byte(nil), r.Data...)
	r.Chain = append([]string(nil), slices.DeleteFunc(slices.Clone(r.Chain), func(id string) bool { return id == "" })...)
	return r
}

// arrived is r, as it arrived, to be sent on.
func arrived(r Request) Request {
	if r.Name != nil {
		r.Method, r.Name = string(r.Name), nil
	}
	return r
}

func fromProto(p *clusterpb.GrainRequest, routed bool) Request {
	remaining := field{value: uint64(p.GetRemainingMicros()), typ: protowire.VarintType}
	r := Request{
		Index: p.GetMethodIndex(), Data: p.GetMessageData(), Codec: p.GetMessageTypeName(), Method: p.GetMethod(), Routed: routed,
		ID: core.Identity{Kind: p.GetKind(), Key: p.GetIdentity()}, Idempotent: p.GetIdempotent(), Chain: p.GetCallChain(),
		View: Stamp{p.GetView().GetLineage(), p.GetView().GetEpoch(), p.GetView().GetHash()},
	}
	_ = remaining.micros(&r.Remaining) // it is a number
	return r
}
