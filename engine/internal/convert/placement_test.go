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
	f.Add(must(proto.Marshal(convert.PlacementToProto(placement))))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		wire := new(granarypb.Placement)
		if proto.Unmarshal(data, wire) != nil {
			return
		}
		var a core.Placement
		var err error
		frugal(t, data, func() { a, err = convert.PlacementFromProto(wire) })
		if err != nil {
			if !errors.Is(err, core.ErrInvalid) {
				t.Fatalf("untyped error: %v", err)
			}
			return
		}
		if again, err := convert.PlacementFromProto(convert.PlacementToProto(a)); err != nil || again != a {
			t.Fatalf("%+v comes back as %+v, %v", a, again, err)
		}
	})
}
