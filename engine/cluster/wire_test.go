package cluster

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/granary-go/granary/core"
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
	view := stamp{"L", 7, 1 << 60}
	message := core.Message{Type: "a.B", Data: []byte("data")}
	tests := []struct {
		own  encoder
		want proto.Message
	}{
		{&wireRequest{}, &clusterpb.GrainRequest{}},
		{&wireRequest{index: -1, data: []byte("d"), codec: "json", method: []byte("Say"), routed: true, id: core.Identity{Kind: "K", Key: "k"}, view: view, remaining: time.Second, idempotent: true, chain: []string{"K/a", "K/b"}}, &clusterpb.GrainRequest{
			MethodIndex: -1, MessageData: []byte("d"), MessageTypeName: "json", Method: "Say", Kind: "K", Identity: "k", RemainingMicros: 1e6, Idempotent: true, CallChain: []string{"K/a", "K/b"},
			View: &granarypb.ViewStamp{Lineage: "L", Epoch: 7, Hash: 1 << 60},
		}},
		{&wireResponse{data: []byte("d"), codec: "json", place: place}, &clusterpb.GrainResponse{MessageData: []byte("d"), MessageTypeName: "json", Placement: &granarypb.Placement{Pid: pid(place.PID), Token: &granarypb.Token{Epoch: 3, Seq: 9}}}},
		{&wireCancel{5}, &granarypb.CancelCall{RequestId: 5}},
		{&wireEnds{[]core.Activation{{Identity: core.Identity{Kind: "K", Key: "k"}, Placement: place}}}, &granarypb.ActivationsTerminated{Ends: []*granarypb.ActivationEnd{{Identity: "k", Kind: "K", Placement: &granarypb.Placement{Pid: pid(place.PID), Token: &granarypb.Token{Epoch: 3, Seq: 9}}}}}},
		{&wireEnvelope{typ: typeLookup, view: &view, message: message, remaining: time.Second}, &granarypb.LookupRequest{View: &granarypb.ViewStamp{Lineage: "L", Epoch: 7, Hash: 1 << 60}, TypeName: "a.B", Data: []byte("data"), RemainingMicros: 1e6}},
		{&wireEnvelope{typ: typeLookupAnswer, view: &view, message: message}, &granarypb.LookupResponse{View: &granarypb.ViewStamp{Lineage: "L", Epoch: 7, Hash: 1 << 60}, TypeName: "a.B", Data: []byte("data")}},
		{&wireEnvelope{typ: typeProcess, message: message, remaining: time.Second}, &granarypb.ProcessRequest{TypeName: "a.B", Data: []byte("data"), RemainingMicros: 1e6}},
		{&wireEnvelope{typ: typeProcessAnswer, message: message}, &granarypb.ProcessResponse{TypeName: "a.B", Data: []byte("data")}},
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
	request := wireRequest{index: 2, data: []byte("d"), codec: "json", method: []byte("Say"), routed: true, id: core.Identity{Kind: "K", Key: "k"}, view: stamp{"L", 7, 8}, remaining: time.Second, idempotent: true, chain: []string{"K/a"}}
	data, _ := request.AppendWire(nil)
	var gotRequest wireRequest
	if err := parseRequest(data, &gotRequest); err != nil || !reflect.DeepEqual(gotRequest, request) {
		t.Errorf("%+v, %v", gotRequest, err)
	}
	response := wireResponse{data: []byte("d"), codec: "json", place: place}
	data, _ = response.AppendWire(nil)
	var gotResponse wireResponse
	if err := parseResponse(data, &gotResponse); err != nil || !reflect.DeepEqual(gotResponse, response) {
		t.Errorf("%+v, %v", gotResponse, err)
	}
	ends := wireEnds{[]core.Activation{{Identity: core.Identity{Kind: "K", Key: "k"}, Placement: place}}}
	data, _ = ends.AppendWire(nil)
	var got []core.Activation
	if err := eachEnd(data, func(a core.Activation) { got = append(got, a) }); err != nil || !reflect.DeepEqual(got, ends.ends) {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestWireTakesAnything feeds what a broken or hostile peer may send: truncated at each byte, and at
// random. Nothing panics, and whatever is refused says so.
func TestWireTakesAnything(t *testing.T) {
	request := wireRequest{index: 2, data: []byte("data"), method: []byte("Say"), routed: true, id: core.Identity{Kind: "K", Key: "k"}, view: stamp{"L", 7, 8}, remaining: time.Second, chain: []string{"K/a"}}
	whole, _ := request.AppendWire(nil)
	r := rand.New(rand.NewPCG(1, 2))
	try := func(data []byte) {
		for _, parse := range []func() error{
			func() error { return parseRequest(data, &wireRequest{}) },
			func() error { return parseResponse(data, &wireResponse{}) },
			func() error { return eachEnd(data, func(core.Activation) {}) },
			func() error { _, err := parseCancel(data); return err },
			func() error { return (&wireEnvelope{view: &stamp{}}).parse(data) },
			func() error { return (&wireEnvelope{}).parse(data) },
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
	for range maxChain + 1 {
		deep = appendString(deep, 107, "K/a")
	}
	if err := parseRequest(deep, &wireRequest{}); !errors.Is(err, core.ErrInvalid) {
		t.Errorf("a chain of %d: %v", maxChain+1, err)
	}
	if err := parseRequest(deep[:len(deep)-len(deep)/(maxChain+1)], &wireRequest{}); err != nil {
		t.Errorf("a chain of %d: %v", maxChain, err)
	}
	if err := parseRequest(appendVarint(nil, 105, 1<<63), &wireRequest{}); err != nil {
		t.Errorf("a remaining time beyond all: %v", err)
	}
}

func FuzzParseRequest(f *testing.F) {
	request := wireRequest{index: 2, data: []byte("data"), method: []byte("Say"), routed: true, id: core.Identity{Kind: "K", Key: "k"}, view: stamp{"L", 7, 8}, remaining: time.Second, chain: []string{"K/a"}}
	whole, _ := request.AppendWire(nil)
	f.Add(whole)
	f.Fuzz(func(t *testing.T, data []byte) {
		var own wireRequest
		p := &clusterpb.GrainRequest{}
		if err := parseRequest(data, &own); err != nil {
			return
		}
		if err := proto.Unmarshal(data, p); err != nil || len(p.ProtoReflect().GetUnknown()) > 0 {
			return // UTF-8 and wire types are judged by whoever uses the field
		}
		if own.index != p.GetMethodIndex() || own.id.Key != p.GetIdentity() || own.idempotent != p.GetIdempotent() || !bytes.Equal(own.data, p.GetMessageData()) {
			t.Fatalf("%x: %+v, the generated code reads %v", data, own, p)
		}
	})
}
