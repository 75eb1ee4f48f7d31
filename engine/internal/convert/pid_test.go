package convert_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/internal/convert"
	"github.com/granary-go/granary/protos/actorpb"
)

func TestPIDRoundTrip(t *testing.T) {
	for _, p := range []core.PID{
		{Address: "127.0.0.1:8001", ID: "g/a1b2$3", Member: "m1"},
		{Address: "db.example.org:1", ID: "$grain"},
		{Address: "[::1]:9001", ID: "partition-activator/a key with spaces/and slashes$1", Member: "m"},
	} {
		data, err := proto.Marshal(convert.PIDToProto(p))
		if err != nil {
			t.Fatal(err)
		}
		wire := new(actorpb.PID)
		if err := proto.Unmarshal(data, wire); err != nil {
			t.Fatal(err)
		}
		if got, err := convert.PIDFromProto(wire, nil); err != nil || got != p {
			t.Errorf("PIDFromProto = %+v, %v, want %+v", got, err, p)
		}
	}
}

func TestPIDMemberIsFilledIn(t *testing.T) {
	at := func(address string) core.MemberID {
		if address == "a:1" {
			return "known"
		}
		return ""
	}
	for _, tc := range []struct {
		name string
		wire *actorpb.PID
		at   func(string) core.MemberID
		want core.MemberID
	}{
		{"the peer's own word stands", &actorpb.PID{Address: "a:1", Id: "x", Member: "said"}, at, "said"},
		{"a silent peer's comes from the view", &actorpb.PID{Address: "a:1", Id: "x"}, at, "known"},
		{"an unknown address stays without", &actorpb.PID{Address: "b:1", Id: "x"}, at, ""},
		{"nobody to ask", &actorpb.PID{Address: "a:1", Id: "x"}, nil, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got, err := convert.PIDFromProto(tc.wire, tc.at); err != nil || got.Member != tc.want {
				t.Errorf("member = %q, %v, want %q", got.Member, err, tc.want)
			}
		})
	}
}

func TestPIDBounds(t *testing.T) {
	text := func(n int) string { return strings.Repeat("x", n) }
	for _, tc := range []struct {
		name string
		wire *actorpb.PID
		ok   bool
	}{
		{"absent", nil, false},
		{"empty", &actorpb.PID{}, false},
		{"no address", &actorpb.PID{Id: "x"}, false},
		{"no process", &actorpb.PID{Address: "a:1"}, false},
		{"address at its bound", &actorpb.PID{Address: text(convert.MaxAddress), Id: "x"}, true},
		{"address over its bound", &actorpb.PID{Address: text(convert.MaxAddress + 1), Id: "x"}, false},
		{"process at its bound", &actorpb.PID{Address: "a:1", Id: text(convert.MaxProcessID)}, true},
		{"process over its bound", &actorpb.PID{Address: "a:1", Id: text(convert.MaxProcessID + 1)}, false},
		{"member at its bound", &actorpb.PID{Address: "a:1", Id: "x", Member: text(convert.MaxMemberID)}, true},
		{"member over its bound", &actorpb.PID{Address: "a:1", Id: "x", Member: text(convert.MaxMemberID + 1)}, false},
		{"address with a newline", &actorpb.PID{Address: "a:1\n", Id: "x"}, false},
		{"address with NUL", &actorpb.PID{Address: "a\x00:1", Id: "x"}, false},
		{"member with a space", &actorpb.PID{Address: "a:1", Id: "x", Member: "m 1"}, false},
		{"address that is not UTF-8", &actorpb.PID{Address: "a\xff:1", Id: "x"}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := convert.PIDFromProto(tc.wire, nil)
			if tc.ok && err != nil {
				t.Errorf("error = %v, want none", err)
			}
			if !tc.ok && (!errors.Is(err, core.ErrInvalid) || !got.IsZero()) {
				t.Errorf("PIDFromProto = %+v, %v, want %v", got, err, core.ErrInvalid)
			}
			if err != nil && len(err.Error()) > 600 {
				t.Errorf("the error quotes %d bytes", len(err.Error()))
			}
		})
	}
}

func FuzzPID(f *testing.F) {
	for _, seed := range []*actorpb.PID{
		{Address: "127.0.0.1:8001", Id: "$1", Member: "m"}, {Address: "a:1", Id: "x", RequestId: 7}, {},
	} {
		f.Add(must(proto.Marshal(seed)))
	}
	f.Add([]byte{0x0a, 0xff, 0xff, 0xff, 0xff, 0x07})
	f.Fuzz(func(t *testing.T, data []byte) {
		wire := new(actorpb.PID)
		if proto.Unmarshal(data, wire) != nil {
			return
		}
		var pid core.PID
		var err error
		frugal(t, data, func() { pid, err = convert.PIDFromProto(wire, nil) })
		if err != nil {
			if !errors.Is(err, core.ErrInvalid) {
				t.Fatalf("untyped error: %v", err)
			}
			return
		}
		if again, err := convert.PIDFromProto(convert.PIDToProto(pid), nil); err != nil || again != pid {
			t.Fatalf("%+v comes back as %+v, %v", pid, again, err)
		}
	})
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func ExamplePIDFromProto() {
	fromProtoActor := &actorpb.PID{Address: "10.0.0.7:8001", Id: "$1"}
	pid, err := convert.PIDFromProto(fromProtoActor, func(string) core.MemberID { return "J93HW62xHZL9ASze8heZkZ" })
	fmt.Println(pid, pid.Member, err)
	// Output: 10.0.0.7:8001/$1 J93HW62xHZL9ASze8heZkZ <nil>
}
