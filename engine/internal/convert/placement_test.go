package convert_test

import (
	"errors"
	"math"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/internal/convert"
	"github.com/granary-go/granary/protos/actorpb"
	"github.com/granary-go/granary/protos/clusterpb"
	"github.com/granary-go/granary/protos/granarypb"
)

var placement = core.Placement{
	PID:   core.PID{Address: "a:1", ID: "g/1", Member: "m"},
	Token: core.Token{Epoch: 3, Seq: 4},
}

func TestPlacementRoundTrip(t *testing.T) {
	for _, p := range []core.Placement{placement, {PID: placement.PID}} {
		if got, err := convert.PlacementFromProto(convert.PlacementToProto(p)); err != nil || got != p {
			t.Errorf("PlacementFromProto = %+v, %v, want %+v", got, err, p)
		}
	}
	if p := convert.PlacementToProto(core.Placement{}); p != nil {
		t.Errorf("the zero placement = %v, want nil", p)
	}
	if p := convert.TokenToProto(core.Token{}); p != nil {
		t.Errorf("the zero token = %v, want nil", p)
	}
}

func TestPlacementRefuses(t *testing.T) {
	for name, p := range map[string]*granarypb.Placement{
		"absent":    nil,
		"empty":     {},
		"no member": {Pid: &actorpb.PID{Address: "a:1", Id: "x"}},
	} {
		if got, err := convert.PlacementFromProto(p); !errors.Is(err, core.ErrInvalid) {
			t.Errorf("%s: PlacementFromProto = %+v, %v, want %v", name, got, err, core.ErrInvalid)
		}
	}
}

func TestIdentityAndEnd(t *testing.T) {
	id := core.Identity{Kind: "Cart", Key: "alice/1"}
	if got, err := convert.IdentityFromProto(convert.IdentityToProto(id)); err != nil || got != id {
		t.Errorf("IdentityFromProto = %v, %v, want %v", got, err, id)
	}
	a := core.Activation{Identity: id, Placement: placement}
	if got, err := convert.EndFromProto(convert.EndToProto(a)); err != nil || got != a {
		t.Errorf("EndFromProto = %+v, %v, want %+v", got, err, a)
	}
	for name, p := range map[string]*granarypb.ActivationEnd{
		"absent":       nil,
		"no kind":      {Identity: "x", Placement: convert.PlacementToProto(placement)},
		"control":      {Identity: "a\nb", Kind: "Cart", Placement: convert.PlacementToProto(placement)},
		"no placement": {Identity: "x", Kind: "Cart"},
	} {
		if got, err := convert.EndFromProto(p); !errors.Is(err, core.ErrInvalid) {
			t.Errorf("%s: EndFromProto = %+v, %v, want %v", name, got, err, core.ErrInvalid)
		}
	}
	for _, p := range []*clusterpb.ClusterIdentity{nil, {Kind: "Cart"}, {Identity: "x", Kind: "a b"}} {
		if got, err := convert.IdentityFromProto(p); !errors.Is(err, core.ErrInvalid) {
			t.Errorf("IdentityFromProto(%v) = %v, %v, want %v", p, got, err, core.ErrInvalid)
		}
	}
}

func TestStampOf(t *testing.T) {
	v, err := core.NewView(core.ViewRecord{Lineage: "l", Epoch: 7, Members: []core.Member{{ID: "m", Address: "a:1", Status: core.Up}}})
	if err != nil {
		t.Fatal(err)
	}
	want := &granarypb.ViewStamp{Lineage: "l", Epoch: 7, Hash: v.Hash()}
	if got := convert.StampOf(v); !proto.Equal(got, want) || got.GetHash() == 0 {
		t.Errorf("StampOf = %v, want %v", got, want)
	}
	if got := convert.StampOf(nil); got != nil {
		t.Errorf("StampOf(nil) = %v, want nil", got)
	}
}

func TestMicros(t *testing.T) {
	for _, tc := range []struct {
		d    time.Duration
		want int64
	}{
		{-time.Second, 1}, {0, 1}, {1, 1}, {time.Microsecond, 1}, {time.Second, 1_000_000}, {math.MaxInt64, math.MaxInt64 / 1000},
	} {
		if got := convert.Micros(tc.d); got != tc.want {
			t.Errorf("Micros(%v) = %d, want %d", tc.d, got, tc.want)
		}
	}
	for _, tc := range []struct {
		micros int64
		want   time.Duration
	}{
		{math.MinInt64, 0}, {-1, 0}, {0, 0}, {1, time.Microsecond}, {5_000_000, 5 * time.Second},
		{math.MaxInt64, math.MaxInt64 / 1000 * 1000},
	} {
		if got := convert.Duration(tc.micros); got != tc.want {
			t.Errorf("Duration(%d) = %v, want %v", tc.micros, got, tc.want)
		}
	}
}

func FuzzPlacement(f *testing.F) {
	f.Add(must(proto.Marshal(convert.EndToProto(core.Activation{Identity: core.Identity{Kind: "Cart", Key: "x"}, Placement: placement}))))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		wire := new(granarypb.ActivationEnd)
		if proto.Unmarshal(data, wire) != nil {
			return
		}
		var a core.Activation
		var err error
		frugal(t, data, func() { a, err = convert.EndFromProto(wire) })
		if err != nil {
			if !errors.Is(err, core.ErrInvalid) {
				t.Fatalf("untyped error: %v", err)
			}
			return
		}
		if again, err := convert.EndFromProto(convert.EndToProto(a)); err != nil || again != a {
			t.Fatalf("%+v comes back as %+v, %v", a, again, err)
		}
	})
}
