package disthash

import (
	"context"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/fuzztest"
	"github.com/granary-go/granary/protos/actorpb"
	"github.com/granary-go/granary/protos/clusterpb"
)

// FuzzHandle: whatever another member sends is answered, or refused with a typed error that says that
// nothing ran.
func FuzzHandle(f *testing.F) {
	f.Add(typeRequest, mustRequest(f, identity(1)).Data)
	f.Add(typeRequest, []byte{})
	f.Add(typeSettledRequest, []byte{})
	f.Add("x", []byte{1})
	l, err := New(Config{})
	if err != nil {
		f.Fatal(err)
	}
	h := &fakeHost{c: newFakeCluster(f), lookup: l, self: member(0, "Cart"), activations: map[core.Identity]*fakeActivation{}, counts: map[string]int64{},
		stopTime: func(core.Identity) time.Duration { return 0 }}
	if err := l.Start(f.Context(), h, h.env()); err != nil {
		f.Fatal(err)
	}
	if err := l.Reshape(core.Diff(nil, view(f, members(2)...))); err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = l.Stop(context.Background()) })
	f.Fuzz(func(t *testing.T, name string, data []byte) {
		d := fuzztest.Decoder[string]{
			Decode: func(data []byte) (string, error) {
				answer, err := l.Handle(t.Context(), member(1, "Cart"), core.Message{Type: name, Data: data})
				if err != nil && core.DeliveryOf(err) != core.Undelivered {
					t.Fatalf("%v (%v)", err, core.DeliveryOf(err))
				}
				return answer.Type, err
			},
			Errors: append([]error{core.ErrInvalid, core.ErrUnsupported}, refusals...),
		}
		if answer, ok := d.Check(t, data); ok && answer != typeResponse && answer != typeSettledResponse {
			t.Fatalf("answer of type %q", answer)
		}
	})
}

// FuzzRequest: an identity that is read comes back.
func FuzzRequest(f *testing.F) {
	f.Add(mustRequest(f, identity(1)).Data)
	f.Add([]byte("\x0a\x00"))
	v := view(f, members(2)...)
	d := fuzztest.Decoder[core.Identity]{
		Decode: decodeRequest,
		Encode: func(id core.Identity) ([]byte, error) {
			m, err := encodeRequest(id, v, false)
			return m.Data, err
		},
	}
	f.Fuzz(func(t *testing.T, data []byte) { d.Check(t, data) })
}

// answered is what a response says.
type answered struct {
	core.Placement
	redirect core.MemberID
}

// FuzzResponse: a placement names a process, and comes back.
func FuzzResponse(f *testing.F) {
	for _, r := range []*clusterpb.ActivationResponse{
		{Pid: &actorpb.PID{Address: "h:1", Id: "g/1"}, Token: encodeToken(core.Token{Epoch: 3, Seq: 4})},
		{Failed: true, Reason: "busy", RetryAfterMicros: 5}, {Failed: true, Redirect: "m"},
	} {
		b, err := proto.Marshal(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	d := fuzztest.Decoder[answered]{
		Decode: func(data []byte) (a answered, err error) {
			a.Placement, a.redirect, err = decodeResponse(core.Message{Type: typeResponse, Data: data}, member(1, "Cart"))
			return a, err
		},
		Encode: func(a answered) ([]byte, error) {
			r := &clusterpb.ActivationResponse{Failed: true, Redirect: string(a.redirect)}
			if a.redirect == "" {
				r = &clusterpb.ActivationResponse{Pid: encodePID(a.PID), Token: encodeToken(a.Token)}
			}
			return proto.MarshalOptions{Deterministic: true}.Marshal(r)
		},
		Errors: append([]error{core.ErrInvalid}, refusals...),
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		a, ok := d.Check(t, data)
		if ok && a.redirect == "" && (a.PID.Address == "" || a.PID.ID == "" || a.PID.Member == "") {
			t.Fatalf("a placement that names nobody: %+v", a)
		}
	})
}
