package wireform

import (
	"errors"
	"runtime"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/grain"
	"github.com/granary-go/granary/protos/clusterpb"
	"github.com/granary-go/granary/protos/granarypb"
)

var somewhere = core.Placement{PID: core.PID{Address: "10.0.0.1:7000", ID: "g/1", Member: "m1"}, Token: core.Token{Epoch: 3, Seq: 4}}

// allocated is how many bytes f allocates, by the counter of the whole process.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// What one message makes a member allocate is in proportion to its size.
func TestEndsCostNoMemory(t *testing.T) {
	for name, element := range map[string]string{
		"empty":     "",
		"malformed": "\x0a\x05",
		"broken":    "\x1a\x02\x0a\x05",
	} {
		var data []byte
		for len(data) < 1<<20 {
			data = protowire.AppendBytes(protowire.AppendTag(data, 1, protowire.BytesType), []byte(element))
		}
		n := 0
		used := allocated(func() {
			if err := EachEnd(data, func(core.Activation) { n++ }); (err != nil) != (name != "empty") || err != nil && !errors.Is(err, core.ErrInvalid) {
				t.Errorf("%s: %v", name, err)
			}
		})
		if limit := uint64(8*len(data) + 64<<10); used > limit {
			t.Errorf("%s: %d bytes allocated for %d, the limit is %d", name, used, len(data), limit)
		}
		if name == "empty" && n != len(data)/2 {
			t.Errorf("%d ends", n)
		}
	}
}

func FuzzEachEnd(f *testing.F) {
	a := core.Activation{Identity: core.Identity{Kind: "K", Key: "k"}, Placement: somewhere}
	whole, _ := (&Ends{[]core.Activation{a, a}}).AppendWire(nil)
	f.Add(whole)
	f.Fuzz(func(t *testing.T, data []byte) {
		var ends []core.Activation
		err := EachEnd(data, func(a core.Activation) {
			if a != (core.Activation{}) { // nothing is written for an empty one
				ends = append(ends, a)
			}
		})
		if err != nil {
			if !errors.Is(err, core.ErrInvalid) {
				t.Fatalf("untyped error: %v", err)
			}
			return
		}
		again, err := (&Ends{ends}).AppendWire(nil)
		if err != nil {
			t.Fatal(err)
		}
		i := 0
		err = EachEnd(again, func(a core.Activation) {
			if i >= len(ends) || a != ends[i] {
				t.Fatalf("end %d came back as %v", i, a)
			}
			i++
		})
		if err != nil || i != len(ends) {
			t.Fatalf("%d of %d ends came back: %v", i, len(ends), err)
		}
	})
}

func FuzzParseResponse(f *testing.F) {
	whole, _ := (&Response{Data: []byte("data"), Place: somewhere}).AppendWire(nil)
	f.Add(whole)
	f.Fuzz(func(t *testing.T, data []byte) {
		var own Response
		if err := ParseResponse(data, &own); err != nil {
			if !errors.Is(err, core.ErrInvalid) {
				t.Fatalf("untyped error: %v", err)
			}
			return
		}
		p := &clusterpb.GrainResponse{}
		if err := proto.Unmarshal(data, p); err != nil {
			return // UTF-8 is judged by whoever uses the field
		}
		if pid := p.GetPlacement().GetPid(); string(own.Data) != string(p.GetMessageData()) || own.Place.PID.ID != pid.GetId() || string(own.Place.PID.Member) != pid.GetMember() {
			t.Fatalf("%x: %+v, the generated code reads %v", data, own, p)
		}
	})
}

func FuzzParseCancel(f *testing.F) {
	whole, _ := (&Cancel{7}).AppendWire(nil)
	f.Add(whole)
	f.Fuzz(func(t *testing.T, data []byte) {
		number, err := ParseCancel(data)
		if err != nil {
			if !errors.Is(err, core.ErrInvalid) {
				t.Fatalf("untyped error: %v", err)
			}
			return
		}
		again, _ := (&Cancel{number}).AppendWire(nil)
		if back, err := ParseCancel(again); err != nil || back != number {
			t.Fatalf("%d came back as %d, %v", number, back, err)
		}
	})
}

// FuzzDecodeError: an error of a peer is an error here, whatever it holds, and can be told on.
func FuzzDecodeError(f *testing.F) {
	for _, err := range []error{
		grain.NewReason("CART_FULL", "no room"), core.ErrBusy, core.WithDelivery(core.ErrUnreachable, core.Undelivered),
	} {
		data, e := proto.Marshal(ErrorCodec{}.EncodeError(err))
		if e != nil {
			f.Fatal(e)
		}
		f.Add(data)
	}
	place, err := proto.Marshal(&clusterpb.GrainErrorResponse{Reason: "x", Placement: &granarypb.Placement{}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(place)
	f.Fuzz(func(t *testing.T, data []byte) {
		err, ok := ErrorCodec{}.DecodeError("cluster.GrainErrorResponse", data)
		if !ok || err == nil || grain.CodeOf(err) == grain.OK {
			t.Fatalf("%x became %v, %v", data, err, ok)
		}
		if _, e := proto.Marshal(ErrorCodec{}.EncodeError(err)); e != nil {
			t.Fatalf("%v cannot be told on: %v", err, e)
		}
		if e := (ErrorCodec{}).EncodeError(err).(*clusterpb.GrainErrorResponse); e.GetDelivery() != granarypb.Delivery(core.DeliveryOf(err)) {
			t.Fatalf("the delivery of %v became %v", err, e.GetDelivery())
		}
	})
}
